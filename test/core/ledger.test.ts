/** The checks of the ledger: entries and rows built by hand, digests computed here independently. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventIdOf } from '../../src/core/identity.ts';
import {
  checkChain,
  checkRows,
  type LedgerChange,
  type LedgerEntry,
  type LedgeredRow,
} from '../../src/core/ledger.ts';
import { ROW_FORM } from '../../src/postgres/read/row-form.ts';
import { eventAt } from '../support/batch.ts';

const NO_CHANGES = new Map<string, LedgerChange[]>();
const COMMITTED_AT = '2026-01-01 12:00:00.000000';
const CHANGED_AT = '2026-01-02 12:00:00.000000';

const sha256 = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};
const bytesOf = (hex: string) => Buffer.from(hex.replaceAll('-', ''), 'hex');

/** As the comment on `audit.ledger.digest` says. */
function entryDigestOf(entry: Omit<LedgerEntry, 'digest'>): string {
  const changes = entry.changes.flatMap((change) =>
    [change.eventId, change.oldDigest, change.newDigest].map(bytesOf),
  );
  const { organization, batch, runId, committedAt, fromAt, toAt, inserted, previousDigest } = entry;
  return sha256(
    JSON.stringify([
      ...[organization, String(batch), runId, committedAt, fromAt, toAt],
      ...[sha256(inserted), sha256(...changes), previousDigest],
    ]),
  );
}

/** PostgreSQL's binary form of a row of these columns, hashed and cut. */
function contentDigestOf({ eventId, event }: Pick<LedgeredRow, 'eventId' | 'event'>): string {
  const int = (value: number) => Buffer.from((value >>> 0).toString(16).padStart(8, '0'), 'hex');
  const { createdOnRaw, userName, email, message, extra, raw } = event;
  const texts = [createdOnRaw, userName, email, message, extra, raw].flatMap((text) =>
    text === null ? [int(25), int(-1)] : [int(25), int(Buffer.byteLength(text)), Buffer.from(text)],
  );
  return sha256(int(7), int(2950), int(16), bytesOf(eventId), ...texts).slice(0, 32);
}

type Content = Partial<LedgeredRow['event']>;

function rowOf(content: Content = {}, row: Partial<LedgeredRow> = {}): LedgeredRow {
  const event = eventAt('2026-01-01T10:00:00.1234567Z', content);
  return {
    event,
    eventId: eventIdOf(event, 0),
    ordinal: 0,
    identity: event,
    createdOn: '2026-01-01 10:00:00.123456',
    misfits: [],
    batch: 1n,
    runId: '7',
    firstSeenAt: COMMITTED_AT,
    updatedAt: COMMITTED_AT,
    ...row,
  };
}

function entryOf(rows: readonly LedgeredRow[], given: Partial<LedgerEntry> = {}): LedgerEntry {
  const changes = given.changes ?? [];
  const entry = {
    organization: 'acme',
    log: 'classic',
    batch: 1n,
    runId: '7',
    committedAt: COMMITTED_AT,
    fromAt: COMMITTED_AT,
    toAt: COMMITTED_AT,
    rowsInserted: rows.length,
    rowsChanged: changes.length,
    inserted: Buffer.concat(rows.flatMap((row) => [bytesOf(row.eventId), bytesOf(contentDigestOf(row))])),
    changes,
    previousDigest: null,
    ...given,
  };
  return { digest: entryDigestOf(entry), ...entry };
}

/** Entries that follow each other, one row each. */
function chainOf(length: number): LedgerEntry[] {
  const chain: LedgerEntry[] = [];
  for (let i = 0; i < length; i++) {
    const batch = BigInt(i + 1);
    const previousDigest = chain.at(-1)?.digest ?? null;
    const row = rowOf({ action: `Action ${i}` }, { batch });
    chain.push(entryOf([row], { batch, previousDigest, runId: String(i) }));
  }
  return chain;
}

const checkAll = (chain: readonly LedgerEntry[]) =>
  chain.flatMap((entry, i) => checkChain(chain[i - 1], entry)).map(({ kind, batch }) => ({ kind, batch }));

