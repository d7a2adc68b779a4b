/** Compares the table with the source and repairs it, for `verify` without `--offline`. */
import type { App } from '../app.ts';
import { createComparer, type Difference, type SourceFinding } from '../core/compare.ts';
import type { CoveredRange } from '../core/coverage.ts';
import type { Superseded } from '../core/judge.ts';
import {
  type Chunk,
  isEmptyChunk,
  type ReadProgress,
  takenFrom,
  throwIfInterrupted,
} from '../core/source.ts';
import { addCommitted, newCounters, type RunCounters } from '../core/store.ts';
import { ROW_FORM } from '../postgres/read/row-form.ts';
import { readExportedUntil } from '../postgres/read/start-point.ts';
import { readStoredEvents } from '../postgres/read/stored-events.ts';
import { type ReadRange, recordVerified } from '../postgres/write/coverage.ts';
import { findMissingRejected } from '../postgres/write/rejected.ts';
import { type Run, withRun } from './run.ts';
import { assertSameSource } from './source-identity.ts';
import { withStallTimeout } from './stall-timeout.ts';

/** At most this many findings of each kind are listed; all are counted. */
export const MAX_EXAMPLES = 10;

export interface VerifyRequest {
  /** A half-open range in ticks; `undefined` is unbounded. */
  from: bigint | undefined;
  to: bigint | undefined;
  shouldRepair: boolean;
  signal: AbortSignal;
  onProgress: (progress: ReadProgress) => void;
}

export interface SourceReport {
  /** Numbers of events at the source, of rows at the source that are not events, and of stored rows compared with them. */
  events: number;
  rejected: number;
  stored: number;
  same: number;
  /** Stored rows that another form of the event has replaced. They are not among `stored`. */
  superseded: number;
  /** Stored events of which the source shows another form: a run that reads them supersedes the rows. No differences. */
  rerendered: number;
  counts: Record<Exclude<Difference, 'rerendered'>, number>;
  /** How many of the missing and changed ones `--repair` stored or restored. */
  repaired: number;
  examples: Omit<SourceFinding, 'expected' | 'isStored'>[];
  requests: number;
  /** The repairing run in audit.runs. */
  runId: string | null;
}

/**
 * Reads the source again by the frontier rule and compares it with the table, up to the watermark: newer events are not
 * exported yet. If there are no differences, or all are repaired, records the range in `audit.coverage`.
 */
export async function verifyAgainstSource(app: App, request: VerifyRequest): Promise<SourceReport> {
  await assertSameSource(app, request.signal);
  if (!request.shouldRepair) return compareWithSource(app, request, undefined);
  let report: SourceReport | undefined;
  await withRun(app, 'verify', async (run) => {
    await run.session.describeRange(request);
    report = await compareWithSource(app, request, run);
  });
  return report!;
}

/** Counts the differences that need attention: those not repaired. Events that are gone at the source do not count. */
export function countDifferences({ counts, repaired }: SourceReport): number {
  return counts.missing + counts.changed - repaired;
}

async function compareWithSource(
  app: App,
  request: VerifyRequest,
  repair: Run | undefined,
): Promise<SourceReport> {
  const key = app.config.source;
  const { stallTimeoutMs } = app.config.export;
  const known = await readExportedUntil(app.pool, key);
  const until =
    known !== undefined && (request.to === undefined || known.ticks < request.to) ? known.ticks : request.to;
  const report = newReport(repair?.session.runId ?? null);
  const counters = repair?.counters ?? newCounters();
  const isExported = (ticks: bigint) => known === undefined || ticks < known.certain;
  const proven = await withStallTimeout({ stallTimeoutMs, signal: request.signal }, (signal, onProgress) =>
    readAndCompare(app, { request, until, isExported, report, counters, repair, signal, onProgress }),
  );
  report.requests = counters.requests;
  if (known && proven && countDifferences(report) === 0) {
    const to = proven.to < known.certain ? proven.to : known.certain;
    const { readAt: verifiedAt, ...range } = proven;
    await recordRange(app, { ...range, to, isToEnd: request.to === undefined, verifiedAt });
  }
  return report;
}

/** A failure only logs a warning: the result is valid even if it cannot be recorded, on a standby or for a read-only user. */
async function recordRange(app: App, range: ReadRange): Promise<void> {
  try {
    await recordVerified(app.pool, app.config.source, range);
  } catch (error) {
    app.log.warn(`not recorded in audit.coverage: ${error instanceof Error ? error.message : error}`);
  }
}

interface Comparison {
  request: VerifyRequest;
  until: bigint | undefined;
  /** False for events that no run has requested yet: they may follow an event dated in the future. */
  isExported: (ticks: bigint) => boolean;
  report: SourceReport;
  counters: RunCounters;
  /** The run that stores missing and changed events; `undefined` without `--repair`. */
  repair: Run | undefined;
  signal: AbortSignal;
  onProgress: () => void;
}

