/** Entries of the ledger: their texts, digests and tree, in both formats. Digests are computed here independently. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { checkChain } from '../../../src/core/ledger/check.ts';
import {
  appendEntries,
  type EntryDraft,
  type EntryKind,
  entryLeaf,
  type LedgerEntry,
  listRows,
} from '../../../src/core/ledger/entry.ts';
import { NO_PEAKS, rootOf, rootOfPeaks } from '../../../src/core/transparency-log/merkle.ts';

const AT = '2026-01-01T12:00:00.000000Z';
const LATER = '2026-01-02T12:00:00.000000Z';
const OWNER = { organization: 'acme', log: 'classic', runId: '7', committedAt: AT };

const sha256 = (...parts: (string | Uint8Array)[]) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hex = (...parts: (string | Uint8Array)[]) => sha256(...parts).toString('hex');
const leaf = (data: string | Uint8Array) => sha256(Buffer.from([0]), data);

/** As the comment on `audit.ledger.digest` says of format 1. */
function digestOfFormat1(entry: Omit<LedgerEntry, 'digest'>): string {
  const bytesOf = (text: string) => Buffer.from(text.replaceAll('-', ''), 'hex');
  const changes = entry.changes.flatMap((change) =>
    [change.eventId, change.oldDigest, change.newDigest].map(bytesOf),
  );
  const { organization, batch, runId, committedAt, fromAt, toAt, listed, previousDigest } = entry;
  return hex(
    JSON.stringify([
      ...[organization, String(batch), runId, committedAt, fromAt, toAt],
      ...[hex(listed), hex(...changes), previousDigest],
    ]),
  );
}

function entryOfFormat1(given: Partial<LedgerEntry>): LedgerEntry {
  const entry: Omit<LedgerEntry, 'digest'> = {
    ...{ format: 1, kind: 'stored', organization: 'acme', log: 'classic', batch: 1n, runId: '7' },
    ...{ committedAt: AT, fromAt: AT, toAt: AT, rowsInserted: 1, rowsChanged: 0, changes: [], facts: null },
    ...{ listed: Buffer.alloc(32, given.runId ?? '7'), previousDigest: null },
    ...given,
  };
  return { ...entry, digest: digestOfFormat1(entry) };
}

const rows = (count: number, seed = 'row') =>
  listRows(
    Array.from({ length: count }, (_, i) => ({
      key: sha256(`${seed}${i}`).subarray(0, 16),
      hash: leaf(`${seed}${i}`),
    })),
  );

const change = (i: number): EntryDraft['changes'] => [
  {
    ...{ eventId: `1e4cca09-8e4b-0f93-6ecd-788a955c4e${String(i).padStart(2, '0')}`, rowBatch: 1n },
    ...{ oldDigest: hex(`old ${i}`), newDigest: hex(`new ${i}`) },
  },
];

const DRAFTS: Record<Exclude<EntryKind, 'retired' | 'pseudonymised'>, EntryDraft> = {
  stored: { kind: 'stored', listed: rows(3), fromAt: AT, toAt: LATER },
  changed: { kind: 'changed', listed: rows(1, 'changed'), changes: change(1)! },
  superseded: { kind: 'superseded', listed: rows(1, 'superseded'), changes: change(2)! },
  gone: { kind: 'gone', listed: rows(2, 'gone') },
  rejected: { kind: 'rejected', listed: rows(1, 'rejected') },
  state: { kind: 'state', listed: rows(1, 'state'), facts: '{"ranges":[]}' },
  run: { kind: 'run', listed: rows(1, 'run') },
};

/** One entry of format 1, then one of each kind of format 2. */
function ledgerOf(drafts = Object.values(DRAFTS)): LedgerEntry[] {
  const first = entryOfFormat1({});
  const head = { batch: 1n, digest: first.digest, peaks: [leaf(Buffer.from(first.digest, 'hex'))] };
  return [first, ...appendEntries(head, drafts, OWNER).entries];
}

