/**
 * Compares the table with the source and repairs it, for `verify` without `--offline`.
 *
 * An event that the source shows and the table lacks is
 * - deleted by hand, if an entry of the ledger lists it: a run has stored it;
 * - not due yet, if no entry lists it and the last run proved the history: the source did not show it then, however old its date is;
 * - never stored otherwise.
 * A stored event with the id of an event of the source, but in no entry, was inserted by hand; it is not repaired.
 */
import type { App } from '../app.ts';
import { createComparer, type SourceFinding } from '../core/compare.ts';
import type { CoveredRange } from '../core/coverage.ts';
import { createMissingSpans, type Span, spanOf } from '../core/missing-spans.ts';
import {
  type Chunk,
  isEmptyChunk,
  type ReadProgress,
  takenFrom,
  throwIfInterrupted,
} from '../core/source.ts';
import { newCounters, type RunCounters } from '../core/store.ts';
import { createWorkQueue } from '../core/work-queue.ts';
import { isStoredExactly } from '../postgres/read/exact-span.ts';
import { findCountedRejected, findListed, readLastProof } from '../postgres/read/proof.ts';
import { ROW_FORM } from '../postgres/read/row-form.ts';
import { readExportedUntil } from '../postgres/read/start-point.ts';
import { readStoredEvents } from '../postgres/read/stored-events.ts';
import type { VerifiedRange } from '../postgres/write/coverage.ts';
import { findMissingRejected, hashOfRejected } from '../postgres/write/rejected.ts';
import { repairChunk } from './repair.ts';
import { type Run, withRun } from './run.ts';
import { assertSameSource } from './source-identity.ts';
import { addFinding, addNotDue, newReport, type SourceReport } from './source-report.ts';
import { withStallTimeout } from './stall-timeout.ts';

/** At most this many ids of deleted events are kept, to find those that only the ledger lists. */
const MAX_DELETED = 10_000;

export interface VerifyRequest {
  /** A half-open range in ticks; `undefined` is unbounded. */
  from: bigint | undefined;
  to: bigint | undefined;
  shouldRepair: boolean;
  signal: AbortSignal;
  onProgress: (progress: ReadProgress) => void;
}

/** What follows from the comparison for what is known about the log. Nothing of it is stored yet. */
export interface SourceEvidence {
  /** The range that was read without a gap and was exported; `undefined` if nothing was. */
  read: VerifiedRange | undefined;
  /** Where events are missing and were not repaired. */
  missing: readonly Span[];
  /** Ids of missing events that the ledger lists, at most MAX_DELETED. */
  deletedIds: ReadonlySet<string>;
}

/** Reads the source again by the frontier rule and compares it with the table. Stores nothing without `shouldRepair`. */
export async function verifyAgainstSource(
  app: App,
  request: VerifyRequest,
): Promise<{ report: SourceReport; evidence: SourceEvidence }> {
  await assertSameSource(app, request.signal);
  if (!request.shouldRepair) return compareWithSource(app, request, undefined);
  let result: Awaited<ReturnType<typeof compareWithSource>> | undefined;
  await withRun(app, 'verify', async (run) => {
    await run.session.describeRange(request);
    result = await compareWithSource(app, request, run);
  });
  return result!;
}

async function compareWithSource(
  app: App,
  request: VerifyRequest,
  repair: Run | undefined,
): Promise<{ report: SourceReport; evidence: SourceEvidence }> {
  const key = app.config.source;
  const { stallTimeoutMs } = app.config.export;
  // Both before the first request: what a run stores meanwhile must not be expected at the source.
  const known = await readExportedUntil(app.pool, key);
  const proof = await readLastProof(app.pool, key);
  const report = newReport(repair?.session.runId ?? null, proof);
  const counters = repair?.counters ?? newCounters();
  const missing = createMissingSpans();
  const evidence = { missing, deletedIds: new Set<string>(), oldestNotDue: undefined };
  const stall = { stallTimeoutMs, signal: request.signal };
  const own = {
    request,
    known: known?.ticks,
    report,
    counters,
    repair,
    isProven: proof !== undefined,
    evidence,
  };
  const read = await withStallTimeout(stall, (signal, onProgress) =>
    readAndCompare(app, { ...own, signal, onProgress }),
  );
  report.requests = counters.requests;
  const { deletedIds, oldestNotDue } = own.evidence;
  const range = known && read && exportedPart(read, { certain: known.certain, oldestNotDue, to: request.to });
  return { report, evidence: { read: range, missing: missing.read(), deletedIds } };
}

