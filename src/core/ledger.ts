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
 * The texts that are hashed are described in the comments on the columns of `audit.ledger`.
 */
import { createHash } from 'node:crypto';
import { CLASSIC_LOG, type LogKey } from './log-key.ts';
import { hasOwnId, type StoredEvent } from './verify.ts';

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
const DIGEST_BYTES = 16;
/** Of PostgreSQL's types. */
const UUID_TYPE = 2950;
const TEXT_TYPE = 25;

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
    const { edited, mended } = judgeRow(entry, row, leaf, changes.get(eventId) ?? []);
    if (mended) findings.push({ kind: 'mended', batch, eventId, createdOn, reason: mended });
    if (edited.length === 0) continue;
    findings.push({ kind: 'edited', batch, eventId, createdOn, reason: edited.join(', ') });
  }
  return { findings, absent: [...leaves.keys()] };
}

/** First 128 bits of SHA-256 over what may change about an event, and its id, as the table has them. */
export function contentDigest({ eventId, event }: StoredEvent): string {
  const { createdOnRaw, userName, email, message, extra, raw } = event;
  const id = Buffer.from(eventId.replaceAll('-', ''), 'hex');
  const texts = [createdOnRaw, userName, email, message, extra, raw];
  const fields = [binaryField(UUID_TYPE, id), ...texts.map((text) => binaryField(TEXT_TYPE, text))];
  return sha256(Buffer.concat([int32(fields.length), ...fields.flat()])).slice(0, 2 * DIGEST_BYTES);
}

/** SHA-256 over an entry and the digest before it. Entries of log classic do not name it: they were there before other logs. */
export function entryDigest(entry: LedgerEntry): string {
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
  entry: LedgerEntry,
  row: LedgeredRow,
  leaf: string,
  changes: readonly LedgerChange[],
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
  if (!hasOwnId(row)) edited.push('event_id or a column it is made of');
  if (contentDigest(row) !== expected) edited.push('created_on_raw, user_name, email, message, extra or raw');
  const change = changes.at(-1);
  // Entries without a run took over rows of before the ledger.
  if (entry.runId !== null) {
    if (row.firstSeenAt !== entry.committedAt) edited.push('first_seen_at');
    if (row.runId !== entry.runId) edited.push('run_id');
    if (!change && row.updatedAt !== entry.committedAt) edited.push('updated_at');
  }
  if (change && row.updatedAt !== change.committedAt) edited.push('updated_at');
  return { edited, mended };
}

/** A field as PostgreSQL sends it in binary form. */
function binaryField(type: number, value: Buffer | string | null): Buffer[] {
  if (value === null) return [int32(type), int32(-1)];
  const bytes = Buffer.from(value);
  return [int32(type), int32(bytes.length), bytes];
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
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
