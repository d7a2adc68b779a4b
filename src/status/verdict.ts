/**
 * Decides whether the copy is complete and current: a headline with reasons, the same for the status page and `status`.
 *
 * Whether it is complete is the state of the last count, read from audit.completeness and not derived here. It is current when
 * the last finished run did not fail and the last success is not much older than the usual time between two runs.
 */
import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/read/status.ts';
import { count, describeInstant, describeWhen } from '../text/format.ts';
import { explainGone, explainState, kindOf } from './state.ts';
import { explainVerification, hasDifferences } from './verification.ts';

export interface Verdict {
  /** `good`: complete and current. `attention`: not urgent; `bad`: events are not arriving, or come from another source. */
  level: 'good' | 'attention' | 'bad';
  headline: string;
  reasons: string[];
}

/** A last success older than this many times the usual spacing means that runs are missing. */
const MISSED_RUNS = 3;
const MIN_STALE_MS = 3_600_000;
/** With too few runs to know the spacing: longer than a daily schedule. */
const DEFAULT_STALE_MS = 25 * 3_600_000;

/** The verdict on the whole database; `undefined` when its migrations are applied and it has organizations. */
export function assessDatabase({ migrations, organizations }: StatusReport): Verdict | undefined {
  const { applied, pending } = migrations;
  if (pending.length > 0) {
    return {
      level: 'bad',
      headline: applied.length === 0 ? 'The tables do not exist yet' : 'The tables are from an older version',
      reasons: [
        `${count(pending.length, 'migration')} pending: ${pending.join(', ')}. ` +
          '`node dist/main.js migrate` applies them; start, run and backfill do so too.',
      ],
    };
  }
  if (organizations.length > 0) return undefined;
  return {
    level: 'attention',
    headline: 'Nothing has been exported yet',
    reasons: ['No run has started. `node dist/main.js run` exports once, `start` on a schedule.'],
  };
}

/** `now` is the time of the report. `isScheduled`: the worker that serves the page is running and has a schedule. */
export function assessOrganization(
  status: OrganizationStatus,
  now: Date,
  { isScheduled = false }: { isScheduled?: boolean } = {},
): Verdict {
  const running = status.runs.find((run) => run.outcome === null);
  const last = status.runs.find((run) => run.outcome !== null);
  const isOverdue = (!isScheduled || running !== undefined) && isStale(status, now);
  const timeliness = assessRuns(status, { last, running, isOverdue }, now);
  const reasons = [...timeliness.reasons, ...notesOn(status, now)];
  if (running) {
    const worker = running.worker === null ? '' : ` on ${running.worker}`;
    reasons.push(
      `A ${running.kind} is in progress${worker}, started ${describeWhen(running.startedAt, now)}.`,
    );
  }
  return { ...assess(status, timeliness), reasons };
}

/** Whether events arrive. `problem` completes "Not current: …"; without it the copy is current. */
interface Timeliness {
  problem?: string;
  /** The first run is in progress. */
  isFirst?: boolean;
  reasons: string[];
}

function assessRuns(
  { lastSuccessAt }: OrganizationStatus,
  { last, running, isOverdue }: Record<'last' | 'running', RunRecord | undefined> & { isOverdue: boolean },
  now: Date,
): Timeliness {
  const failure = last && describeFailure(last, now);
  if (lastSuccessAt === null) {
    const problem = 'no run has read the source to its end yet';
    return { problem, isFirst: running !== undefined && !failure, reasons: failure ? [failure] : [] };
  }
  if (failure) return { problem: 'the last run did not succeed', reasons: [failure] };
  if (isOverdue) {
    const reason =
      'Earlier runs were more frequent. Check that `node dist/main.js start`, or the scheduler that calls run, is running.';
    return {
      problem: `the last success was ${describeWhen(lastSuccessAt, now)}`,
      reasons: running ? [] : [reason],
    };
  }
  return { reasons: [] };
}

/** The part of a headline before the colon is enough for an overview. */
function assess(
  { completeness, lastSuccessAt, verification }: OrganizationStatus,
  { problem, isFirst = false }: Timeliness,
): Pick<Verdict, 'level' | 'headline'> {
  const { state, recentlyGone } = completeness;
  const kind = kindOf(completeness);
  if (kind === 'source changed') {
    const more = problem === undefined ? ': it does not show what is stored' : `, not current: ${problem}`;
    return { level: 'bad', headline: `Source changed${more}` };
  }
  if (problem !== undefined) {
    const word = lastSuccessAt === null && kind === 'not proven' ? 'Not proven' : 'Not current';
    return { level: isFirst ? 'attention' : 'bad', headline: `${word}: ${problem}` };
  }
  if (hasDifferences(verification))
    return { level: 'attention', headline: 'Current, but verify found differences' };
  if (kind === 'complete' && recentlyGone === 0) return { level: 'good', headline: 'Complete and current' };
  const headlines = {
    complete: `Complete and current: ${count(recentlyGone, 'event')} deleted at the source`,
    'not proven': 'Current, but not proven',
    'complete but for N': `Current, ${state}`,
    gap: 'Current, but with a gap',
  };
  return { level: 'attention', headline: headlines[kind] };
}

function describeFailure(run: RunRecord, now: Date): string | undefined {
  if (run.outcome !== 'failed' && run.outcome !== 'abandoned') return undefined;
  const when = describeWhen(run.endedAt ?? run.startedAt, now);
  return `Run ${run.runId} (${run.kind}) ${run.outcome} ${when}: ${run.error ?? 'no reason was recorded'}`;
}

function notesOn(status: OrganizationStatus, now: Date): string[] {
  const { gaps, gapCount, rejected, completeness, lastSuccessAt } = status;
  const notes: string[] = [];
  const differences = explainVerification(status, now);
  if (differences !== undefined) notes.push(differences);
  const gone = explainGone(status, now);
  if (gone !== undefined) notes.push(gone);
  // Before the first success the headline says it already.
  if (lastSuccessAt !== null || completeness.assessedAt !== null) notes.push(explainState(status, now));
  const newest = gaps[0];
  if (newest) {
    notes.push(
      `${count(gapCount, 'gap')}: the source may have deleted events before they were read, or no run requested them. The newest is between ` +
        `${describeInstant(newest.from)} and ${describeInstant(newest.to)}, detected ${describeWhen(newest.noticedAt, now)}. ` +
        '`node dist/main.js backfill --from FROM --to TO` reads what the source still has.',
    );
  }
  if (rejected > 0) {
    notes.push(
      `${count(rejected, 'row')} could not be read as events; audit.rejected_events stores them verbatim.`,
    );
  }
  return notes;
}

function isStale({ lastSuccessAt, runs }: OrganizationStatus, now: Date): boolean {
  return lastSuccessAt !== null && now.getTime() - lastSuccessAt.getTime() > staleAfterMs(runs);
}

/** From the second longest time between two starts: the schedule is not in the database, and the longest may be an outage. */
function staleAfterMs(runs: readonly RunRecord[]): number {
  const spacings = runs
    .slice(1)
    .map((run, i) => runs[i]!.startedAt.getTime() - run.startedAt.getTime())
    .sort((a, b) => b - a);
  if (spacings.length < 3) return DEFAULT_STALE_MS;
  return Math.max(MIN_STALE_MS, MISSED_RUNS * spacings[1]!);
}
