/** Reads stored events as records, by a binary COPY: twice as fast as a query, and without a limit of rows in memory. */
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { LogKey } from '../../core/log-key.ts';
import { RECORD_COLUMNS } from '../format/record.ts';

/** Whether the parsed details match their text: `UNKNOWN`: there are none, and the text may be JSON. */
export const DETAILS_RIGHT = 0;
export const DETAILS_WRONG = 1;
export const DETAILS_UNKNOWN = 2;

/** A stored event. The buffer is valid until the next ones are read. `extra` in it is the text of the database. */
export interface StreamedRecord {
  details: number;
  record: Buffer;
  /** The event id as 32 hex digits. */
  key: string;
  batch: bigint;
  hasExtra: boolean;
}

const HEADER_BYTES = 19;
const COLUMNS = RECORD_COLUMNS.length;

/** The parser of jsonb recurses: a long text may be too deep for it. */
const DETAILS = `case
    when details is null then case
      when details_raw is null then ${DETAILS_RIGHT}
      when raw is not null or length(details_raw) > 1000 then ${DETAILS_UNKNOWN}
      when pg_input_is_valid(details_raw, 'jsonb') then ${DETAILS_WRONG} else ${DETAILS_RIGHT} end
    when pg_input_is_valid(details_raw, 'jsonb') and details = details_raw::jsonb then ${DETAILS_RIGHT}
    else ${DETAILS_WRONG} end`;

/** `where`: a condition on `audit.events e`, without parameters. */
export async function* streamRecords(
  client: pg.ClientBase,
  { organization, log }: LogKey,
  where: string,
): AsyncGenerator<StreamedRecord[]> {
  const columns = RECORD_COLUMNS.map(([name]) => (name === 'extra' ? 'e.extra::text' : `e.${name}`));
  const stream = client.query(
    copyTo(`copy (
      select (${DETAILS})::smallint, ${columns.join(', ')} from audit.events e
      where e.organization = ${pg.escapeLiteral(organization)} and e.log = ${pg.escapeLiteral(log)} and ${where}
    ) to stdout (format binary)`),
  );
  let rest: Buffer = Buffer.alloc(0);
  let isHeaderRead = false;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (!isHeaderRead) {
        if (bytes.length < HEADER_BYTES) {
          rest = bytes;
          continue;
        }
        bytes = bytes.subarray(HEADER_BYTES);
        isHeaderRead = true;
      }
      const { records, end } = parseRows(bytes);
      if (records.length > 0) yield records;
      rest = Buffer.from(bytes.subarray(end));
    }
  } finally {
    stream.destroy();
  }
}

const EVENT_ID = RECORD_COLUMNS.findIndex(([name]) => name === 'event_id');
const EXTRA = RECORD_COLUMNS.findIndex(([name]) => name === 'extra');
const BATCH = RECORD_COLUMNS.findIndex(([name]) => name === 'batch');

/** The complete rows at the beginning of `bytes`, and where they end. */
function parseRows(bytes: Buffer): { records: StreamedRecord[]; end: number } {
  const records: StreamedRecord[] = [];
  let end = 0;
  for (;;) {
    // Number of columns (-1 at the end), then 2 bytes of details with their length.
    if (end + 8 > bytes.length || bytes.readInt16BE(end) < 0) return { records, end };
    const record = parseRecord(bytes, end + 8);
    if (!record) return { records, end };
    records.push({ details: bytes.readInt16BE(end + 6), ...record });
    end += 8 + record.record.length;
  }
}

function parseRecord(bytes: Buffer, start: number): Omit<StreamedRecord, 'details'> | undefined {
  let at = start;
  let key = '';
  let batch = 0n;
  let hasExtra = false;
  for (let column = 0; column < COLUMNS; column++) {
    if (at + 4 > bytes.length) return undefined;
    const length = bytes.readInt32BE(at);
    const from = at + 4;
    at = length < 0 ? from : from + length;
    if (at > bytes.length) return undefined;
    if (column === EVENT_ID) key = bytes.toString('hex', from, at);
    else if (column === EXTRA) hasExtra = length >= 0;
    else if (column === BATCH && length >= 0) batch = bytes.readBigInt64BE(from);
  }
  return { record: bytes.subarray(start, at), key, batch, hasExtra };
}
