/** Compares the table with its own ledger: finds rows edited, deleted or inserted by hand. Sends no request to the source. */
import { checkChain, EntryRows, type LedgerFinding, type Tampering } from '../core/ledger/check.ts';
import type { LedgerEntry } from '../core/ledger/entry.ts';
import { type NotedHead, TreeCheck } from '../core/ledger/tree-check.ts';
import { CLASSIC_LOG, isSameLog, type LogKey } from '../core/log-key.ts';
import { throwIfInterrupted } from '../core/source.ts';
import { formatMicroseconds } from '../core/ticks.ts';
import type { TrustedKey } from '../core/transparency-log/checkpoint.ts';
import type { Pool } from '../postgres/connection/pool.ts';
import { type LedgerReader, withLedger } from '../postgres/read/ledger.ts';
import { BEFORE_FIRST, type LedgerChunk } from '../postgres/read/ledger-entries.ts';
import { toListedRow } from '../postgres/read/listed-row.ts';
import type { StreamedRecord } from '../postgres/read/record-stream.ts';
import { MAX_EXAMPLES } from './source-report.ts';

export interface LedgerReport extends LogKey {
  entries: number;
  rows: number;
  counts: Record<Tampering, number>;
  examples: LedgerFinding[];
  /** The newest entry. */
  head: NotedHead | null;
  /** The head of the tree, to keep a copy of elsewhere: the newest signed checkpoint, or one without signatures. */
  checkpoint: string | null;
  /** The keys that signed the head and are trusted. */
  signedBy: string[];
}

export interface LedgerRequest {
  /** The logs of one organization, or one log of it. `undefined`: all logs in the database. */
  of?: { organization: string; log?: string } | undefined;
  /** Only rows of entries that overlap this half-open range are read, and rows without an entry only of it. The chain is always checked completely. */
  from: bigint | undefined;
  to: bigint | undefined;
  expected: NotedHead | undefined;
  /** The public keys that must have signed the head; none: it must not be signed. */
  trusted?: readonly TrustedKey[];
  /** False: only the ledgers that are not signed. */
  isSigned?: false;
  signal: AbortSignal;
  onRows: (done: number, total: number) => void;
  /** Receives the events that an entry lists and that are not stored, also by a later entry. */
  onDeleted?: ((entry: LedgerEntry, eventIds: readonly string[]) => void) | undefined;
}

export async function verifyLedgers(pool: Pool, request: LedgerRequest): Promise<LedgerReport[]> {
  return withLedger(pool, async (ledger) => {
    const keys = await findLogs(ledger, request);
    const reports: LedgerReport[] = [];
    for (const key of keys) {
      if (request.isSigned === false && (await ledger.readHead(key))?.checkpoint) continue;
      reports.push(await verifyLedger(ledger, key, request));
    }
    return reports;
  });
}

/** Findings that need attention: all but the repaired ones. */
export function countTamperings({ counts }: LedgerReport): number {
  return counts.edited + counts.deleted + counts.inserted + counts.broken;
}

async function findLogs(ledger: LedgerReader, { of, expected }: LedgerRequest): Promise<LogKey[]> {
  const keys = (await ledger.logs()).filter(
    ({ organization, log }) =>
      of === undefined || (organization === of.organization && (of.log === undefined || log === of.log)),
  );
  // The requested log is checked even if nothing is left of it.
  const requested =
    of && keys.length === 0 ? [{ organization: of.organization, log: of.log ?? CLASSIC_LOG }] : [];
  for (const { organization, log } of [...requested, ...(expected ? [expected] : [])])
    if (!keys.some((key) => isSameLog(key, { organization, log }))) keys.push({ organization, log });
  return keys;
}

async function verifyLedger(
  ledger: LedgerReader,
  key: LogKey,
  request: LedgerRequest,
): Promise<LedgerReport> {
  const counts = { edited: 0, deleted: 0, inserted: 0, broken: 0, repaired: 0 };
  const report: LedgerReport = {
    ...key,
    entries: 0,
    rows: 0,
    counts,
    examples: [],
    head: null,
    checkpoint: null,
    signedBy: [],
  };
  const expected = request.expected && isSameLog(request.expected, key) ? request.expected : undefined;
  const total = await ledger.countListed(key);
  let last: LedgerEntry | undefined;
  let isFormat2 = false;
  const tree = new TreeCheck(key, request.trusted ?? [], expected);
  let lastCheckpoint: string | null = null;
  let after = BEFORE_FIRST;
  for (;;) {
    throwIfInterrupted(request.signal);
    const check = new ChunkCheck((entry) => isInRange(entry, request));
    const chunk = await ledger.readChunk(key, after, {
      isWanted: check.isWanted,
      onEntries: (read) => check.begin(read),
      onRows: (rows) => check.checkRows(rows),
    });
    if (!chunk) break;
    for (const entry of chunk.entries) {
      addFindings(report, [...checkChain(last, entry), ...tree.add(entry)]);
      report.entries += 1;
      report.rows += entry.rowsInserted;
      last = entry;
      isFormat2 ||= entry.format > 1;
      lastCheckpoint = entry.checkpoint;
      after = entry.batch;
    }
    addFindings(report, await check.end(ledger, request.onDeleted));
    request.onRows(report.rows, total);
  }
  const end = tree.end();
  addFindings(report, end.findings);
  addFindings(report, await ledger.findStrayChanges(key));
  if (isFormat2) addFindings(report, await ledger.findUnrecorded(key));
  const strays = await ledger.findStrays(key, request);
  addFindings(report, strays.findings);
  report.counts.inserted += strays.count - strays.findings.length;
  report.head = last ? { ...key, batch: last.batch, digest: last.digest } : null;
  report.checkpoint = last ? (lastCheckpoint ?? tree.checkpoint) : null;
  report.signedBy = end.signedBy;
  return report;
}

