/** Checks entries of the ledger, and the rows that they list. */
import {
  entryDigest,
  FORMAT,
  HASH_BYTES,
  KEY_BYTES,
  type LedgerChange,
  type LedgerEntry,
  ROW_BYTES,
} from './entry.ts';

export type Tampering =
  /** A row differs from what the worker last wrote. */
  | 'edited'
  /** A row that an entry lists is missing. */
  | 'deleted'
  /** A row that no entry lists. */
  | 'inserted'
  /** An entry was changed, is missing, or is not signed. */
  | 'broken'
  /** A row was edited or deleted by hand, and a later run has repaired it. */
  | 'repaired';

export interface LedgerFinding {
  kind: Tampering;
  batch: bigint | null;
  /** The table of the row, if it is not that of the events. */
  table?: string;
  eventId: string | null;
  createdOn: string | null;
  userName?: string | null;
  /** What was found, as a phrase. */
  reason: string;
}

/** A row of an entry, as it is stored now. */
export interface ListedRow {
  /** The event id as 32 hex digits. */
  key: string;
  /** The hash that an entry of this format lists for the row as it is stored. */
  hashFor(format: number): string;
  /** The time that the store sorts by: UTC with six fraction digits. */
  time(): string;
  /** For a message. */
  describe(): { eventId: string; createdOn: string; userName: string | null };
  /** Names of columns that contradict the others or the entry, to be named in a message. Called for rows with a wrong hash. */
  suspectColumns(entry: LedgerEntry): string[];
  /** Names of columns that the hash does not cover, and that contradict the others. */
  misfits(entry: LedgerEntry, change: LedgerChange | undefined): string[];
  /** The text of details that were not parsed, if the store would parse them were they JSON. */
  unparsedDetails(): string | undefined;
}

const NOTHING = { batch: null, eventId: null, createdOn: null };
const FORMAT_1_ROW_BYTES = 32;

/** Checks the entry itself and its position in the chain. `before` is the previous entry, if any. */
export function checkChain(before: LedgerEntry | undefined, entry: LedgerEntry): LedgerFinding[] {
  const expected = (before?.batch ?? 0n) + 1n;
  const findings: LedgerFinding[] = [];
  const broken = (reason: string) =>
    findings.push({ ...NOTHING, kind: 'broken', batch: entry.batch, reason });
  if (entry.batch < 1n) broken('entries are numbered from 1: it was inserted by hand');
  else if (entry.batch !== (expected < 1n ? 1n : expected)) {
    broken(`the ${entry.batch - expected} entries before it are missing, from ${expected} on`);
  } else if (entry.previousDigest !== (before?.digest ?? null)) {
    broken('its previous digest is not the digest of the entry before it');
  }
  if (entry.format !== 1 && entry.format !== FORMAT) {
    broken(`its format is ${entry.format}, which this version does not know`);
    return findings;
  }
  if (before && entry.format < before.format) broken(`its format is older than that of the entry before it`);
  // Only entries of format 1 adopted rows that no run had recorded.
  if (entry.format === FORMAT && entry.runId === null) broken('it names no run');
  const isForeign = entry.changes.some(({ rowBatch }) => rowBatch < 1n || rowBatch >= entry.batch);
  if (isForeign) broken('it changes events of an entry that does not precede it');
  if (entryDigest(entry) !== entry.digest) broken('its digest does not match its contents');
  else if (!hasRightCounts(entry)) broken('its row counts do not match the rows that it lists');
  return findings;
}

function hasRightCounts({ format, kind, listed, changes, rowsInserted, rowsChanged }: LedgerEntry): boolean {
  if (format === 1) {
    return listed.length / FORMAT_1_ROW_BYTES === rowsInserted && changes.length === rowsChanged;
  }
  const rows = listed.length / ROW_BYTES;
  const isChange = kind === 'changed' || kind === 'superseded';
  if (changes.length !== (isChange ? rows : 0)) return false;
  return kind === 'stored'
    ? rowsInserted === rows && rowsChanged === 0
    : rowsChanged === rows && rowsInserted === 0;
}

