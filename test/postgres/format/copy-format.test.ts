import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditEvent } from '../../../src/core/event.ts';
import { identifyGroup } from '../../../src/core/identity.ts';
import { listRows } from '../../../src/core/ledger/entry.ts';
import { COPIED_COLUMNS, createCopyEncoder, listEncoded } from '../../../src/postgres/format/copy-format.ts';
import { encodeRecord, recordHash, recordOf, uuidBytes } from '../../../src/postgres/format/record.ts';
import { eventAt } from '../../support/batch.ts';

const AT = '2026-01-31T08:00:00.0000001Z';
const ORIGIN = {
  organization: 'acmé',
  log: 'tenant:Ä',
  runId: '7',
  batch: 9n,
  committedAt: 800_000_000_000_000n,
};

const COLUMN_OF = {
  category: 'category',
  action: 'action',
  source: 'source',
  userName: 'user_name',
  email: 'email',
  message: 'message',
  detailsVersion: 'details_version',
  auditLogDetails: 'details_raw',
} as const;

/** The values of each row, by column, read as PostgreSQL's manual has the format. */
function read(bytes: Buffer): Map<string, Buffer | null>[] {
  expect(bytes.subarray(0, 19).toString('latin1')).toBe(`PGCOPY\n\xff\r\n\0${'\0'.repeat(8)}`);
  const rows: Map<string, Buffer | null>[] = [];
  let at = 19;
  while (bytes.readInt16BE(at) !== -1) {
    expect(bytes.readInt16BE(at)).toBe(COPIED_COLUMNS.length);
    at += 2;
    const row = new Map<string, Buffer | null>();
    for (const column of COPIED_COLUMNS) {
      const length = bytes.readInt32BE(at);
      at += 4 + Math.max(0, length);
      row.set(column, length < 0 ? null : bytes.subarray(at - length, at));
    }
    rows.push(row);
  }
  expect(at + 2).toBe(bytes.length);
  return rows;
}

function check(row: Map<string, Buffer | null>, event: AuditEvent): void {
  for (const [field, column] of Object.entries(COLUMN_OF)) {
    expect(row.get(column)?.toString() ?? null).toBe(event[field as keyof typeof COLUMN_OF]);
  }
  const details = row.get('details');
  // A version, and the text.
  if (details) expect([details[0], details.subarray(1).toString()]).toEqual([1, event.auditLogDetails]);
  expect(row.get('organization')!.toString()).toBe(ORIGIN.organization);
  expect(row.get('log')!.toString()).toBe(ORIGIN.log);
}

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.constantFrom(
    '',
    'Login',
    'Zoë',
    '漢字',
    '{"a":"漢"}',
    '7',
    'x'.repeat(40),
    'x'.repeat(41),
    `${'x'.repeat(39)}é`,
  ),
);

test('every text is written as its UTF-8, and details that are JSON twice', () => {
  const encoder = createCopyEncoder(ORIGIN);
  const fields = Object.keys(COLUMN_OF) as (keyof typeof COLUMN_OF)[];
  const event = fc
    .record({
      ...Object.fromEntries(fields.map((field) => [field, fc.option(text)])),
      extra: fc.option(fc.constantFrom('{}', '{"b":1,"a":"x"}')),
    })
    .map((given) => eventAt(AT, given as Partial<AuditEvent>));
  fc.assert(
    fc.property(fc.array(event, { maxLength: 5 }), (events) => {
      const identified = events.flatMap((each) => identifyGroup([each]));
      const half = identified.length / 2;
      const parts = [identified.slice(0, half), identified.slice(half)].map(encoder.encodeRows);
      // An earlier transaction may have failed.
      encoder.complete(parts, { batch: 8n, committedAt: 1n });
      const rows = read(Buffer.concat(encoder.complete(parts, ORIGIN)));
      const listed = listEncoded(parts, ORIGIN);
      encoder.release(parts);
      expect(rows).toHaveLength(events.length);
      // The hash of what COPY sends is that of the record.
      expect(listed).toEqual(
        listRows(
          identified.map((each) => ({
            key: uuidBytes(each.eventId),
            hash: recordHash(encodeRecord(recordOf(each, ORIGIN))),
          })),
        ),
      );
      rows.forEach((row, i) => {
        check(row, events[i]!);
      });
    }),
    { numRuns: 300 },
  );
});

test('the buffer grows for a text of three bytes per character, and for its copy as JSON', () => {
  const auditLogDetails = `"${'漢'.repeat(400_000)}"`;
  const event = eventAt(AT, { auditLogDetails });
  const encoder = createCopyEncoder(ORIGIN);
  const [row] = read(Buffer.concat(encoder.complete([encoder.encodeRows(identifyGroup([event]))], ORIGIN)));
  check(row!, event);
  expect(row!.get('details')).toHaveLength(1 + 2 + 3 * 400_000);
});