const checkAll = (entries: readonly LedgerEntry[]) =>
  entries
    .flatMap((entry, i) => checkChain(entries[i - 1], entry))
    .map(({ kind, batch }) => ({ kind, batch }));

describe('an entry of format 1', () => {
  test('has an unchanging digest, on which saved heads rely', () => {
    const entry = entryOfFormat1({
      ...{ committedAt: '2026-01-01 12:00:00.000000', fromAt: '2026-01-01 12:00:00.000000' },
      toAt: '2026-01-01 12:00:00.000000',
      listed: Buffer.from('1e4cca098e4b0f936ecd788a955c4e5707b09059775ff48e1b47b62d6984ed8d', 'hex'),
    });
    expect(entry.digest).toBe('8b188b19d135e03c89c54190b6c6a0bf4013f7ddbca10da350b7b526e964e348');
    expect(checkChain(undefined, entry)).toEqual([]);
  });

  test('is a leaf of the tree by its digest', () => {
    const entry = entryOfFormat1({});
    expect(Buffer.from(entryLeaf(entry))).toEqual(leaf(Buffer.from(entry.digest, 'hex')));
  });
});

describe('an entry of format 2', () => {
  test('has an unchanging text, on which saved heads and proofs rely', () => {
    const { entries } = appendEntries(
      { batch: 41n, digest: 'ab'.repeat(32), peaks: [leaf('a'), leaf('b'), leaf('c')] },
      [{ ...DRAFTS.stored, listed: rows(1) }],
      { ...OWNER, organization: 'acmé "x"' },
    );
    const text =
      '{"format":2,"organization":"acmé \\"x\\"","log":"classic","entry":"42","kind":"stored","run":"7",' +
      `"committed_at":"${AT}","from_at":"${AT}","to_at":"${LATER}","rows":1,"rows_root":"${leaf('row0').toString('hex')}",` +
      `"rows_list":"${hex(rows(1))}","changes":null,"facts":null,"previous":"${'ab'.repeat(32)}"}`;
    expect(entries[0]!.digest).toBe(leaf(text).toString('hex'));
    expect(entries[0]!.digest).toBe('1bf20ca964e6127a138c7a102427f5a754950256b82ed3be111fec6c4bde8780');
  });

  test('of each kind has no findings, and its head is the root of all leaves', () => {
    const entries = ledgerOf();
    expect(checkAll(entries)).toEqual([]);
    const { head } = appendEntries(
      { batch: 0n, digest: null, peaks: NO_PEAKS },
      Object.values(DRAFTS),
      OWNER,
    );
    const { entries: alone } = appendEntries(
      { batch: 0n, digest: null, peaks: NO_PEAKS },
      Object.values(DRAFTS),
      OWNER,
    );
    expect(rootOfPeaks(head.peaks)).toEqual(rootOf(alone.map(entryLeaf)));
    expect(head).toMatchObject({ batch: 7n, digest: alone.at(-1)!.digest });
  });

  test('appended one after the other or at once gives the same head', () => {
    const kinds = fc.array(fc.constantFrom(...Object.values(DRAFTS)), { maxLength: 40 });
    fc.assert(
      fc.property(kinds, (drafts) => {
        const start = { batch: 0n, digest: null, peaks: NO_PEAKS };
        const atOnce = appendEntries(start, drafts, OWNER);
        let head: typeof atOnce.head = start;
        for (const draft of drafts) ({ head } = appendEntries(head, [draft], OWNER));
        expect(head).toEqual(atOnce.head);
        expect(rootOfPeaks(head.peaks)).toEqual(rootOf(atOnce.entries.map(entryLeaf)));
      }),
      { numRuns: 30 },
    );
  });

  const other = { eventId: '1e4cca09-8e4b-0f93-6ecd-788a955c4e99', rowBatch: 1n, batch: 3n, committedAt: AT };
  const EDITS: [string, number, (entry: LedgerEntry) => Partial<LedgerEntry>][] = [
    ['organization', 2, () => ({ organization: 'other' })],
    ['log', 2, () => ({ log: 'tenant:Prod' })],
    ['runId', 2, () => ({ runId: null })],
    ['kind', 2, () => ({ kind: 'gone' })],
    ['format', 2, () => ({ format: 1 })],
    ['an unknown format', 2, () => ({ format: 3 })],
    ['committedAt', 2, () => ({ committedAt: LATER })],
    ['fromAt', 2, () => ({ fromAt: null })],
    ['toAt', 2, () => ({ toAt: AT })],
    ['rowsInserted', 2, () => ({ rowsInserted: 2 })],
    ['rowsChanged', 2, () => ({ rowsChanged: 1 })],
    ['listed', 2, ({ listed }) => ({ listed: listed.subarray(48) })],
    ['a key', 2, ({ listed }) => ({ listed: Buffer.concat([Buffer.alloc(1, 7), listed.subarray(1)]) })],
    ['facts', 7, () => ({ facts: '{}' })],
    ['no changes', 3, () => ({ changes: [] })],
    ['another change', 3, ({ changes }) => ({ changes: [{ ...changes[0]!, newDigest: hex('x') }] })],
    ['a change of another batch', 3, ({ changes }) => ({ changes: [{ ...changes[0]!, rowBatch: 2n }] })],
    ['one more change', 3, ({ changes }) => ({ changes: [...changes, { ...changes[0]!, ...other }] })],
    ['previousDigest', 3, () => ({ previousDigest: null })],
    ['digest', 3, () => ({ digest: '0'.repeat(64) })],
  ];
  test.each(EDITS)('with another %s is broken there, and nowhere before', (_name, batch, edit) => {
    const entries = ledgerOf();
    entries[batch - 1] = { ...entries[batch - 1]!, ...edit(entries[batch - 1]!) };
    expect(checkAll(entries)[0]).toEqual({ kind: 'broken', batch: BigInt(batch) });
  });

  test.each([-5n, 0n])('with the number %s was inserted by hand', (batch) => {
    const forged = entryOfFormat1({ batch });
    const found = checkAll([forged, ...ledgerOf()]);
    expect(found[0]).toEqual({ kind: 'broken', batch });
  });

  test('may not be followed by one of format 1, even if all digests fit', () => {
    const entries = ledgerOf([DRAFTS.stored]);
    const forged = entryOfFormat1({ batch: 3n, previousDigest: entries[1]!.digest });
    expect(checkAll([...entries, forged])).toEqual([{ kind: 'broken', batch: 3n }]);
  });

  test('may change only events of entries before it, even if its digest fits', () => {
    for (const rowBatch of [0n, 2n, 99n]) {
      const changes = change(1)!.map((each) => ({ ...each, rowBatch }));
      const entries = ledgerOf([{ ...DRAFTS.changed, changes }]);
      expect(checkAll(entries)).toEqual([{ kind: 'broken', batch: 2n }]);
    }
  });

  test('whose counts are not those of its rows is broken even where the digest fits', () => {
    const [first, second] = ledgerOf([DRAFTS.stored]);
    expect(checkAll([first!, { ...second!, rowsInserted: 2, rowsChanged: 1 }])).toEqual([
      { kind: 'broken', batch: 2n },
    ]);
  });
});

describe('a chain of entries', () => {
  test('without some of its entries is broken where they were, but for the last ones', () => {
    const from = fc.integer({ min: 0, max: 7 });
    fc.assert(
      fc.property(from, fc.integer({ min: 1, max: 4 }), (at, count) => {
        const entries = ledgerOf();
        const next = entries[at + count];
        entries.splice(at, count);
        expect(checkAll(entries)).toEqual(next ? [{ kind: 'broken', batch: next.batch }] : []);
        if (!next) return;
        const [finding] = checkChain(entries[at - 1], next);
        expect(finding!.reason).toBe(`the ${count} entries before it are missing, from ${at + 1} on`);
      }),
    );
  });
});
