/**
 * The record of a stored event: the bytes that the ledger hashes. It has all columns of `audit.events` but `organization` and `log`, which
 * the entry has, and `details`, which follows from `details_raw`.
 *
 * Each column is a 32-bit length (-1 for null) and that many bytes, as in PostgreSQL's binary COPY: texts in UTF-8, `extra` as the text of
 * `canonicalJson`, numbers and times (microseconds since 2000-01-01 UTC) big-endian. A COPY of these columns therefore contains the record.
 */
import { hash } from 'node:crypto';
import { canonicalJson } from '../../core/compare.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { floorToMicrosecond, TICKS_PER_MICROSECOND, TICKS_PER_SECOND } from '../../core/ticks.ts';
import { storableText } from './columns.ts';

type ColumnType = 'text' | 'uuid' | 'int8' | 'int4' | 'time';

/** The columns of a record in its order. */
export const RECORD_COLUMNS = [
  ['details_raw', 'text'],
  ['created_on', 'time'],
  ['event_id', 'uuid'],
  ['created_on_ticks', 'int8'],
  ['created_on_raw', 'text'],
  ['category', 'text'],
  ['action', 'text'],
  ['source', 'text'],
  ['user_name', 'text'],
  ['email', 'text'],
  ['message', 'text'],
  ['details_version', 'text'],
  ['extra', 'text'],
  ['raw', 'text'],
  ['ordinal', 'int4'],
  ['superseded_by', 'uuid'],
  ['run_id', 'int8'],
  ['batch', 'int8'],
  ['first_seen_at', 'time'],
  ['updated_at', 'time'],
] as const satisfies readonly (readonly [string, ColumnType])[];

export type RecordColumn = (typeof RECORD_COLUMNS)[number][0];

/** A stored event. Numbers are bigint, and times are microseconds since 2000-01-01 UTC. */
export type EventRecord = {
  [Column in (typeof RECORD_COLUMNS)[number] as Column[0]]: Column[1] extends 'text' | 'uuid'
    ? string | null
    : bigint | null;
};

/** timestamptz counts microseconds from 2000-01-01. */
const POSTGRES_EPOCH = 946_684_800n * TICKS_PER_SECOND;
const INT_BYTES = { int8: 8, int4: 4, time: 8 };
const LEAF_PREFIX = Buffer.from([0]);

/** The time of a column, from ticks. */
export function toPostgresTime(ticks: bigint): bigint {
  return (floorToMicrosecond(ticks) - POSTGRES_EPOCH) / TICKS_PER_MICROSECOND;
}

/** The ticks of a time of a column. */
export function fromPostgresTime(time: bigint): bigint {
  return time * TICKS_PER_MICROSECOND + POSTGRES_EPOCH;
}

/** The record of an event that is inserted. `committedAt`: time of the transaction. */
export function recordOf(
  { event, eventId, ordinal }: IdentifiedEvent,
  { runId, batch, committedAt }: { runId: string; batch: bigint; committedAt: bigint },
): EventRecord {
  return {
    ...contentOf(event),
    details_raw: storable(event.auditLogDetails),
    created_on: toPostgresTime(event.createdOnTicks),
    event_id: eventId,
    created_on_ticks: event.createdOnTicks,
    category: storable(event.category),
    action: storable(event.action),
    source: storable(event.source),
    details_version: storable(event.detailsVersion),
    ordinal: BigInt(ordinal),
    superseded_by: null,
    run_id: BigInt(runId),
    batch,
    first_seen_at: committedAt,
    updated_at: committedAt,
  };
}

/** The columns that the source may change. */
export function contentOf(
  event: IdentifiedEvent['event'],
): Pick<EventRecord, 'created_on_raw' | 'user_name' | 'email' | 'message' | 'extra' | 'raw'> {
  return {
    created_on_raw: event.createdOnRaw,
    user_name: storable(event.userName),
    email: storable(event.email),
    message: storable(event.message),
    extra: event.extra === null ? null : canonicalJson(event.extra),
    raw: event.raw,
  };
}

export function encodeRecord(record: EventRecord): Buffer {
  return Buffer.concat(RECORD_COLUMNS.flatMap(([name, type]) => encodeValue(record[name], type)));
}

/** Throws `RangeError` if `bytes` is not a record. */
export function decodeRecord(bytes: Buffer): EventRecord {
  let at = 0;
  const values = RECORD_COLUMNS.map(([name, type]) => {
    const length = bytes.readInt32BE(at);
    at += 4;
    if (length < 0) return [name, null];
    if (at + length > bytes.length) throw new RangeError(`the record ends within ${name}`);
    const value = bytes.subarray(at, at + length);
    at += length;
    return [name, decodeValue(value, type)];
  });
  if (at !== bytes.length) throw new RangeError('bytes follow the last column of the record');
  return Object.fromEntries(values) as EventRecord;
}

/** The leaf hash of a record in the tree of its entry, as RFC 6962 defines it. */
export function recordHash(record: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF_PREFIX, record]), 'buffer');
}

/** The same in hex, for a record within a buffer, without a copy: the byte before it lends its place to the prefix. */
export function recordHashInPlace(record: Buffer): string {
  const prefixed = Buffer.from(record.buffer, record.byteOffset - 1, record.length + 1);
  const before = prefixed[0]!;
  prefixed[0] = 0;
  const digest = hash('sha256', prefixed, 'hex');
  prefixed[0] = before;
  return digest;
}

export function uuidBytes(id: string): Buffer {
  return Buffer.from(id.replaceAll('-', ''), 'hex');
}

export function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function encodeValue(value: string | bigint | null, type: ColumnType): Buffer[] {
  if (value === null) return [int32(-1)];
  if (type === 'text') {
    const bytes = Buffer.from(value as string);
    return [int32(bytes.length), bytes];
  }
  if (type === 'uuid') return [int32(KEY_BYTES), uuidBytes(value as string)];
  const bytes = Buffer.alloc(INT_BYTES[type]);
  if (type === 'int4') bytes.writeInt32BE(Number(value));
  else bytes.writeBigInt64BE(value as bigint);
  return [int32(bytes.length), bytes];
}

const KEY_BYTES = 16;

function decodeValue(bytes: Buffer, type: ColumnType): string | bigint {
  if (type === 'text') return bytes.toString();
  if (type === 'uuid') return formatUuid(bytes);
  return type === 'int4' ? BigInt(bytes.readInt32BE()) : bytes.readBigInt64BE();
}

function storable(text: string | null): string | null {
  return text === null ? null : storableText(text);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
