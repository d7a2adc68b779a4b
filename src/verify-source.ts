/** Comparing the table with the source, and repairing it: what `verify` does unless it is told to stay offline. */
import type { App } from './app.ts';
import type { CoveredRange } from './core/covered.ts';
import { type Batch, exportEvents, newCounters, type PageProgress } from './core/export.ts';
import { knownUntil } from './core/plan.ts';
import { createComparer, type Difference, type SourceFinding } from './core/verify.ts';
import { noteProof } from './postgres/coverage.ts';
import { readWatermark } from './postgres/plan.ts';
import { findNotKept } from './postgres/rejected.ts';
import type { PostgresSession } from './postgres/session.ts';
import { asStored, readStoredEvents } from './postgres/stored-events.ts';
import { type Run, withRun } from './run.ts';
import { endingStalls } from './stall.ts';

/** So many of each kind are named; all are counted. */
export const MOST_EXAMPLES = 10;

export interface VerifyRequest {
  /** A half-open range in ticks; a bound left out is none. */
  from: bigint | undefined;
  to: bigint | undefined;
  shouldRepair: boolean;
  signal: AbortSignal;
  onPage: (progress: PageProgress) => void;
}

export interface SourceReport {
  /** Events that the source showed, and stored rows that they were compared with. */
  events: number;
  stored: number;
  same: number;
  counts: Record<Difference, number>;
  /** Of the missing and changed ones, how many `--repair` stored or restored. */
  repaired: number;
  examples: Omit<SourceFinding, 'wanted'>[];
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
  const { organization } = app.config.source;
  const { pageSize, concurrency, stallTimeoutMs } = app.config.export;
  const watermark = await readWatermark(app.pool, organization);
  const newest = watermark && watermark.ticks + 1n;
  const until =
    newest !== undefined && (request.to === undefined || newest < request.to) ? newest : request.to;
  const report = newReport(repair?.session.runId ?? null);
  const counters = repair?.counters ?? newCounters();
  const checked = createCheck(app, {
    from: request.from,
    known: watermark && knownUntil(watermark),
    report,
    session: repair?.session,
  });
  await endingStalls({ stallTimeoutMs, signal: request.signal }, (signal, moved) =>
    exportEvents(app.source, checked, counters, {
      frontier: request.from,
      skip: 0,
      until,
      pageSize,
      concurrency,
      signal,
      ...repair?.watchers,
      onPage(progress) {
        moved();
        request.onPage(progress);
      },
    }),
  );
  await checked.finish(until);
  report.requests = counters.requests;
  const { proven } = checked;
  if (proven && proven.from < proven.to && countDifferences(report) === 0) {
    await noteProof(app.pool, organization, { ...proven, isToEnd: request.to === undefined });
  }
  return report;
}

/** A session that stores nothing, unless it repairs, and compares each batch with what is stored. */
function createCheck(
  app: App,
  {
    from,
    known,
    report,
    session,
  }: {
    from: bigint | undefined;
    known: bigint | undefined;
    report: SourceReport;
    session: PostgresSession | undefined;
  },
) {
  const { organization } = app.config.source;
  let reached = from;
  let proven: (CoveredRange & { readAt: Date }) | undefined;

  const compare = async (events: Batch['events'], to: bigint | undefined): Promise<SourceFinding[]> => {
    const comparer = createComparer(events, asStored);
    const findings: SourceFinding[] = [];
    for await (const rows of readStoredEvents(app.pool, organization, { from: reached, to })) {
      const found = comparer.compareStored(rows);
      report.stored += rows.length;
      report.same += rows.length - found.length;
      findings.push(...found.filter(({ wanted }) => wanted));
      note(report, found);
    }
    // Behind an event dated in the future there may be newer ones that no run has asked for yet.
    const missing = comparer
      .missing()
      .filter(({ createdOnTicks }) => known === undefined || createdOnTicks <= known);
    note(report, missing);
    return [...findings, ...missing];
  };

  return {
    known: undefined,
    get proven() {
      return proven;
    },
    async commit(batch: Batch) {
      const findings = await compare(batch.events, batch.frontier);
      const notKept = await findNotKept(app.pool, organization, batch.rejected);
      report.events += batch.events.length + batch.rejected.length;
      report.counts.missing += notKept.length;
      reached = batch.frontier;
      if (batch.covered) proven = { ...batch.covered, readAt: batch.beganAt };
      const stored = session ? await repairWith(session, findings, notKept) : { inserted: 0, updated: 0 };
      report.repaired += stored.inserted + stored.updated + (session ? notKept.length : 0);
      const unchanged = batch.events.length - stored.inserted - stored.updated;
      return { ...stored, unchanged, newlyRejected: session ? notKept : [], lateTicks: [] };
    },
    /** What is stored after the last event that the source shows. */
    async finish(to: bigint | undefined) {
      if (to === undefined || reached === undefined || reached < to) await compare([], to);
    },
  };
}

async function repairWith(
  session: PostgresSession,
  findings: readonly SourceFinding[],
  rejected: Batch['rejected'],
): Promise<{ inserted: number; updated: number }> {
  const wantedOf = (kind: Difference) =>
    findings.flatMap((finding) => (finding.kind === kind ? (finding.wanted ?? []) : []));
  const missing = wantedOf('missing');
  const changed = wantedOf('changed');
  if (missing.length + changed.length + rejected.length === 0) return { inserted: 0, updated: 0 };
  return session.restore({ missing, changed, rejected });
}

function newReport(runId: string | null): SourceReport {
  return {
    events: 0,
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
  for (const { wanted: _wanted, ...finding } of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MOST_EXAMPLES) report.examples.push(finding);
  }
}