/** Compares each chunk of the source with the rows stored in its span. Returns the range that was read without a gap. */
async function readAndCompare(
  app: App,
  comparison: Comparison,
): Promise<(CoveredRange & { readAt: Date }) | undefined> {
  const { request, until, report, counters, repair, signal, onProgress } = comparison;
  const { pageSize, concurrency } = app.config.export;
  const shouldMeasure = request.to !== undefined;
  const options = { until, shouldMeasure, pageSize, concurrency, signal, meter: counters };
  let reached = request.from;
  let readAt: Date | undefined;
  let proven: (CoveredRange & { readAt: Date }) | undefined;
  for await (const chunk of app.source.read({ frontier: request.from, from: request.from }, options)) {
    readAt ??= chunk.requestedAt;
    if (isEmptyChunk(chunk)) continue;
    const range = { from: reached, to: chunk.frontier };
    const taken = takenFrom(chunk, reached);
    const findings = await compareEvents(app, taken.events, range, comparison);
    const missingRejected = await findMissingRejected(app.pool, app.config.source, taken.rejected);
    report.events += taken.events.length;
    report.rejected += taken.rejected.length;
    report.counts.missing += missingRejected.length;
    if (repair) report.repaired += await repairChunk(repair, taken, { findings, missingRejected });
    reached = chunk.frontier;
    if (chunk.covered) proven = { ...chunk.covered, readAt };
    onProgress();
    request.onProgress(chunk.progress);
  }
  // Rows stored after the last event of the source.
  if (until === undefined || reached === undefined || reached < until) {
    await compareEvents(app, [], { from: reached, to: until }, comparison);
  }
  return proven;
}

/** Returns the differences for which the source has an event. */
async function compareEvents(
  app: App,
  events: Chunk['events'],
  range: { from: bigint | undefined; to: bigint | undefined },
  { isExported, report, signal, onProgress }: Comparison,
): Promise<SourceFinding[]> {
  const comparer = createComparer(events, ROW_FORM);
  const findings: SourceFinding[] = [];
  for await (const rows of readStoredEvents(app.pool, app.config.source, range)) {
    // Between two events of the source there may be years of rows that it has deleted.
    throwIfInterrupted(signal);
    onProgress();
    const found = comparer.compareStored(rows);
    const superseded = rows.filter(({ supersededBy }) => supersededBy !== undefined).length;
    report.superseded += superseded;
    report.stored += rows.length - superseded;
    report.same += rows.length - superseded - found.length;
    addFindings(report, found);
  }
  const found = comparer.compareShown();
  report.same -= found.length;
  findings.push(...found.filter(({ expected }) => expected));
  addFindings(report, found);
  const missing = comparer.missing().filter(({ createdOnTicks }) => isExported(createdOnTicks));
  addFindings(report, missing);
  return [...findings, ...missing];
}

/** Stores the missing and changed events of a chunk. Returns how many rows that changed. */
async function repairChunk(
  { session, counters, watchers }: Run,
  chunk: ReturnType<typeof takenFrom>,
  { findings, missingRejected }: { findings: readonly SourceFinding[]; missingRejected: Chunk['rejected'] },
): Promise<number> {
  const events = findings.flatMap(({ expected, isStored }) => (expected && !isStored ? expected : []));
  const superseded = findings.flatMap(supersededBy);
  const hasWork = events.length + superseded.length + missingRejected.length > 0;
  const stored = hasWork
    ? await session.restore({ events, superseded, rejected: missingRejected })
    : { inserted: 0, updated: 0 };
  const unchanged = chunk.events.length - stored.inserted - stored.updated;
  const rerendered = findings.filter(({ kind }) => kind === 'rerendered');
  const result = { ...stored, unchanged, superseded: rerendered.length, lateTicks: [] };
  Object.assign(counters, addCommitted(counters, chunk, result));
  for (const rejected of missingRejected) watchers.onRejected(rejected);
  for (const warning of chunk.warnings) watchers.onWarning(warning);
  const replacing = rerendered.filter(({ isStored }) => !isStored).length;
  return stored.inserted + stored.updated - replacing + missingRejected.length;
}

/** The rows to mark as superseded, or as current again, for a difference. */
function supersededBy({
  kind,
  eventId,
  createdOnTicks: ticks,
  expected,
  isStored,
  fields,
}: SourceFinding): Superseded[] {
  if (kind === 'rerendered') {
    const row = { eventId, ticks };
    const by = expected!.eventId;
    return isStored
      ? [
          { row, by },
          { row: { eventId: by, ticks }, by: undefined },
        ]
      : [{ row, by }];
  }
  const isHidden = fields.includes(ROW_FORM.columns.supersededBy);
  return isHidden ? [{ row: { eventId, ticks }, by: undefined }] : [];
}

function newReport(runId: string | null): SourceReport {
  return {
    events: 0,
    rejected: 0,
    stored: 0,
    same: 0,
    superseded: 0,
    rerendered: 0,
    counts: { missing: 0, changed: 0, gone: 0 },
    repaired: 0,
    examples: [],
    requests: 0,
    runId,
  };
}

function addFindings(report: SourceReport, findings: readonly SourceFinding[]): void {
  for (const { expected: _expected, isStored: _isStored, ...finding } of findings) {
    if (finding.kind === 'rerendered') {
      report.rerendered += 1;
      continue;
    }
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MAX_EXAMPLES) report.examples.push(finding);
  }
}
