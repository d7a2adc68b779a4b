/** The rows of an entry against what is stored: rows built by hand, in both formats. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventIdOf, type IdentifiedEvent } from '../../../src/core/identity.ts';
import { EntryRows } from '../../../src/core/ledger/check.ts';
import { type LedgerChange, type LedgerEntry, listRows } from '../../../src/core/ledger/entry.ts';
import {
  decodeRecord,
  type EventRecord,
  encodeRecord,
  recordHash,
  recordOf,
  uuidBytes,
} from '../../../src/postgres/format/record.ts';
import { toListedRow } from '../../../src/postgres/read/listed-row.ts';
import { DETAILS_RIGHT, DETAILS_WRONG } from '../../../src/postgres/read/record-stream.ts';
import { eventAt } from '../../support/batch.ts';

const COMMITTED_AT = 800_000_000_000_000n;
const COMMITTED_TEXT = '2025-05-08T06:13:20.000000Z';
const EVENT_TEXT = '2026-01-01T10:00:00.123456Z';
const CHANGED_TEXT = '2025-05-08T06:13:21.000000Z';

type Content = Partial<IdentifiedEvent['event']>;

function recordAt(content: Content = {}, edit: Partial<EventRecord> = {}): EventRecord {
  const event = eventAt('2026-01-01T10:00:00.1234567Z', content);
  const identified = { event, eventId: eventIdOf(event, 0), ordinal: 0 };
  return { ...recordOf(identified, { runId: '7', batch: 1n, committedAt: COMMITTED_AT }), ...edit };
}

const hashOf = (record: EventRecord, format: number) =>
  format === 2 ? recordHash(encodeRecord(record)).toString('hex') : streamed(record).hashFor(1);

function streamed(record: EventRecord, details: number = DETAILS_RIGHT) {
  // As in a stream: another byte precedes the record.
  const bytes = Buffer.concat([Buffer.from([1]), encodeRecord(record)]).subarray(1);
  const key = record.event_id!.replaceAll('-', '');
  return toListedRow({
    ...{ details, record: bytes, key, batch: record.batch! },
    hasExtra: record.extra !== null,
  });
}

function entryOf(
  records: readonly EventRecord[],
  format: number,
  given: Partial<LedgerEntry> = {},
): LedgerEntry {
  const rows = records.map((record) => ({
    key: uuidBytes(record.event_id!),
    hash: Buffer.from(hashOf(record, format), 'hex'),
  }));
  return {
    ...{ format, kind: 'stored', organization: 'acme', log: 'classic', batch: 1n, runId: '7' },
    ...{ committedAt: COMMITTED_TEXT, fromAt: EVENT_TEXT, toAt: EVENT_TEXT, facts: null },
    ...{ rowsInserted: rows.length, rowsChanged: 0, changes: [], previousDigest: null, digest: '' },
    listed: format === 2 ? listRows(rows) : Buffer.concat(rows.flatMap(({ key, hash }) => [key, hash])),
    ...given,
  };
}

/** The findings for one row that its entry has listed as `listed`. */
function check(
  listed: EventRecord,
  found: EventRecord,
  {
    format = 2,
    changes = [],
    entry = {},
    details = DETAILS_RIGHT,
  }: { format?: number; changes?: LedgerChange[]; entry?: Partial<LedgerEntry>; details?: number } = {},
): string[] {
  const changesOf = changes.length === 0 ? new Map() : new Map([[listed.event_id!, changes]]);
  const rows = new EntryRows(entryOf([listed], format, entry), changesOf);
  return rows.check(streamed(found, details)).map(({ kind, reason }) => `${kind}: ${reason}`);
}

function changeOf(
  before: EventRecord,
  after: EventRecord,
  {
    batch = 2n,
    format = 2,
    oldFormat = format,
  }: { batch?: bigint; format?: number; oldFormat?: number } = {},
): LedgerChange {
  return {
    ...{ eventId: before.event_id!, rowBatch: 1n, batch, committedAt: CHANGED_TEXT },
    ...{ oldDigest: hashOf(before, oldFormat), newDigest: hashOf(after, format) },
  };
}

const text = fc.option(fc.string({ unit: 'grapheme' }));
const content = fc.record<Content>({
  userName: text as fc.Arbitrary<string | null>,
  email: text,
  message: text,
  extra: fc.option(fc.constantFrom('{}', '{"a":1}', '{"b":[1,{"d":1,"c":2}],"a":"x"}')),
  raw: fc.option(fc.constant('{}')),
});

test('a record is decoded to what was encoded, and every cut of it is refused', () => {
  fc.assert(
    fc.property(content, fc.nat(), (given, cut) => {
      const record = recordAt(given, { superseded_by: eventIdOf(eventAt('2026-01-01T00:00:00Z'), 0) });
      const bytes = encodeRecord(record);
      expect(decodeRecord(bytes)).toEqual(record);
      expect(() => decodeRecord(bytes.subarray(0, cut % bytes.length))).toThrow(
        /ends within|outside buffer|out of range/,
      );
      expect(() => decodeRecord(Buffer.concat([bytes, Buffer.from([0])]))).toThrow('bytes follow');
    }),
  );
});