/** Checks the rows of some entries against what these list. */
class ChunkCheck {
  private readonly rows = new Map<bigint, { entry: LedgerEntry; rows: EntryRows }>();
  private readonly findings: LedgerFinding[] = [];
  /** Rows without parsed details whose text PostgreSQL may take for JSON. */
  private readonly unparsed: { finding: LedgerFinding; text: string }[] = [];

  constructor(private readonly isInRequestedRange: (entry: LedgerEntry) => boolean) {}

  readonly isWanted = (entry: LedgerEntry): boolean =>
    entry.kind === 'stored' && this.isInRequestedRange(entry);

  begin({ entries, changes }: LedgerChunk): void {
    for (const entry of entries.filter(this.isWanted)) {
      const rows = new EntryRows(entry, changes.get(entry.batch) ?? new Map());
      this.findings.push(...rows.checkChanges());
      this.rows.set(entry.batch, { entry, rows });
    }
    for (const [batch, changed] of changes) {
      const entry = entries.find((other) => other.batch === batch);
      if (entry?.kind === 'stored') continue;
      for (const [eventId, [change]] of changed) {
        const reason = `it changes an event of entry ${batch}, which stored none`;
        this.findings.push({ kind: 'broken', batch: change!.batch, eventId, createdOn: null, reason });
      }
    }
  }

  checkRows(streamed: readonly StreamedRecord[]): void {
    for (const record of streamed) {
      const found = this.rows.get(record.batch);
      // A row whose entry stored none is found as one without an entry.
      if (!found) continue;
      const row = toListedRow(record);
      this.findings.push(...found.rows.check(row));
      const text = row.unparsedDetails();
      if (text === undefined) continue;
      const finding = { batch: record.batch, ...row.describe() };
      this.unparsed.push({ finding: { ...finding, kind: 'edited', reason: 'details' }, text });
    }
  }

  async end(ledger: LedgerReader, onDeleted: LedgerRequest['onDeleted']): Promise<LedgerFinding[]> {
    if (this.unparsed.length > 0) {
      const areJson = await ledger.findJson(this.unparsed.map(({ text }) => text));
      this.findings.push(...this.unparsed.filter((_row, i) => areJson[i]).map(({ finding }) => finding));
    }
    for (const { entry, rows } of this.rows.values()) {
      const found = await findDeleted(ledger, entry, rows.absent());
      this.findings.push(...found);
      const deleted = found.flatMap(({ kind, eventId }) => (kind === 'deleted' && eventId ? eventId : []));
      if (deleted.length > 0) onDeleted?.(entry, deleted);
    }
    return this.findings;
  }
}

async function findDeleted(
  ledger: LedgerReader,
  entry: LedgerEntry,
  absent: readonly string[],
): Promise<LedgerFinding[]> {
  if (absent.length === 0) return [];
  const storedLater = await ledger.findStoredLater(entry, absent);
  return absent.map((eventId): LedgerFinding => {
    const isRepaired = storedLater.has(eventId);
    const reason = isRepaired
      ? 'was deleted by hand; a later entry stored it again'
      : `dated between ${entry.fromAt} and ${entry.toAt}`;
    return {
      kind: isRepaired ? 'repaired' : 'deleted',
      batch: entry.batch,
      eventId,
      createdOn: null,
      reason,
    };
  });
}

function isInRange({ fromAt, toAt }: LedgerEntry, { from, to }: LedgerRequest): boolean {
  if (fromAt === null || toAt === null) return false;
  // All texts have the same format, so they sort by time.
  return (
    (from === undefined || toAt >= formatMicroseconds(from)) &&
    (to === undefined || fromAt <= formatMicroseconds(to))
  );
}

function addFindings(report: LedgerReport, findings: readonly LedgerFinding[]): void {
  for (const finding of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MAX_EXAMPLES) report.examples.push(finding);
  }
}
