/**
 * Decides whether the copy is complete and current: a headline with reasons, the same for the status page and `status`.
 *
 * Whether it is complete is the state of the last count, read from audit.completeness and not derived here. It is current when
 * the last finished run did not fail and the last success is not much older than the usual time between two runs.
 */
import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/read/status.ts';
import { count, describeInstant, describeWhen } from '../text/format.ts';
import { causeOf } from './cause.ts';
import type { Retry } from './health.ts';
import { explainGone, explainState, kindOf } from './state.ts';
import { explainVerification, hasDifferences } from './verification.ts';

export interface Verdict {
  /** `good`: complete and current. `attention`: not urgent; `bad`: events are not arriving, or come from another source. */
  level: 'good' | 'attention' | 'bad';
  headline: string;
  /** What is wrong, in a few words, for a line of an overview. The headline where nothing is. */
  cause: string;
  reasons: string[];
  /** The failed run that the first reason describes; `summary` leaves out the text of its error. */
  failure?: { runId: string; summary: string };
  /** The alert whose heading in docs/operations.md says what to do. */
  topic?: string;
}

/** The next attempt of a worker after a failed run. `attempt` is `null` if only the schedule tries again. */
export interface NextAttempt {
  attempt: number | null;
  at: Date;
}

/** The retry, or the next scheduled run if that is earlier. */
export function nextAttemptOf(retry: Retry | null, nextRunAt: Date | undefined): NextAttempt | undefined {
  if (retry === null) return nextRunAt && { attempt: null, at: nextRunAt };
  const at = nextRunAt && nextRunAt < retry.at ? nextRunAt : retry.at;
  return { attempt: retry.attempt, at };
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
      cause: 'pending migrations',
      topic: 'UipathAuditExportMigrationsPending',
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
    cause: 'nothing has been exported yet',
    reasons: ['No run has started. `node dist/main.js run` exports once, `start` on a schedule.'],
  };
}

/**
 * `now` is the time of the report. `isScheduled`: the worker that serves the page is running and has a schedule. `next`: when it
 * tries again after a failure; while the last success is recent enough, the state is then "retrying", and not bad.
 */
export function assessOrganization(
  status: OrganizationStatus,
  now: Date,
  { isScheduled = false, next }: { isScheduled?: boolean; next?: NextAttempt | undefined } = {},
): Verdict {
  const running = status.runs.find((run) => run.outcome === null);
  const last = status.runs.find((run) => run.outcome !== null);
  const isPastTarget = isStale(status, now);
  const isOverdue = (!isScheduled || running !== undefined) && isPastTarget;
  const timeliness = assessRuns(status, { last, running, isOverdue, isPastTarget, next }, now);
  const reasons = [...timeliness.reasons, ...notesOn(status, now)];
  if (running) {
    const worker = running.worker === null ? '' : ` on ${running.worker}`;
    reasons.push(
      `A ${running.kind} is in progress${worker}, started ${describeWhen(running.startedAt, now)}.`,
    );
  }
  const { failure } = timeliness;
  return { ...assess(status, timeliness), reasons, ...(failure && { failure }) };
}

/** Whether events arrive. `problem` completes "Not current: …"; without it the copy is current. */
interface Timeliness {
  problem?: string;
  cause?: string;
  /** The last run failed, is tried again, and the last success is recent enough. */
  isRetrying?: boolean;
  /** The first run is in progress. */
  isFirst?: boolean;
  reasons: string[];
  failure?: Verdict['failure'];
}

interface RunsNow {
  last: RunRecord | undefined;
  running: RunRecord | undefined;
  isOverdue: boolean;
  isPastTarget: boolean;
  next: NextAttempt | undefined;
}

