/** Comparing the table with its own ledger: finds what was edited, deleted or inserted by hand. Asks no source. */
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
import { MAX_EXAMPLES } from './verify-source.ts';

/** An entry that somebody noted elsewhere: the chain must still hold it. */
export interface NotedEntry extends LogKey {
  batch: bigint;
  digest: string;
}

export interface LedgerReport extends LogKey {
  entries: number;
  rows: number;
  counts: Record<Tampering, number>;
  examples: LedgerFinding[];
  /** The newest entry: to be noted elsewhere. */
  head: NotedEntry | null;
}

export interface LedgerRequest {
  /** Which logs: of one organization, or one log of it. None: all that the database holds. */
  of?: { organization: string; log?: string } | undefined;
  /** Rows of entries that have nothing in this half-open range are not read. The chain is always walked whole. */
  from: bigint | undefined;
  to: bigint | undefined;
  noted: NotedEntry | undefined;
  signal: AbortSignal;
  onRows: (done: number, total: number) => void;
}

export async function verifyLedgers(pool: Pool, request: LedgerRequest): Promise<LedgerReport[]> {
  return withLedger(pool, async (ledger) => {
    const keys = await findLogs(ledger, request);
    const reports: LedgerReport[] = [];
    for (const key of keys) reports.push(await verifyLedger(ledger, key, request));
    return reports;
  });
}

/** What needs a person: what was repaired since does not. */
export function countTamperings({ counts }: LedgerReport): number {
  return counts.edited + counts.deleted + counts.inserted + counts.broken;
}

async function findLogs(ledger: LedgerReader, { of, noted }: LedgerRequest): Promise<LogKey[]> {
  const keys = (await ledger.logs()).filter(
    ({ organization, log }) =>
      of === undefined || (organization === of.organization && (of.log === undefined || log === of.log)),
  );
  // Also where nothing is left of it.
  const asked =
    of && keys.length === 0 ? [{ organization: of.organization, log: of.log ?? CLASSIC_LOG }] : [];
  for (const { organization, log } of [...asked, ...(noted ? [noted] : [])])
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
  const noted = request.noted && isSameLog(request.noted, key) ? request.noted : undefined;
  const total = await ledger.countListed(key);
  let last: LedgerEntry | undefined;
  let wasNotedSeen = noted === undefined;
  for (;;) {
    throwIfInterrupted(request.signal);
    const chunk = await ledger.readChunk(key, last?.batch ?? 0n, (entry) => isInRange(entry, request));
    if (!chunk) break;
    for (const entry of chunk.entries) {
      note(report, checkChain(last, entry));
      if (entry.batch === noted?.batch) {
        wasNotedSeen = true;
        if (entry.digest !== noted.digest) note(report, [notTheNoted(entry)]);
      }
      if (isInRange(entry, request)) note(report, await judgeEntryRows(ledger, entry, chunk));
      report.entries += 1;
      report.rows += entry.rowsInserted;
      last = entry;
    }
    request.onRows(report.rows, total);
  }
  if (!wasNotedSeen) note(report, [endsBefore(noted!, last)]);
  const strays = await ledger.findStrays(key);
  note(report, strays.findings);
  report.counts.inserted += strays.count - strays.findings.length;
  report.head = last ? { ...key, batch: last.batch, digest: last.digest } : null;
  return report;
}

async function judgeEntryRows(
  ledger: LedgerReader,
  entry: LedgerEntry,
  chunk: LedgerChunk,
): Promise<LedgerFinding[]> {
  const rows = chunk.rows.get(entry.batch) ?? [];
  const { findings, absent } = checkRows(entry, rows, chunk.changes.get(entry.batch) ?? new Map(), ROW_FORM);
  if (absent.length === 0) return findings;
  const storedLater = await ledger.findStoredLater(entry, absent);
  const deleted = absent.map((eventId): LedgerFinding => {
    const isRepaired = storedLater.has(eventId);
    const reason = isRepaired
      ? 'had been deleted by hand before a later entry stored it again'
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
  // Written in one form, so that the order of the texts is that of the times.
  return (
    (from === undefined || toAt >= formatMicroseconds(from)) &&
    (to === undefined || fromAt <= formatMicroseconds(to))
  );
}

function notTheNoted(entry: LedgerEntry): LedgerFinding {
  const reason = `its digest is ${entry.digest}, not the one that was noted: the chain was rewritten`;
  return { kind: 'broken', batch: entry.batch, eventId: null, createdOn: null, reason };
}

function endsBefore({ batch }: NotedEntry, last: LedgerEntry | undefined): LedgerFinding {
  const end = last ? `the newest entry is ${last.batch}` : 'there is no entry';
  const reason = `it was noted, and is not there (${end}): the end of the chain was cut off`;
  return { kind: 'broken', batch, eventId: null, createdOn: null, reason };
}

function note(report: LedgerReport, findings: readonly LedgerFinding[]): void {
  for (const finding of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MAX_EXAMPLES) report.examples.push(finding);
  }
}