describe('the chain of entries', () => {
  test('has an unchanging digest, on which saved heads rely', () => {
    const row = rowOf();
    const digest = '8b188b19d135e03c89c54190b6c6a0bf4013f7ddbca10da350b7b526e964e348';
    const entry = {
      ...entryOf([row]),
      inserted: bytesOf('1e4cca098e4b0f936ecd788a955c4e5707b09059775ff48e1b47b62d6984ed8d'),
      digest,
    };
    expect(checkChain(undefined, entry)).toEqual([]);
    expect(checkRows(entry, [row], NO_CHANGES, ROW_FORM)).toEqual({ findings: [], absent: [] });
  });

  test('that was written one entry after the other has no findings', () => {
    fc.assert(
      fc.property(fc.nat(12), (length) => {
        expect(checkAll(chainOf(length))).toEqual([]);
      }),
    );
  });

  const change: LedgerChange = {
    ...{ eventId: rowOf().eventId, batch: 3n, committedAt: CHANGED_AT },
    ...{ oldDigest: '1'.repeat(32), newDigest: '2'.repeat(32) },
  };
  test.each<[string, Partial<LedgerEntry>]>([
    ['organization', { organization: 'other' }],
    ['runId', { runId: null }],
    ['committedAt', { committedAt: CHANGED_AT }],
    ['fromAt', { fromAt: null }],
    ['toAt', { toAt: CHANGED_AT }],
    ['rowsInserted', { rowsInserted: 2 }],
    ['rowsChanged', { rowsChanged: 1 }],
    ['inserted', { inserted: Buffer.alloc(32) }],
    ['changes', { changes: [change], rowsChanged: 1 }],
    ['digest', { digest: '0'.repeat(64) }],
  ])('whose third entry has another %s is broken there, and nowhere before', (_name, edit) => {
    const chain = chainOf(5);
    chain[2] = { ...chain[2]!, ...edit };
    const found = checkAll(chain);
    expect(found[0]).toEqual({ kind: 'broken', batch: 3n });
    // A change of the digest alone also breaks the link from the next entry.
    expect(found.length).toBe(edit.digest ? 2 : 1);
  });

  test('whose third entry was rewritten with a digest that fits is broken at the fourth', () => {
    const chain = chainOf(5);
    const { digest: _digest, ...entry } = chain[2]!;
    chain[2] = { ...entry, runId: 'forged', digest: entryDigestOf({ ...entry, runId: 'forged' }) };
    expect(checkAll(chain)).toEqual([{ kind: 'broken', batch: 4n }]);
  });

  test('without some of its entries is broken where they were, but for the last ones', () => {
    const from = fc.integer({ min: 0, max: 8 });
    fc.assert(
      fc.property(from, fc.integer({ min: 1, max: 4 }), (at, count) => {
        const chain = chainOf(9);
        const next = chain[at + count];
        chain.splice(at, count);
        expect(checkAll(chain)).toEqual(next ? [{ kind: 'broken', batch: next.batch }] : []);
        if (!next) return;
        const [finding] = checkChain(chain[at - 1], next);
        expect(finding!.reason).toBe(`the ${count} entries before it are missing, from ${at + 1} on`);
      }),
    );
  });

  test('whose counts are not those of its rows is broken even where the digest fits', () => {
    const entry = entryOf([rowOf()], { rowsInserted: 2 });
    expect(checkChain(undefined, entry)).toEqual([
      expect.objectContaining({
        kind: 'broken',
        reason: 'its row counts do not match the rows that it lists',
      }),
    ]);
  });
});

/** The findings for one row that its entry has listed as `listed`. */
function check(
  listed: LedgeredRow,
  row: LedgeredRow,
  changes: LedgerChange[] = [],
  entry: Partial<LedgerEntry> = {},
) {
  const { findings } = checkRows(
    entryOf([listed], entry),
    [row],
    new Map([[listed.eventId, changes]]),
    ROW_FORM,
  );
  return findings.map(({ kind, reason }) => `${kind}: ${reason}`);
}

function changeOf(before: LedgeredRow, after: LedgeredRow, batch = 2n): LedgerChange {
  return {
    eventId: before.eventId,
    batch,
    committedAt: CHANGED_AT,
    oldDigest: contentDigestOf(before),
    newDigest: contentDigestOf(after),
  };
}

