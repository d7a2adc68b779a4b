/**
 * Entries of the ledger, and how each is appended.
 *
 * - An entry lists rows that one commit stored or changed, with a hash of each row as it was sent. The expected state of each row
 *   follows from the entries alone.
 * - The rows of an entry are the leaves of an RFC 6962 Merkle tree, whose root is part of the text of the entry. The texts are the
 *   leaves of the tree of the log, in order: entry 1 is leaf 0. The head of that tree is a C2SP checkpoint.
 * - The text also contains the digest of the entry before it.
 *
 * Format 1 (until version 0.2) has neither kinds nor trees: its digests form a chain, and are leaves of the tree of the log.
 * docs/ledger.md documents all hashed bytes. They are fixed for all versions.
 */
import { hash } from 'node:crypto';
import { CLASSIC_LOG, type LogKey } from '../log-key.ts';
import { appendLeaf, leafHash, type Peaks, rootOfList } from '../transparency-log/merkle.ts';

/** What an entry lists. `state`: the covered ranges, and where the events come from. */
export type EntryKind =
  | 'stored'
  | 'changed'
  | 'superseded'
  | 'gone'
  | 'rejected'
  | 'state'
  | 'run'
  | 'retired'
  | 'pseudonymised';

/** One entry. Times are UTC with six fraction digits, digests are hex. */
export interface LedgerEntry extends LogKey {
  format: number;
  kind: EntryKind;
  batch: bigint;
  runId: string | null;
  committedAt: string;
  /** `createdOn` of the oldest and the newest event stored. */
  fromAt: string | null;
  toAt: string | null;
  rowsInserted: number;
  rowsChanged: number;
  /** ROW_BYTES for each row: key and hash. Format 1: 32 bytes for each row inserted. */
  listed: Uint8Array;
  /** The events of earlier entries that this entry changed, sorted by event id. */
  changes: LedgerChange[];
  facts: string | null;
  previousDigest: string | null;
  digest: string;
}

export interface LedgerChange {
  eventId: string;
  /** The entry that stored the event. */
  rowBatch: bigint;
  /** The entry that made the change, and its time. */
  batch: bigint;
  committedAt: string;
  /** Hashes of the row before and after. */
  oldDigest: string;
  newDigest: string;
}

/** The newest entry, and what is needed to append another. */
export interface LedgerHead {
  /** Also the size of the tree: entries are numbered from 1 without gaps. */
  batch: bigint;
  digest: string | null;
  peaks: Peaks;
}

/** An entry to append. */
export interface EntryDraft {
  kind: EntryKind;
  /** Created by `listRows`. A function is called when the entry is appended. */
  listed: Uint8Array | (() => Uint8Array);
  changes?: readonly Omit<LedgerChange, 'batch' | 'committedAt'>[];
  facts?: string;
  fromAt?: string;
  toAt?: string;
}

export const FORMAT = 2;
export const KEY_BYTES = 16;
export const HASH_BYTES = 32;
export const ROW_BYTES = KEY_BYTES + HASH_BYTES;

export function listRows(rows: readonly { key: Uint8Array; hash: Uint8Array }[]): Buffer {
  const listed = Buffer.alloc(rows.length * ROW_BYTES);
  for (const [i, row] of rows.entries()) {
    listed.set(row.key, i * ROW_BYTES);
    listed.set(row.hash, i * ROW_BYTES + KEY_BYTES);
  }
  return listed;
}

/** The hashes of the rows that an entry of format 2 lists: the leaves of its tree. */
export function hashesOf(listed: Uint8Array): Uint8Array[] {
  const hashes: Uint8Array[] = [];
  for (let at = KEY_BYTES; at < listed.length; at += ROW_BYTES)
    hashes.push(listed.subarray(at, at + HASH_BYTES));
  return hashes;
}

/** Creates the entries of one commit, and the head after them. */
export function appendEntries(
  head: LedgerHead,
  drafts: readonly EntryDraft[],
  { organization, log, runId, committedAt }: LogKey & { runId: string; committedAt: string },
): { entries: (LedgerEntry & { peaks: Peaks })[]; head: LedgerHead } {
  const entries: (LedgerEntry & { peaks: Peaks })[] = [];
  let { batch, digest, peaks } = head;
  for (const draft of drafts) {
    const { kind, changes = [], facts = null, fromAt = null, toAt = null } = draft;
    const listed = typeof draft.listed === 'function' ? draft.listed() : draft.listed;
    const rows = listed.length / ROW_BYTES;
    batch += 1n;
    const own = batch;
    const entry = {
      ...{
        format: FORMAT,
        organization,
        log,
        kind,
        batch: own,
        runId,
        committedAt,
        fromAt,
        toAt,
        listed,
        facts,
      },
      rowsInserted: kind === 'stored' ? rows : 0,
      rowsChanged: kind === 'stored' ? 0 : rows,
      changes: changes
        .map((change) => ({ ...change, batch: own, committedAt }))
        .sort((a, b) => (a.eventId < b.eventId ? -1 : 1)),
      previousDigest: digest,
    };
    const leaf = leafHash(Buffer.from(entryText(entry)));
    digest = Buffer.from(leaf).toString('hex');
    peaks = appendLeaf(peaks, Number(batch) - 1, leaf);
    entries.push({ ...entry, digest, peaks });
  }
  return { entries, head: { batch, digest, peaks } };
}

/** The text of an entry of format 2: its leaf in the tree of the log. */
export function entryText(entry: Omit<LedgerEntry, 'digest'>): string {
  return JSON.stringify({
    format: entry.format,
    organization: entry.organization,
    log: entry.log,
    entry: entry.batch.toString(),
    kind: entry.kind,
    run: entry.runId,
    committed_at: entry.committedAt,
    from_at: entry.fromAt,
    to_at: entry.toAt,
    rows: entry.rowsInserted + entry.rowsChanged,
    rows_root: rootOfList(entry.listed, { offset: KEY_BYTES, stride: ROW_BYTES }).toString('hex'),
    rows_list: sha256(entry.listed),
    changes: entry.changes.length === 0 ? null : sha256(changesText(entry.changes)),
    facts: entry.facts === null ? null : sha256(entry.facts),
    previous: entry.previousDigest,
  });
}

/** The digest that an entry must have. */
export function entryDigest(entry: Omit<LedgerEntry, 'digest'>): string {
  if (entry.format === 1) return digestOfFormat1(entry);
  return Buffer.from(leafHash(Buffer.from(entryText(entry)))).toString('hex');
}

/** The hash of an entry in the tree of the log. */
export function entryLeaf({ format, digest }: Pick<LedgerEntry, 'format' | 'digest'>): Uint8Array {
  const bytes = Buffer.from(digest, 'hex');
  return format === 1 ? leafHash(bytes) : bytes;
}

function changesText(changes: readonly LedgerChange[]): string {
  return JSON.stringify(
    changes.map(({ eventId, rowBatch, oldDigest, newDigest }) => [
      eventId,
      rowBatch.toString(),
      oldDigest,
      newDigest,
    ]),
  );
}

/** SHA-256 over an entry and the previous digest. Entries of log classic omit the log: they are older than the other logs. */
function digestOfFormat1(entry: Omit<LedgerEntry, 'digest'>): string {
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
      sha256(entry.listed),
      sha256(Buffer.concat(changes)),
      entry.previousDigest,
    ]),
  );
}

function sha256(data: string | Uint8Array): string {
  return hash('sha256', data, 'hex');
}