/** The part of a read range that runs have requested, up to the first event that is not stored yet. */
function exportedPart(
  range: CoveredRange,
  {
    certain,
    oldestNotDue,
    to,
  }: { certain: bigint; oldestNotDue: bigint | undefined; to: bigint | undefined },
): VerifiedRange {
  const end = range.to < certain ? range.to : certain;
  const isWhole = oldestNotDue === undefined || oldestNotDue >= end;
  return { ...range, to: isWhole ? end : oldestNotDue, isToEnd: to === undefined && isWhole };
}

interface Comparison {
  request: VerifyRequest;
  /** The end of what was stored at the start. Rows that runs store after it may not be in a response. */
  known: bigint | undefined;
  report: SourceReport;
  counters: RunCounters;
  /** The run that stores missing and changed events; `undefined` without `--repair`. */
  repair: Run | undefined;
  /** The last run proved the history. */
  isProven: boolean;
  evidence: {
    missing: ReturnType<typeof createMissingSpans>;
    deletedIds: Set<string>;
    oldestNotDue: bigint | undefined;
  };
  signal: AbortSignal;
  onProgress: () => void;
}

/**
 * Compares each chunk of the source with the rows stored in its span, while the next one is fetched. Returns the range that was read
 * without a gap.
 */
async function readAndCompare(app: App, comparison: Comparison): Promise<CoveredRange | undefined> {
  const { request, known, counters } = comparison;
  const { pageSize, concurrency } = app.config.export;
  const stop = new AbortController();
  const signal = AbortSignal.any([comparison.signal, stop.signal]);
  const shouldMeasure = request.to !== undefined;
  const options = { until: request.to, shouldMeasure, pageSize, concurrency, signal, meter: counters };
  let reached = request.from;
  let read: CoveredRange | undefined;
  const comparisons = createWorkQueue<Chunk>({
    async work(chunk) {
      await compareChunk(app, { chunk, from: reached }, comparison);
      reached = chunk.frontier;
      if (chunk.covered) read = chunk.covered;
    },
    merge: () => undefined,
    throwIfStopped: () => throwIfInterrupted(signal),
    onFailure: () => stop.abort(),
  });
  try {
    for await (const chunk of app.source.read({ frontier: request.from, from: request.from }, options)) {
      if (!isEmptyChunk(chunk)) await comparisons.add(chunk);
    }
  } finally {
    // A failed comparison stops the read. Its error is the cause, so it replaces the error of the read.
    await comparisons.settled();
  }
  // Rows stored after the last event of the source.
  const until = request.to === undefined || (known !== undefined && known < request.to) ? known : request.to;
  if (until === undefined || reached === undefined || reached < until) {
    await compareEvents(app, [], { from: reached, to: until }, comparison);
  }
  return read;
}

async function compareChunk(
  app: App,
  { chunk, from }: { chunk: Chunk; from: bigint | undefined },
  comparison: Comparison,
): Promise<void> {
  const { request, report, repair, onProgress } = comparison;
  const taken = takenFrom(chunk, from);
  const range = { from, to: chunk.frontier };
  const { repairable: findings, notDue } = await compareEvents(app, taken.events, range, comparison);
  const rejected = await compareRejected(app, taken.rejected, comparison);
  report.events += taken.events.length;
  report.rejected += taken.rejected.length;
  if (repair) report.repaired += await repairChunk(repair, taken, { findings, rejected, notDue });
  else noteMissing(taken, { findings, rejected }, comparison);
  onProgress();
  request.onProgress(chunk.progress);
}

