/**
 * Decides whether the copy is complete and current: a headline with reasons, the same for the status page and `status`.
 *
 * A copy is complete when a run has read the source to its end, no gap is known and the source lists no more events than are
 * stored. It is current when the last finished run did not fail and the last success is not much older than the usual time
 * between two runs.
 */
import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/read/status.ts';
import { count, describeInstant, describeWhen } from '../text/format.ts';

export interface Verdict {
  /** `attention`: not urgent; `bad`: events are not arriving. */
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
  const verdict = assessRuns(status, { last, running, isOverdue }, now);
  const reasons = [...verdict.reasons, ...notesOn(status, now)];
  if (running) {
    const worker = running.worker === null ? '' : ` on ${running.worker}`;
    reasons.push(
      `A ${running.kind} is in progress${worker}, started ${describeWhen(running.startedAt, now)}.`,
    );
  }
  return { ...verdict, reasons };
}

/** Events at the source that no run has stored. During a run this only shows its progress. */
export function missingAtLeast({ sourceTotal, stored, rejected }: OrganizationStatus): number {
  return Math.max(0, (sourceTotal ?? 0) - stored - rejected);
}

function assessRuns(
  status: OrganizationStatus,
  { last, running, isOverdue }: Record<'last' | 'running', RunRecord | undefined> & { isOverdue: boolean },
  now: Date,
): Verdict {
  const { lastSuccessAt } = status;
  const failure = last && describeFailure(last, now);
  if (lastSuccessAt === null) {
    const headline = 'Not complete: no run has read the source to its end yet';
    if (failure) return { level: 'bad', headline, reasons: [failure] };
    return { level: running ? 'attention' : 'bad', headline, reasons: [] };
  }
  const since = `Last complete read: ${describeWhen(lastSuccessAt, now)}.`;
  if (failure) {
    return { level: 'bad', headline: 'Not current: the last run did not succeed', reasons: [failure, since] };
  }
  if (isOverdue) {
    const headline = `Not current: the last success was ${describeWhen(lastSuccessAt, now)}`;
    const reason =
      'Earlier runs were more frequent. Check that `node dist/main.js start`, or the scheduler that calls run, is running.';
    return { level: 'bad', headline, reasons: running ? [] : [reason] };
  }
  const isComplete = status.gapCount === 0 && (running !== undefined || missingAtLeast(status) === 0);
  if (isComplete) return { level: 'good', headline: 'Complete and current', reasons: [since] };
  return { level: 'attention', headline: 'Current, but not complete', reasons: [since] };
}

function describeFailure(run: RunRecord, now: Date): string | undefined {
  if (run.outcome !== 'failed' && run.outcome !== 'abandoned') return undefined;
  const when = describeWhen(run.endedAt ?? run.startedAt, now);
  return `Run ${run.runId} (${run.kind}) ${run.outcome} ${when}: ${run.error ?? 'no reason was recorded'}`;
}

function notesOn(status: OrganizationStatus, now: Date): string[] {
  const { gaps, gapCount, rejected, runs } = status;
  const notes: string[] = [];
  const newest = gaps[0];
  if (newest) {
    notes.push(
      `${count(gapCount, 'gap')}: the source may have deleted events before they were read, or no run requested them. The newest is between ` +
        `${describeInstant(newest.from)} and ${describeInstant(newest.to)}, detected ${describeWhen(newest.noticedAt, now)}.`,
    );
  }
  const missing = missingAtLeast(status);
  if (missing > 0 && runs[0]?.outcome === 'succeeded') {
    notes.push(
      `The source lists at least ${count(missing, 'event')} more than are stored. ` +
        '`node dist/main.js backfill` reads everything again and stores what is missing.',
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