describe.each([1, 2])('the rows of an entry of format %i', (format) => {
  test('have no findings as committed, and after each change that an entry records', () => {
    fc.assert(
      fc.property(content, fc.array(content, { maxLength: 4 }), (first, rewrites) => {
        const versions = [first, ...rewrites].map((each, i) =>
          // Format 1 reads the identity from raw.
          recordAt(format === 1 ? { ...each, raw: null } : each, {
            updated_at: COMMITTED_AT + (i === 0 ? 0n : 1_000_000n),
          }),
        );
        const changes = versions.slice(1).flatMap((after, i) => {
          const change = changeOf(versions[i]!, after, { batch: BigInt(i + 2), format });
          // A change with equal digests concerns a column that no source changes.
          return change.oldDigest === change.newDigest ? [] : [change];
        });
        const last = {
          ...versions.at(-1)!,
          updated_at: changes.length === 0 ? COMMITTED_AT : COMMITTED_AT + 1_000_000n,
        };
        expect(check(versions[0]!, last, { format, changes })).toEqual([]);
      }),
    );
  });

  test('are edited exactly if a column differs from what was last written', () => {
    fc.assert(
      fc.property(content, content, (committed, found) => {
        const [listed, row] = [recordAt(committed), recordAt(found)];
        const isSame = encodeRecord(listed).equals(encodeRecord(row));
        expect(check(listed, row, { format }).map((reason) => reason.split(':')[0])).toEqual(
          isSame ? [] : ['edited'],
        );
      }),
    );
  });

  const EDITS: [string, Partial<EventRecord>][] = [
    ['event_id or a column it is made of', { action: 'Forged' }],
    ['event_id or a column it is made of', { ordinal: 1n }],
    ['first_seen_at', { first_seen_at: COMMITTED_AT + 1n }],
    ['run_id', { run_id: 8n }],
    [
      format === 1
        ? 'updated_at'
        : 'created_on_raw, user_name, email, message, extra, raw, updated_at or superseded_by',
      { updated_at: COMMITTED_AT + 1n },
    ],
  ];
  test.each(EDITS)('are edited where %s differs', (reason, edit) => {
    expect(check(recordAt(), recordAt({}, edit), { format })).toEqual([`edited: ${reason}`]);
  });

  test('are edited where the parsed details differ from their text', () => {
    expect(check(recordAt(), recordAt(), { format, details: DETAILS_WRONG })).toEqual(['edited: details']);
  });

  test('that were edited by hand and rewritten since are repaired, which names the entry', () => {
    const [committed, forged] = [recordAt(), recordAt({ message: 'forged' })];
    const after = recordAt({ message: 'later' }, { updated_at: COMMITTED_AT + 1_000_000n });
    const repaired = 'repaired: was edited by hand before entry 5 rewrote it';
    expect(
      check(committed, after, { format, changes: [changeOf(forged, after, { batch: 5n, format })] }),
    ).toEqual([repaired]);
  });

  test('are inserted if their entry does not list them, and absent if only the entry lists them', () => {
    const records = ['a', 'b', 'c', 'd'].map((action) => recordAt({ action }));
    const rows = new EntryRows(entryOf(records.slice(0, 3), format), new Map());
    const findings = records.slice(1).flatMap((record) => rows.check(streamed(record)));
    expect(findings.map(({ kind, eventId }) => [kind, eventId])).toEqual([
      ['inserted', records[3]!.event_id],
    ]);
    expect(rows.absent()).toEqual([records[0]!.event_id]);
  });

  test('with the same id twice are inserted the second time', () => {
    const rows = new EntryRows(entryOf([recordAt()], format), new Map());
    const kinds = [recordAt(), recordAt()]
      .flatMap((record) => rows.check(streamed(record)))
      .map(({ kind }) => kind);
    expect([kinds, rows.absent()]).toEqual([['inserted'], []]);
  });

  test('are not changed by an entry that changes an event they do not have', () => {
    const other = recordAt({ action: 'other' });
    const changes = new Map([[other.event_id!, [changeOf(other, other, { format })]]]);
    expect(new EntryRows(entryOf([recordAt()], format), changes).checkChanges()).toEqual([
      expect.objectContaining({ kind: 'broken', eventId: other.event_id }),
    ]);
  });
});

test('a row of format 1 that an entry of format 2 changed has the hash of that entry', () => {
  const before = recordAt();
  const after = recordAt({ message: 'later' }, { updated_at: COMMITTED_AT + 1_000_000n });
  const changes = [changeOf(before, after)];
  expect(check(before, after, { format: 1, changes })).toEqual([]);
  expect(check(before, { ...after, message: 'forged' }, { format: 1, changes })).toHaveLength(1);
});

test('rows from before the ledger may have any run and times', () => {
  const row = recordAt({}, { run_id: 1n, first_seen_at: COMMITTED_AT + 1n, updated_at: COMMITTED_AT + 1n });
  expect(check(recordAt(), row, { format: 1, entry: { runId: null } })).toEqual([]);
});
