/** Comparing the table with the source, and repairing it: what `verify` does unless it is told to stay offline. */
import type { App } from './app.ts';
import type { CoveredRange } from './core/covered.ts';
import {
  type Batch,
  exportEvents,
  newCounters,
  type PageProgress,
  throwIfInterrupted,
} from './core/export.ts';
import { createComparer, type Difference, type SourceFinding } from './core/verify.ts';
import { noteProof, type ProvenRange } from './postgres/coverage.ts';
import { readExportedUntil } from './postgres/plan.ts';
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
  /** Events that the source showed, rows of it that are none, and stored rows that the events were compared with. */
  events: number;
  rejected: number;
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
  const key = app.config.source;
  const { pageSize, concurrency, stallTimeoutMs } = app.config.export;
  const known = await readExportedUntil(app.pool, key);
  const until =
    known !== undefined && (request.to === undefined || known.ticks < request.to) ? known.ticks : request.to;
  const report = newReport(repair?.session.runId ?? null);
  const counters = repair?.counters ?? newCounters();
  const proven = await endingStalls({ stallTimeoutMs, signal: request.signal }, async (signal, moved) => {
    const check = createCheck(app, {
      ...{ from: request.from, isExported: (ticks) => known === undefined || ticks < known.certain },
      ...{ report, session: repair?.session, signal, moved },
    });
    await exportEvents(app.source, check, counters, {
      ...{ frontier: request.from, skip: 0, until, pageSize, concurrency, signal },
      ...repair?.watchers,
      onPage(progress) {
        moved();
        request.onPage(progress);
      },
    });
    await check.finish(until);
    return check.proven;
  });
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

/** A session that stores nothing, unless it repairs, and compares each batch with what is stored. */
function createCheck(
  app: App,
  {
    from,
    isExported,
    report,
    session,
    signal,
    moved,
  }: {
    from: bigint | undefined;
    /** Behind an event dated in the future there may be newer ones that no run has asked for yet. */
    isExported: (ticks: bigint) => boolean;
    report: SourceReport;
    session: PostgresSession | undefined;
    signal: AbortSignal;
    moved: () => void;
  },
) {
  const key = app.config.source;
  let reached = from;
  let proven: (CoveredRange & { readAt: Date }) | undefined;

  const compare = async (events: Batch['events'], to: bigint | undefined): Promise<SourceFinding[]> => {
    const comparer = createComparer(events, asStored);
    const findings: SourceFinding[] = [];
    for await (const rows of readStoredEvents(app.pool, key, { from: reached, to })) {
      // There may be years of rows that the source has deleted between two events that it has.
      throwIfInterrupted(signal);
      moved();
      const found = comparer.compareStored(rows);
      report.stored += rows.length;
      report.same += rows.length - found.length;
      findings.push(...found.filter(({ wanted }) => wanted));
      note(report, found);
    }
    const missing = comparer.missing().filter(({ createdOnTicks }) => isExported(createdOnTicks));
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
      const notKept = await findNotKept(app.pool, key, batch.rejected);
      report.events += batch.events.length;
      report.rejected += batch.rejected.length;
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
  const events = findings.flatMap(({ wanted }) => wanted ?? []);
  if (events.length + rejected.length === 0) return { inserted: 0, updated: 0 };
  return session.restore({ events, rejected });
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
  for (const { wanted: _wanted, ...finding } of findings) {
    report.counts[finding.kind] += 1;
    if (report.counts[finding.kind] <= MOST_EXAMPLES) report.examples.push(finding);
  }
}