/**
 * Returns the differences that a repair puts right: missing events that were due, and changed ones that a run has stored. And how many
 * events are not due.
 */
async function compareEvents(
  app: App,
  events: Chunk['events'],
  range: { from: bigint | undefined; to: bigint | undefined },
  { report, isProven, evidence, signal, onProgress }: Comparison,
): Promise<{ repairable: SourceFinding[]; notDue: number }> {
  if (await isStoredExactly(app.pool, app.config.source, { events, range })) {
    report.stored += events.length;
    report.same += events.length;
    return { repairable: [], notDue: 0 };
  }
  const comparer = createComparer(events, ROW_FORM);
  for await (const rows of readStoredEvents(app.pool, app.config.source, range)) {
    // Between two events of the source there may be years of rows that it has deleted.
    throwIfInterrupted(signal);
    onProgress();
    const found = comparer.compareStored(rows);
    const superseded = rows.filter(({ supersededBy }) => supersededBy !== undefined).length;
    report.superseded += superseded;
    report.stored += rows.length - superseded;
    report.same += rows.length - superseded - found.length;
    for (const finding of found) addFinding(report, finding, null);
  }
  const shown = comparer.compareShown();
  report.same -= shown.length;
  const stored = shown.filter(({ kind, expected }) => expected && kind !== 'rerendered');
  for (const finding of shown.filter((one) => !stored.includes(one))) addFinding(report, finding, null);
  const unstored = comparer.missing();
  const listed = await findListed(app.pool, app.config.source, [...stored, ...unstored]);
  const repairable = shown.filter(({ kind }) => kind === 'rerendered');
  let notDue = 0;
  for (const finding of stored) {
    const isListed = listed.has(finding.eventId);
    if (isListed) repairable.push(finding);
    else report.insertedByHand += 1;
    addFinding(report, finding, isListed ? null : 'inserted by hand');
  }
  for (const finding of unstored) {
    const isListed = listed.has(finding.eventId);
    if (!isListed && isProven) {
      addNotDue(report, finding);
      notDue += 1;
      evidence.oldestNotDue ??= finding.createdOnTicks;
      continue;
    }
    if (isListed) report.deletedByHand += 1;
    if (isListed && evidence.deletedIds.size < MAX_DELETED) evidence.deletedIds.add(finding.eventId);
    addFinding(report, finding, isListed ? 'deleted by hand' : 'never stored');
    repairable.push(finding);
  }
  return { repairable, notDue };
}

/** Returns the rejected rows that are missing, and were due. */
async function compareRejected(
  app: App,
  rejected: Chunk['rejected'],
  { report, isProven }: Comparison,
): Promise<Chunk['rejected']> {
  const missing = await findMissingRejected(app.pool, app.config.source, rejected);
  const counted = await findCountedRejected(app.pool, app.config.source, missing.map(hashOfRejected));
  const due = missing.filter((row) => !isProven || counted.has(hashOfRejected(row).toString('hex')));
  report.counts.missing += due.length;
  report.deletedByHand += due.filter((row) => counted.has(hashOfRejected(row).toString('hex'))).length;
  report.notDue += missing.length - due.length;
  return due;
}

/** Notes where events are missing: the copy is not complete there. */
function noteMissing(
  { events }: ReturnType<typeof takenFrom>,
  { findings, rejected }: { findings: readonly SourceFinding[]; rejected: Chunk['rejected'] },
  { evidence }: Comparison,
): void {
  const missing = new Set(findings.filter(({ kind }) => kind === 'missing').map(({ eventId }) => eventId));
  for (const { event, eventId } of events) evidence.missing.add(event.createdOnTicks, missing.has(eventId));
  for (const { place } of rejected) if (place !== undefined) evidence.missing.addSpan(spanOf(place));
}