function assessRuns(
  { lastSuccessAt }: OrganizationStatus,
  { last, running, isOverdue, isPastTarget, next }: RunsNow,
  now: Date,
): Timeliness {
  const failed = last && describeFailure(last, now, next);
  if (lastSuccessAt === null) {
    const problem = 'no run has read the source to its end yet';
    if (!failed) return { problem, isFirst: running !== undefined, reasons: [] };
    return { ...failed, problem: next ? `${problem} (${failed.cause})` : problem };
  }
  // Without a worker that tries again, as in `status`, the error itself is the next line.
  if (failed && !next) return { ...failed, problem: 'the last run did not succeed' };
  if (failed) return { ...failed, problem: failed.cause, isRetrying: !isPastTarget };
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
  status: OrganizationStatus,
  { problem, cause = problem, isRetrying = false, isFirst = false, failure }: Timeliness,
): Pick<Verdict, 'level' | 'headline' | 'cause' | 'topic'> {
  const { completeness, lastSuccessAt } = status;
  const kind = kindOf(completeness);
  if (kind === 'source changed') {
    const more = problem === undefined ? ': it does not show what is stored' : `, not current: ${problem}`;
    const topic = TOPICS[kind];
    return { level: 'bad', headline: `Source changed${more}`, cause: 'the source changed', topic };
  }
  if (problem === undefined) return assessCompleteness(status);
  const topic = failure ? 'UipathAuditExportFailing' : 'UipathAuditExportStale';
  if (isRetrying) return { level: 'attention', headline: `Retrying: ${problem}`, cause: cause!, topic };
  const word = lastSuccessAt === null && kind === 'not proven' ? 'Not proven' : 'Not current';
  return { level: isFirst ? 'attention' : 'bad', headline: `${word}: ${problem}`, cause: cause!, topic };
}

const TOPICS: Record<ReturnType<typeof kindOf>, string> = {
  complete: 'UipathAuditExportEventsGone',
  'not proven': 'UipathAuditExportNotProven',
  'complete but for N': 'UipathAuditExportIncomplete',
  'source changed': 'UipathAuditExportSourceChanged',
  gap: 'UipathAuditExportGap',
};

/** Of a log whose runs succeed. */
function assessCompleteness({
  completeness,
  verification,
}: OrganizationStatus): Pick<Verdict, 'level' | 'headline' | 'cause' | 'topic'> {
  const { state, recentlyGone } = completeness;
  const kind = kindOf(completeness);
  if (hasDifferences(verification)) {
    const topic = 'UipathAuditExportDifferences';
    const cause = 'verify found differences';
    return { level: 'attention', headline: `Current, but ${cause}`, cause, topic };
  }
  const complete = 'Complete and current';
  if (kind === 'complete' && recentlyGone === 0)
    return { level: 'good', headline: complete, cause: complete };
  const gone = `${count(recentlyGone, 'event')} deleted at the source`;
  const [headline, cause] = {
    complete: [`${complete}: ${gone}`, gone],
    'not proven': ['Current, but not proven', 'not proven'],
    'complete but for N': [`Current, ${state}`, state],
    'source changed': ['Source changed', 'the source changed'],
    gap: ['Current, but with a gap', 'a gap'],
  }[kind] as [string, string];
  return { level: 'attention', headline, cause, topic: TOPICS[kind] };
}

/** `Retrying: attempt 2 in 28 s (2026-01-31 08:00:00 UTC)`, or when the schedule tries again. */
export function describeNextAttempt({ attempt, at }: NextAttempt, now: Date): string {
  const when = at <= now ? 'now' : `${describeWhen(at, now)} (${describeInstant(at)})`;
  return attempt === null ? `Retrying on the schedule, ${when}` : `Retrying: attempt ${attempt} ${when}`;
}

function describeFailure(
  run: RunRecord,
  now: Date,
  next: NextAttempt | undefined,
): { reasons: string[]; cause: string; failure: NonNullable<Verdict['failure']> } | undefined {
  if (run.outcome !== 'failed' && run.outcome !== 'abandoned') return undefined;
  const when = describeWhen(run.endedAt ?? run.startedAt, now);
  const error = run.error ?? 'no reason was recorded';
  const what = `Run ${run.runId} (${run.kind}) ${run.outcome} ${when}`;
  const retrying = next && describeNextAttempt(next, now);
  return {
    reasons: [`${what}: ${error}`, ...(retrying ? [`${retrying}.`] : [])],
    cause: run.error === null ? run.outcome : causeOf(run.error),
    failure: { runId: run.runId, summary: `${what}.` },
  };
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
