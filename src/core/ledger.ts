/**
 * The integrity ledger: each commit appends an entry with a digest of every row that it inserted or changed, chained to the
 * previous entry. The model is CloudTrail's digest files.
 *
 * - A row's content digest covers its id, which covers the columns that never change, and the columns that may change.
 * - An entry lists its inserted rows with their digests. A later entry that changes a row records the old and the new digest.
 *   The expected state of each row therefore follows from the entries alone.
 * - An entry's digest covers all of this and the previous digest. Editing an entry breaks the chain; rewriting the whole
 *   chain changes the digests, which a copy of a digest kept elsewhere reveals.
 *
 * The store defines the digest of a row (`RowForm`) and documents all hashed texts.
 */
import { createHash } from 'node:crypto';
import { hasOwnId, type RowForm, type StoredEvent } from './compare.ts';
import { CLASSIC_LOG, type LogKey } from './log-key.ts';

/** One entry. Times are UTC with six fraction digits, digests are hex. */
export interface LedgerEntry extends LogKey {
  batch: bigint;
  runId: string | null;
  committedAt: string;
  fromAt: string | null;
  toAt: string | null;
  rowsInserted: number;
  rowsChanged: number;
  /** 32 bytes for each row: event id and digest. */
  inserted: Uint8Array;
  /** The rows that this entry changed, sorted by event id. */
  changes: LedgerChange[];
  previousDigest: string | null;
  digest: string;
}

export interface LedgerChange {
  eventId: string;
  /** The entry that made the change, and its time. */
  batch: bigint;
  committedAt: string;
  oldDigest: string;
  newDigest: string;
}

/** A stored row with the columns that the ledger covers. */
export interface LedgeredRow extends StoredEvent {
  batch: bigint;
  runId: string;
  firstSeenAt: string;
  updatedAt: string;
}

export type Tampering =
  /** A row differs from what the worker last wrote. */
  | 'edited'
  /** A row that an entry lists is missing. */
  | 'deleted'
  /** A row that no entry lists. */
  | 'inserted'
  /** An entry was changed or is missing. */
  | 'broken'
  /** A row was edited or deleted by hand, and a later run has repaired it. */
  | 'repaired';

export interface LedgerFinding {
  kind: Tampering;
  batch: bigint | null;
  eventId: string | null;
  createdOn: string | null;
  /** What was found, as a phrase. */
  reason: string;
}

const LEAF_BYTES = 32;
const ID_BYTES = 16;

/** Checks the entry itself and its position in the chain. `before` is the previous entry, if any. */
export function checkChain(before: LedgerEntry | undefined, entry: LedgerEntry): LedgerFinding[] {
  const expected = (before?.batch ?? 0n) + 1n;
  const findings: LedgerFinding[] = [];
  const broken = (reason: string) =>
    findings.push({ ...NOTHING, kind: 'broken', batch: entry.batch, reason });
  if (entry.batch !== expected) {
    broken(`the ${entry.batch - expected} entries before it are missing, from ${expected} on`);
  } else if (entry.previousDigest !== (before?.digest ?? null)) {
    broken('its previous digest is not the digest of the entry before it');
  }
  const counts = [entry.inserted.length / LEAF_BYTES, entry.changes.length];
  if (entryDigest(entry) !== entry.digest) broken('its digest does not match its contents');
  else if (counts[0] !== entry.rowsInserted || counts[1] !== entry.rowsChanged) {
    broken('its row counts do not match the rows that it lists');
  }
  return findings;
}

/** Checks the rows inserted by an entry. `changes`: what later entries changed in these rows, in order. */
export function checkRows(
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
        reason: 'the entry that it names does not list it',
      });
      continue;
    }
    const { edited, repaired } = checkRow(row, { entry, leaf, changes: changes.get(eventId) ?? [] }, form);
    if (repaired) findings.push({ kind: 'repaired', batch, eventId, createdOn, reason: repaired });
    if (edited.length === 0) continue;
    findings.push({ kind: 'edited', batch, eventId, createdOn, reason: edited.join(', ') });
  }
  return { findings, absent: [...leaves.keys()] };
}

/** SHA-256 over an entry and the previous digest. Entries of log classic omit the log: they are older than the other logs. */
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

function checkRow(
  row: LedgeredRow,
  { entry, leaf, changes }: { entry: LedgerEntry; leaf: string; changes: readonly LedgerChange[] },
  { contentDigest, columns }: RowForm,
): { edited: string[]; repaired: string | undefined } {
  let expected = leaf;
  let repaired: string | undefined;
  for (const change of changes) {
    // A change with equal digests has restored a column that the digest does not cover and no source changes.
    if (change.oldDigest !== expected || change.newDigest === change.oldDigest)
      repaired = `was edited by hand before entry ${change.batch} rewrote it`;
    expected = change.newDigest;
  }
  const edited: string[] = [...row.misfits];
  if (!hasOwnId(row)) edited.push(columns.identity);
  if (contentDigest(row) !== expected) edited.push(columns.content);
  const change = changes.at(-1);
  // Entries without a run adopted the rows that existed before the ledger.
  if (entry.runId !== null) {
    if (row.firstSeenAt !== entry.committedAt) edited.push(columns.firstSeenAt);
    if (row.runId !== entry.runId) edited.push(columns.runId);
    if (!change && row.updatedAt !== entry.committedAt) edited.push(columns.updatedAt);
  }
  if (change && row.updatedAt !== change.committedAt) edited.push(columns.updatedAt);
  return { edited, repaired };
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
