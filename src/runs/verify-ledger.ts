/** Compares the table with its own ledger: finds rows edited, deleted or inserted by hand. Sends no request to the source. */
import {
  checkChain,
  checkRows,
  type LedgerEntry,
  type LedgerFinding,
  type Tampering,
} from '../core/ledger.ts';
import { CLASSIC_LOG, isSameLog, type LogKey } from '../core/log-key.ts';
import { throwIfInterrupted } from '../core/source.ts';
import { formatMicroseconds } from '../core/ticks.ts';
import type { Pool } from '../postgres/connection/pool.ts';
import { type LedgerChunk, type LedgerReader, withLedger } from '../postgres/read/ledger.ts';
import { ROW_FORM } from '../postgres/read/row-form.ts';
import { MAX_EXAMPLES } from './source-report.ts';

/** An entry of which a copy was kept elsewhere: the ledger must still contain it. */
export interface ExpectedEntry extends LogKey {
  batch: bigint;
  digest: string;
}

export interface LedgerReport extends LogKey {
  entries: number;
  rows: number;
  counts: Record<Tampering, number>;
  examples: LedgerFinding[];
  /** The newest entry, to keep a copy of elsewhere. */
  head: ExpectedEntry | null;
}

export interface LedgerRequest {
  /** The logs of one organization, or one log of it. `undefined`: all logs in the database. */
  of?: { organization: string; log?: string } | undefined;
  /** Only rows of entries that overlap this half-open range are read. The chain is always checked completely. */
  from: bigint | undefined;
  to: bigint | undefined;
  expected: ExpectedEntry | undefined;
  signal: AbortSignal;
  onRows: (done: number, total: number) => void;
  /** Receives the events that an entry lists and that are not stored, also by a later entry. */
  onDeleted?: ((entry: LedgerEntry, eventIds: readonly string[]) => void) | undefined;
}

export async function verifyLedgers(pool: Pool, request: LedgerRequest): Promise<LedgerReport[]> {
  return withLedger(pool, async (ledger) => {
    const keys = await findLogs(ledger, request);
    const reports: LedgerReport[] = [];
    for (const key of keys) reports.push(await verifyLedger(ledger, key, request));
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
  const report: LedgerReport = { ...key, entries: 0, rows: 0, counts, examples: [], head: null };
  const expected = request.expected && isSameLog(request.expected, key) ? request.expected : undefined;
  const total = await ledger.countListed(key);
  let last: LedgerEntry | undefined;
  let isExpectedFound = expected === undefined;
  for (;;) {
    throwIfInterrupted(request.signal);
    const chunk = await ledger.readChunk(key, last?.batch ?? 0n, (entry) => isInRange(entry, request));
    if (!chunk) break;
    for (const entry of chunk.entries) {
      addFindings(report, checkChain(last, entry));
      if (entry.batch === expected?.batch) {
        isExpectedFound = true;
        if (entry.digest !== expected.digest) addFindings(report, [rewritten(entry)]);
      }
      if (isInRange(entry, request)) addFindings(report, await checkEntryRows(ledger, entry, chunk, request));
      report.entries += 1;
      report.rows += entry.rowsInserted;
      last = entry;
    }
    request.onRows(report.rows, total);
  }
  if (!isExpectedFound) addFindings(report, [truncated(expected!, last)]);
  const strays = await ledger.findStrays(key);
  addFindings(report, strays.findings);
  report.counts.inserted += strays.count - strays.findings.length;
  report.head = last ? { ...key, batch: last.batch, digest: last.digest } : null;
  return report;
}

async function checkEntryRows(
  ledger: LedgerReader,
  entry: LedgerEntry,
  chunk: LedgerChunk,
  { onDeleted }: Pick<LedgerRequest, 'onDeleted'>,
): Promise<LedgerFinding[]> {
  const rows = chunk.rows.get(entry.batch) ?? [];
  const { findings, absent } = checkRows(entry, rows, chunk.changes.get(entry.batch) ?? new Map(), ROW_FORM);
  if (absent.length === 0) return findings;
  const storedLater = await ledger.findStoredLater(entry, absent);
  onDeleted?.(
    entry,
    absent.filter((eventId) => !storedLater.has(eventId)),
  );
  const deleted = absent.map((eventId): LedgerFinding => {
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
  return [...findings, ...deleted];
}

function isInRange({ fromAt, toAt }: LedgerEntry, { from, to }: LedgerRequest): boolean {
  if (fromAt === null || toAt === null) return false;
  // All texts have the same format, so they sort by time.
  return (
    (from === undefined || toAt >= formatMicroseconds(from)) &&
    (to === undefined || fromAt <= formatMicroseconds(to))
  );
}

function rewritten(entry: LedgerEntry): LedgerFinding {
  const reason = `its digest is ${entry.digest}, not the expected one: the chain was rewritten`;
  return { kind: 'broken', batch: entry.batch, eventId: null, createdOn: null, reason };
}

function truncated({ batch }: ExpectedEntry, last: LedgerEntry | undefined): LedgerFinding {
  const end = last ? `the newest entry is ${last.batch}` : 'there is no entry';
  const reason = `it is expected and missing (${end}): the end of the chain was cut off`;
  return { kind: 'broken', batch, eventId: null, createdOn: null, reason };
}

function addFindings(report: LedgerReport, findings: readonly LedgerFinding[]): void {
  for (const finding of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MAX_EXAMPLES) report.examples.push(finding);
  }
}