/** Checks the stored rows of one entry of kind `stored`. */
export class EntryRows {
  /** By the event id as 32 hex digits. */
  private readonly expected: Map<string, string>;
  private readonly changes: ReadonlyMap<string, readonly LedgerChange[]>;

  /** `changes`: what later entries changed in these rows, in order. */
  constructor(
    private readonly entry: LedgerEntry,
    changes: ReadonlyMap<string, readonly LedgerChange[]>,
  ) {
    this.expected = listedHashes(entry);
    this.changes = new Map([...changes].map(([eventId, each]) => [eventId.replaceAll('-', ''), each]));
  }

  /** Changes of events that the entry does not list. */
  checkChanges(): LedgerFinding[] {
    return [...this.changes].flatMap(([key, [change]]) =>
      this.expected.has(key)
        ? []
        : [
            {
              ...{ kind: 'broken' as const, batch: change!.batch, eventId: formatId(key), createdOn: null },
              reason: `it changes an event that entry ${this.entry.batch} does not list`,
            },
          ],
    );
  }

  /** Pass each stored row once. */
  check(row: ListedRow): LedgerFinding[] {
    const { entry } = this;
    const { key } = row;
    const listed = this.expected.get(key);
    const found = (kind: Tampering, reason: string): LedgerFinding => ({
      ...{ kind, batch: entry.batch },
      ...row.describe(),
      reason,
    });
    // A row outside of the times of its entry is found as one without an entry.
    if (listed === undefined && !isBetween(row.time(), entry)) return [];
    if (listed === undefined)
      return [found('inserted', `entry ${entry.batch}, which it names, does not list it`)];
    this.expected.delete(key);
    const changes = this.changes.get(key);
    const { expected, format, repaired } = changes
      ? applyChanges(listed, entry.format, changes)
      : { expected: listed, format: entry.format, repaired: undefined };
    const misfits = row.misfits(entry, changes?.at(-1));
    const findings = repaired === undefined ? [] : [found('repaired', repaired)];
    if (row.hashFor(format) !== expected) misfits.unshift(...row.suspectColumns(entry));
    if (misfits.length > 0) findings.push(found('edited', [...new Set(misfits)].join(', ')));
    return findings;
  }

  /** The events that no checked row was: their ids. */
  absent(): string[] {
    return [...this.expected.keys()].map(formatId);
  }
}

function isBetween(time: string, { fromAt, toAt }: LedgerEntry): boolean {
  return fromAt !== null && toAt !== null && time >= fromAt && time <= toAt;
}

/** What the row must be after the changes. A hash of another format cannot be compared with the one before it. */
function applyChanges(
  listed: string,
  formatListed: number,
  changes: readonly LedgerChange[],
): { expected: string; format: number; repaired: string | undefined } {
  let expected = listed;
  let format = formatListed;
  let repaired: string | undefined;
  for (const { oldDigest, newDigest, batch } of changes) {
    const isComparable = oldDigest.length === expected.length;
    // A change with equal digests has restored a column that the digest does not cover and no source changes.
    if ((isComparable && oldDigest !== expected) || newDigest === oldDigest)
      repaired = `was edited by hand before entry ${batch} rewrote it`;
    expected = newDigest;
    format = newDigest.length === 2 * HASH_BYTES ? FORMAT : 1;
  }
  return { expected, format, repaired };
}

/** Event id, as 32 hex digits → hash as inserted. */
function listedHashes({ format, listed }: LedgerEntry): Map<string, string> {
  const hex = Buffer.from(listed.buffer, listed.byteOffset, listed.length).toString('hex');
  const width = 2 * (format === 1 ? FORMAT_1_ROW_BYTES : ROW_BYTES);
  const hashes = new Map<string, string>();
  for (let at = 0; at < hex.length; at += width) {
    const from = at + 2 * KEY_BYTES;
    hashes.set(hex.slice(at, from), hex.slice(from, at + width));
  }
  return hashes;
}

function formatId(key: string): string {
  return key.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
