/**
 * Events as rows of PostgreSQL's binary COPY ("COPY", File Formats, Binary Format, in its manual): big-endian numbers, and
 * each value behind its length in bytes, -1 for null. The server parses no text but the JSON, which loads a page in two
 * thirds of the time of the text format.
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

/** The columns in the order of `encode`; those left out have their defaults. */
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
const SMALLEST_BUFFER = 1024 * 1024;
const END = -1;
const NULL = -1;
/** Characters. */
const LONGEST_SHORT = 40;
const JSONB_VERSION = 1;
/** timestamptz counts microseconds from 2000-01-01. */
const POSTGRES_EPOCH = 946_684_800n * TICKS_PER_SECOND;
/** UTF-8 has at most three bytes for each UTF-16 code unit. */
const BYTES_PER_UNIT = 3;
/** Of a row, beside its texts: lengths, numbers and the id. */
const LARGEST_FRAME = 160;

/** Whether the columns alone give the events back, as the source sent them: `raw` is not copied. */
export function areCopyable(events: readonly IdentifiedEvent[]): boolean {
  return events.every(({ event }) => event.raw === null);
}

/** Writes rows into one buffer, which is used again: what `encode` gives is good until it is called the next time. */
export function createCopyEncoder(): {
  /** For events that `areCopyable`. The server may still refuse details that are JSON, but none that its jsonb can hold. */
  encode(events: readonly IdentifiedEvent[], origin: RowOrigin): Buffer;
} {
  // Taken when there is something to write: a quiet run has nothing.
  let bytes = Buffer.alloc(0);
  let view = new DataView(new ArrayBuffer(0));
  let at = 0;

  const reserve = (length: number) => {
    if (at + length <= bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(SMALLEST_BUFFER, 2 * bytes.length, at + length));
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
  /** Nearly all texts are short ASCII, which is written in half the time by a loop. Gives the length in bytes. */
  const putShort = (text: string, from: number): number => {
    const { length } = text;
    if (length > LONGEST_SHORT) return bytes.write(text, from);
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
  /** The text, and the same as jsonb: its bytes are copied, which takes less than to encode them again. */
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
    reserve(prefix.length + LARGEST_FRAME + BYTES_PER_UNIT * lengthOf(event));
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
      reserve(LARGEST_FRAME + BYTES_PER_UNIT * (organization.length + log.length));
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

/** Whether the details are JSON, as PostgreSQL would find: both follow RFC 8259. */
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
