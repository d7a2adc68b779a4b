/** Comparing the table with the source, and repairing it: what `verify` does unless it is told to stay offline. */
import type { App } from '../app.ts';
import { createComparer, type Difference, type SourceFinding } from '../core/compare.ts';
import type { CoveredRange } from '../core/coverage.ts';
import { type Chunk, isEmptyChunk, type ReadProgress, throwIfInterrupted } from '../core/source.ts';
import { addCommitted, newCounters, type RunCounters } from '../core/store.ts';
import { ROW_FORM } from '../postgres/read/row-form.ts';
import { readExportedUntil } from '../postgres/read/start-point.ts';
import { readStoredEvents } from '../postgres/read/stored-events.ts';
import { noteProof, type ProvenRange } from '../postgres/write/coverage.ts';
import { findNotKept } from '../postgres/write/rejected.ts';
import { type Run, withRun } from './run.ts';
import { withStallTimeout } from './stall-timeout.ts';

/** So many of each kind are named; all are counted. */
export const MAX_EXAMPLES = 10;

export interface VerifyRequest {
  /** A half-open range in ticks; a bound left out is none. */
  from: bigint | undefined;
  to: bigint | undefined;
  shouldRepair: boolean;
  signal: AbortSignal;
  onProgress: (progress: ReadProgress) => void;
}

export interface SourceReport {
  /** Events that the source showed, rows of it that are none, and stored rows that the events were compared with. */
  events: number;
  rejected: number;
  stored: number;
  same: number;
  counts: Record<Difference, number>;
  /** Of the missing and changed ones, how many `--repair` stored or restored. */
  repaired: number;
  examples: Omit<SourceFinding, 'expected'>[];
  requests: number;
  /** The repairing run in audit.runs. */
  runId: string | null;
}

/**
 * Reads the source again by the frontier rule and compares what it shows with the table, up to the watermark: what is
 * newer was not exported yet. Where nothing is wrong, or any more, the range is noted in `audit.coverage`.
 */
export async function verifyAgainstSource(app: App, request: VerifyRequest): Promise<SourceReport> {
  if (!request.shouldRepair) return compareWithSource(app, request, undefined);
  let report: SourceReport | undefined;
  await withRun(app, 'verify', async (run) => {
    await run.session.describeRange(request);
    report = await compareWithSource(app, request, run);
  });
  return report!;
}

/** Whether anything needs a person: events that are gone at the source do not. */
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
  const proven = await withStallTimeout({ stallTimeoutMs, signal: request.signal }, (signal, moved) =>
    readAndCompare(app, { request, until, isExported, report, counters, repair, signal, moved }),
  );
  report.requests = counters.requests;
  if (known && proven && countDifferences(report) === 0) {
    const to = proven.to < known.certain ? proven.to : known.certain;
    await noteProven(app, { ...proven, to, isToEnd: request.to === undefined });
  }
  return report;
}

/** The result stands also where it cannot be noted: on a standby, or for a user that may only read. */
async function noteProven(app: App, range: ProvenRange): Promise<void> {
  try {
    await noteProof(app.pool, app.config.source, range);
  } catch (error) {
    app.log.warn(`not noted in audit.coverage: ${error instanceof Error ? error.message : error}`);
  }
}

interface Comparison {
  request: VerifyRequest;
  until: bigint | undefined;
  /** Behind an event dated in the future there may be newer ones that no run has requested yet. */
  isExported: (ticks: bigint) => boolean;
  report: SourceReport;
  counters: RunCounters;
  /** The run that stores what is missing or changed; none where nothing is to be stored. */
  repair: Run | undefined;
  signal: AbortSignal;
  moved: () => void;
}

/** Compares each chunk of the source with the rows stored in its span, and gives the range that was read in one piece. */
async function readAndCompare(
  app: App,
  comparison: Comparison,
): Promise<(CoveredRange & { readAt: Date }) | undefined> {
  const { request, until, report, counters, repair, signal, moved } = comparison;
  const { pageSize, concurrency } = app.config.export;
  const shouldMeasure = request.to !== undefined;
  const options = { until, shouldMeasure, pageSize, concurrency, signal, meter: counters };
  let reached = request.from;
  let readAt: Date | undefined;
  let proven: (CoveredRange & { readAt: Date }) | undefined;
  for await (const chunk of app.source.read({ frontier: request.from }, options)) {
    readAt ??= chunk.requestedAt;
    if (isEmptyChunk(chunk)) continue;
    const range = { from: reached, to: chunk.frontier };
    const findings = await compareEvents(app, chunk.events, range, comparison);
    const notKept = await findNotKept(app.pool, app.config.source, chunk.rejected);
    report.events += chunk.events.length;
    report.rejected += chunk.rejected.length;
    report.counts.missing += notKept.length;
    if (repair) report.repaired += await repairChunk(repair, chunk, { findings, notKept });
    reached = chunk.frontier;
    if (chunk.covered) proven = { ...chunk.covered, readAt };
    moved();
    request.onProgress(chunk.progress);
  }
  // What is stored after the last event that the source shows.
  if (until === undefined || reached === undefined || reached < until) {
    await compareEvents(app, [], { from: reached, to: until }, comparison);
  }
  return proven;
}

/** Gives what differs and has a counterpart at the source. */
async function compareEvents(
  app: App,
  events: Chunk['events'],
  range: { from: bigint | undefined; to: bigint | undefined },
  { isExported, report, signal, moved }: Comparison,
): Promise<SourceFinding[]> {
  const comparer = createComparer(events, ROW_FORM);
  const findings: SourceFinding[] = [];
  for await (const rows of readStoredEvents(app.pool, app.config.source, range)) {
    // There may be years of rows that the source has deleted between two events that it has.
    throwIfInterrupted(signal);
    moved();
    const found = comparer.compareStored(rows);
    report.stored += rows.length;
    report.same += rows.length - found.length;
    findings.push(...found.filter(({ expected }) => expected));
    note(report, found);
  }
  const missing = comparer.missing().filter(({ createdOnTicks }) => isExported(createdOnTicks));
  note(report, missing);
  return [...findings, ...missing];
}

/** Stores what the source has, and gives how many rows that changed. */
async function repairChunk(
  { session, counters, watchers }: Run,
  chunk: Chunk,
  { findings, notKept }: { findings: readonly SourceFinding[]; notKept: Chunk['rejected'] },
): Promise<number> {
  const events = findings.flatMap(({ expected }) => expected ?? []);
  const hasWork = events.length + notKept.length > 0;
  const stored = hasWork ? await session.restore({ events, rejected: notKept }) : { inserted: 0, updated: 0 };
  const unchanged = chunk.events.length - stored.inserted - stored.updated;
  Object.assign(counters, addCommitted(counters, chunk, { ...stored, unchanged, lateTicks: [] }));
  for (const rejected of notKept) watchers.onRejected(rejected);
  for (const warning of chunk.warnings) watchers.onWarning(warning);
  return stored.inserted + stored.updated + notKept.length;
}

function newReport(runId: string | null): SourceReport {
  return {
    events: 0,
    rejected: 0,
    stored: 0,
    same: 0,
    counts: { missing: 0, changed: 0, gone: 0 },
    repaired: 0,
    examples: [],
    requests: 0,
    runId,
  };
}

function note(report: SourceReport, findings: readonly SourceFinding[]): void {
  for (const { expected: _expected, ...finding } of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MAX_EXAMPLES) report.examples.push(finding);
  }
}
