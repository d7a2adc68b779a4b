/**
 * The integrity ledger: each commit appends an entry with a digest of every row it inserted or changed, chained to the
 * entry before. The model is CloudTrail's digest files.
 *
 * - A row's content digest covers its id, which stands for the columns that never change, and the columns that may.
 * - An entry lists the rows it inserted with their digests as inserted; a later change is noted with the old and the new
 *   digest by the entry that made it. So what a row must be now follows from the entries alone.
 * - An entry's digest covers all that and the digest before it: whoever edits an entry breaks the chain, and whoever
 *   rewrites the whole chain cannot give back a digest that was noted elsewhere.
 *
 * The store defines the digest of a row (`RowForm`), and describes all texts that are hashed.
 */
import { createHash } from 'node:crypto';
import { hasOwnId, type RowForm, type StoredEvent } from './compare.ts';
import { CLASSIC_LOG, type LogKey } from './log-key.ts';

/** One entry. Times as UTC with six digits, digests in hex. */
export interface LedgerEntry extends LogKey {
  batch: bigint;
  runId: string | null;
  committedAt: string;
  fromAt: string | null;
  toAt: string | null;
  rowsInserted: number;
  rowsChanged: number;
  /** 32 bytes a row: event id, digest. */
  inserted: Uint8Array;
  /** What this entry changed, in order of event id. */
  changes: LedgerChange[];
  previousDigest: string | null;
  digest: string;
}

export interface LedgerChange {
  eventId: string;
  /** The entry that made the change, and when. */
  batch: bigint;
  committedAt: string;
  oldDigest: string;
  newDigest: string;
}

/** A stored row with what the ledger has an opinion of. */
export interface LedgeredRow extends StoredEvent {
  batch: bigint;
  runId: string;
  firstSeenAt: string;
  updatedAt: string;
}

export type Tampering =
  /** A row is not as the worker last wrote it. */
  | 'edited'
  /** A row that an entry lists is not there. */
  | 'deleted'
  /** A row that no entry lists. */
  | 'inserted'
  /** An entry is not as it was written, or is missing. */
  | 'broken'
  /** Was edited or deleted by hand, and a later run has put it right. */
  | 'mended';

export interface LedgerFinding {
  kind: Tampering;
  batch: bigint | null;
  eventId: string | null;
  createdOn: string | null;
  /** What was found, in words. */
  reason: string;
}

const LEAF_BYTES = 32;
const ID_BYTES = 16;

/** What the entry itself and its place in the chain have wrong. `before` is the entry that precedes it, if any. */
export function judgeChain(before: LedgerEntry | undefined, entry: LedgerEntry): LedgerFinding[] {
  const expected = (before?.batch ?? 0n) + 1n;
  const findings: LedgerFinding[] = [];
  const broken = (reason: string) =>
    findings.push({ ...NOTHING, kind: 'broken', batch: entry.batch, reason });
  if (entry.batch !== expected) {
    broken(`the ${entry.batch - expected} entries before it are missing, from ${expected} on`);
  } else if (entry.previousDigest !== (before?.digest ?? null)) {
    broken('it does not follow from the entry before it');
  }
  const counts = [entry.inserted.length / LEAF_BYTES, entry.changes.length];
  if (entryDigest(entry) !== entry.digest) broken('its digest is not that of what it says');
  else if (counts[0] !== entry.rowsInserted || counts[1] !== entry.rowsChanged) {
    broken('its counts are not those of the rows it lists');
  }
  return findings;
}

/** What is wrong with the rows that came with an entry. `changes`: those that later entries made to them, in order. */
export function judgeRows(
  entry: LedgerEntry,
  rows: readonly LedgeredRow[],
  changes: ReadonlyMap<string, readonly LedgerChange[]>,
  form: RowForm,
): { findings: LedgerFinding[]; absent: string[] } {
  const leaves = leavesOf(entry.inserted);
  const findings: LedgerFinding[] = [];
  for (const row of rows) {
    const { eventId, batch } = row;
    const createdOn = row.event.createdOnRaw;
    const leaf = leaves.get(eventId);
    leaves.delete(eventId);
    if (leaf === undefined) {
      findings.push({
        kind: 'inserted',
        batch,
        eventId,
        createdOn,
        reason: 'the entry it names does not list it',
      });
      continue;
    }
    const { edited, mended } = judgeRow(row, { entry, leaf, changes: changes.get(eventId) ?? [] }, form);
    if (mended) findings.push({ kind: 'mended', batch, eventId, createdOn, reason: mended });
    if (edited.length === 0) continue;
    findings.push({ kind: 'edited', batch, eventId, createdOn, reason: edited.join(', ') });
  }
  return { findings, absent: [...leaves.keys()] };
}

/** SHA-256 over an entry and the digest before it. Entries of log classic do not name the log: they existed before other logs. */
function entryDigest(entry: LedgerEntry): string {
  const changes = entry.changes.map(({ eventId, oldDigest, newDigest }) =>
    Buffer.from(eventId.replaceAll('-', '') + oldDigest + newDigest, 'hex'),
  );
  return sha256(
    JSON.stringify([
      entry.organization,
      ...(entry.log === CLASSIC_LOG ? [] : [entry.log]),
      entry.batch.toString(),
      entry.runId,
      entry.committedAt,
      entry.fromAt,
      entry.toAt,
      sha256(entry.inserted),
      sha256(Buffer.concat(changes)),
      entry.previousDigest,
    ]),
  );
}

const NOTHING = { batch: null, eventId: null, createdOn: null };

function judgeRow(
  row: LedgeredRow,
  { entry, leaf, changes }: { entry: LedgerEntry; leaf: string; changes: readonly LedgerChange[] },
  { contentDigest, columns }: RowForm,
): { edited: string[]; mended: string | undefined } {
  let expected = leaf;
  let mended: string | undefined;
  for (const change of changes) {
    // A change that leaves the digest as it was has restored a column that no source changes.
    if (change.oldDigest !== expected || change.newDigest === change.oldDigest)
      mended = `had been edited by hand before entry ${change.batch} rewrote it`;
    expected = change.newDigest;
  }
  const edited: string[] = [...row.misfits];
  if (!hasOwnId(row)) edited.push(columns.identity);
  if (contentDigest(row) !== expected) edited.push(columns.content);
  const change = changes.at(-1);
  // Entries without a run took over rows of before the ledger.
  if (entry.runId !== null) {
    if (row.firstSeenAt !== entry.committedAt) edited.push(columns.firstSeenAt);
    if (row.runId !== entry.runId) edited.push(columns.runId);
    if (!change && row.updatedAt !== entry.committedAt) edited.push(columns.updatedAt);
  }
  if (change && row.updatedAt !== change.committedAt) edited.push(columns.updatedAt);
  return { edited, mended };
}

/** Event id → digest as inserted. */
function leavesOf(inserted: Uint8Array): Map<string, string> {
  const hex = Buffer.from(inserted).toString('hex');
  const leaves = new Map<string, string>();
  for (let at = 0; at < hex.length; at += 2 * LEAF_BYTES) {
    const id = hex.slice(at, at + 2 * ID_BYTES);
    const eventId = id.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    leaves.set(eventId, hex.slice(at + 2 * ID_BYTES, at + 2 * LEAF_BYTES));
  }
  return leaves;
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