describe('the rows of an entry', () => {
  const text = fc.option(fc.string({ unit: 'grapheme' }));
  const content = fc.record<Content>({
    userName: text as fc.Arbitrary<string | null>,
    email: text,
    message: text,
    extra: fc.option(fc.constantFrom('{}', '{"a":1}')),
    raw: fc.option(fc.constant('{}')),
  });

  test('have no findings as committed, and after each change that an entry records', () => {
    fc.assert(
      fc.property(content, fc.array(content, { maxLength: 4 }), (first, rewrites) => {
        const versions = [first, ...rewrites].map((each) => rowOf(each));
        const changes = versions.slice(1).flatMap((after, i) => {
          const change = changeOf(versions[i]!, after, BigInt(i + 2));
          // A change with equal digests concerns a column that no source changes.
          return change.oldDigest === change.newDigest ? [] : [change];
        });
        const updatedAt = changes.length > 0 ? CHANGED_AT : COMMITTED_AT;
        expect(check(versions[0]!, { ...versions.at(-1)!, updatedAt }, changes)).toEqual([]);
      }),
    );
  });

  test('are edited exactly if a changeable column differs from what was last written', () => {
    fc.assert(
      fc.property(content, content, (committed, found) => {
        const [listed, row] = [rowOf(committed), rowOf(found)];
        const isSame = JSON.stringify(committed) === JSON.stringify(found);
        const edited = 'edited: created_on_raw, user_name, email, message, extra or raw';
        expect(check(listed, row)).toEqual(isSame ? [] : [edited]);
      }),
    );
  });

  const moved = { ...eventAt('2026-01-01T10:00:00.1234567Z'), action: 'Forged' };
  test.each<[string, Partial<LedgeredRow>]>([
    ['event_id or a column it is made of', { identity: moved }],
    ['event_id or a column it is made of', { ordinal: 1 }],
    ['first_seen_at', { firstSeenAt: CHANGED_AT }],
    ['run_id', { runId: '8' }],
    ['updated_at', { updatedAt: CHANGED_AT }],
    ['details', { misfits: ['details'] }],
  ])('are edited where %s differs', (reason, edit) => {
    expect(check(rowOf(), rowOf({}, edit))).toEqual([`edited: ${reason}`]);
  });

  test('report everything that is wrong at once', () => {
    const row = rowOf({ message: 'forged' }, { ordinal: 1, updatedAt: CHANGED_AT, runId: '8' });
    expect(check(rowOf(), row)).toEqual([
      'edited: event_id or a column it is made of, created_on_raw, user_name, email, message, extra or raw, run_id, updated_at',
    ]);
  });

  test('from before the ledger may have any run and times', () => {
    const row = rowOf({}, { runId: '1', firstSeenAt: CHANGED_AT, updatedAt: CHANGED_AT });
    expect(check(rowOf(), row, [], { runId: null })).toEqual([]);
  });

  test('were changed when the last change says so', () => {
    const [before, after] = [rowOf(), rowOf({ message: 'later' })];
    expect(check(before, after, [changeOf(before, after)])).toEqual(['edited: updated_at']);
  });

  test('that were edited by hand and rewritten since are repaired, which names the entry', () => {
    const [committed, forged, after] = [rowOf(), rowOf({ message: 'forged' }), rowOf({ message: 'later' })];
    const row = { ...after, updatedAt: CHANGED_AT };
    const repaired = 'repaired: was edited by hand before entry 5 rewrote it';
    expect(check(committed, row, [changeOf(forged, after, 5n)])).toEqual([repaired]);
    // Restored to the original: a column that the digest does not cover had been edited.
    const back = { ...committed, updatedAt: CHANGED_AT };
    expect(check(committed, back, [changeOf(committed, committed, 5n)])).toEqual([repaired]);
  });

  test('are inserted if their entry does not list them, and absent if only the entry lists them', () => {
    const rows = ['a', 'b', 'c', 'd'].map((action) => rowOf({ action }));
    const { findings, absent } = checkRows(entryOf(rows.slice(0, 3)), rows.slice(1), NO_CHANGES, ROW_FORM);
    expect(findings.map(({ kind, eventId }) => [kind, eventId])).toEqual([['inserted', rows[3]!.eventId]]);
    expect(absent).toEqual([rows[0]!.eventId]);
  });

  test('with the same id twice are inserted the second time', () => {
    const row = rowOf();
    const { findings, absent } = checkRows(entryOf([row]), [row, row], NO_CHANGES, ROW_FORM);
    expect([findings.map(({ kind }) => kind), absent]).toEqual([['inserted'], []]);
  });
});
