/**
 * Encodes events as rows of PostgreSQL's binary COPY ("COPY", File Formats, Binary Format, in its manual): big-endian numbers,
 * and before each value its length in bytes, -1 for null. The server parses no text but the JSON, so a page loads in two thirds of
 * the time of the text format.
 */
import type { AuditEvent } from '../../core/event.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { LogKey } from '../../core/log-key.ts';
import { floorToMicrosecond, TICKS_PER_MICROSECOND, TICKS_PER_SECOND } from '../../core/ticks.ts';
import { isParsable } from './columns.ts';

/** What the rows of one commit have in common. */
interface RowOrigin extends LogKey {
  runId: string;
  batch: string;
}

/** The columns in the order of `encode`; other columns get their defaults. */
export const COPIED_COLUMNS = [
  'organization',
  'log',
  'run_id',
  'batch',
  'created_on',
  'event_id',
  'created_on_ticks',
  'created_on_raw',
  'category',
  'action',
  'source',
  'user_name',
  'email',
  'message',
  'details_version',
  'details_raw',
  'details',
  'extra',
  'ordinal',
] as const;

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** Flags and the length of a header extension: none. */
const HEADER = Buffer.concat([SIGNATURE, Buffer.alloc(8)]);
const MIN_BUFFER_BYTES = 1024 * 1024;
const END = -1;
const NULL = -1;
/** In UTF-16 code units. */
const MAX_SHORT_LENGTH = 40;
const JSONB_VERSION = 1;
/** timestamptz counts microseconds from 2000-01-01. */
const POSTGRES_EPOCH = 946_684_800n * TICKS_PER_SECOND;
/** UTF-8 has at most three bytes for each UTF-16 code unit. */
const BYTES_PER_UNIT = 3;
/** Bytes of a row without its texts: lengths, numbers and the id. */
const MAX_FRAME_BYTES = 160;

/** Whether the columns without `raw`, which is not copied, are enough to restore the events as sent. */
export function areCopyable(events: readonly IdentifiedEvent[]): boolean {
  return events.every(({ event }) => event.raw === null);
}

/** Writes rows into one buffer, which it reuses: the result of `encode` is valid until the next call. */
export function createCopyEncoder(): {
  /** For events that are `areCopyable`. The server may still reject the rows: details can be JSON that jsonb cannot store. */
  encode(events: readonly IdentifiedEvent[], origin: RowOrigin): Buffer;
} {
  // Allocated on first use: a run without new events needs none.
  let bytes = Buffer.alloc(0);
  let view = new DataView(new ArrayBuffer(0));
  let at = 0;

  const reserve = (length: number) => {
    if (at + length <= bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(MIN_BUFFER_BYTES, 2 * bytes.length, at + length));
    bytes.copy(larger, 0, 0, at);
    bytes = larger;
    view = new DataView(bytes.buffer);
  };
  const putInt32 = (value: number) => {
    view.setInt32(at, value);
    at += 4;
  };
  const putInt64 = (value: bigint) => {
    putInt32(8);
    view.setBigInt64(at, value);
    at += 8;
  };
  const putText = (text: string | null) => {
    if (text === null) return putInt32(NULL);
    const length = putShort(text, at + 4);
    putInt32(length);
    at += length;
  };
  /** Nearly all texts are short ASCII, which a loop writes in half the time. Returns the length in bytes. */
  const putShort = (text: string, from: number): number => {
    const { length } = text;
    if (length > MAX_SHORT_LENGTH) return bytes.write(text, from);
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return bytes.write(text, from);
      bytes[from + i] = code;
    }
    return length;
  };
  const putJsonb = (text: string | null) => {
    if (text === null) return putInt32(NULL);
    const length = bytes.write(text, at + 5);
    putInt32(length + 1);
    bytes[at] = JSONB_VERSION;
    at += length + 1;
  };
  /** Writes the text, then copies its bytes as jsonb: faster than encoding them twice. */
  const putDetails = (event: AuditEvent) => {
    const from = at + 4;
    putText(event.auditLogDetails);
    if (event.auditLogDetails === null || !isJson(event)) return putInt32(NULL);
    const end = at;
    putInt32(end - from + 1);
    bytes[at] = JSONB_VERSION;
    bytes.copyWithin(at + 1, from, end);
    at += end - from + 1;
  };
  const putUuid = (id: string) => {
    putInt32(16);
    for (let i = 0; i < id.length; i += 2) {
      if (id.charCodeAt(i) === DASH) i++;
      bytes[at++] = (hexDigit(id.charCodeAt(i)) << 4) | hexDigit(id.charCodeAt(i + 1));
    }
  };
  const putRow = ({ event, eventId, ordinal }: IdentifiedEvent, prefix: Buffer) => {
    reserve(prefix.length + MAX_FRAME_BYTES + BYTES_PER_UNIT * lengthOf(event));
    bytes.set(prefix, at);
    at += prefix.length;
    putInt64((floorToMicrosecond(event.createdOnTicks) - POSTGRES_EPOCH) / TICKS_PER_MICROSECOND);
    putUuid(eventId);
    putInt64(event.createdOnTicks);
    putText(event.createdOnRaw);
    putText(event.category);
    putText(event.action);
    putText(event.source);
    putText(event.userName);
    putText(event.email);
    putText(event.message);
    putText(event.detailsVersion);
    putDetails(event);
    putJsonb(event.extra);
    putInt32(4);
    putInt32(ordinal);
  };

  return {
    encode(events, { organization, log, runId, batch }) {
      at = 0;
      reserve(MAX_FRAME_BYTES + BYTES_PER_UNIT * (organization.length + log.length));
      view.setInt16(0, COPIED_COLUMNS.length);
      at = 2;
      putText(organization);
      putText(log);
      putInt64(BigInt(runId));
      putInt64(BigInt(batch));
      const prefix = Buffer.from(bytes.subarray(0, at));
      bytes.set(HEADER, 0);
      at = HEADER.length;
      for (const event of events) putRow(event, prefix);
      reserve(2);
      view.setInt16(at, END);
      return bytes.subarray(0, at + 2);
    },
  };
}

/** UTF-16 code units of all texts; the details are written twice. */
function lengthOf(event: AuditEvent): number {
  return (
    event.createdOnRaw.length +
    unitsOf(event.category) +
    unitsOf(event.action) +
    unitsOf(event.source) +
    unitsOf(event.userName) +
    unitsOf(event.email) +
    unitsOf(event.message) +
    unitsOf(event.detailsVersion) +
    2 * unitsOf(event.auditLogDetails) +
    unitsOf(event.extra)
  );
}

function unitsOf(text: string | null): number {
  return text === null ? 0 : text.length;
}

/** Whether PostgreSQL would accept the details as JSON: both parsers follow RFC 8259. */
function isJson(event: AuditEvent): boolean {
  if (!isParsable(event)) return false;
  try {
    JSON.parse(event.auditLogDetails!);
    return true;
  } catch {
    return false;
  }
}

const DASH = 0x2d;

function hexDigit(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57;
}
