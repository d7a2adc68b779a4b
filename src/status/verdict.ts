/**
 * Whether the copy is complete and current, as one sentence with its reasons: decided once, for the page and the command.
 *
 * A copy is complete when a run has read the source to its end, no gap is known and the source lists no more than is stored.
 * It is current when the last finished run did not fail and the last success is not far older than the runs' usual spacing.
 */
import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/read/status.ts';
import { count, describeInstant, describeWhen } from '../text/format.ts';

export interface Verdict {
  /** `attention`: a person should look when there is time; `bad`: events are not arriving. */
  level: 'good' | 'attention' | 'bad';
  headline: string;
  reasons: string[];
}

/** An older success than this, in the runs' usual spacing, means that runs are missing. */
const MISSED_RUNS = 3;
const MIN_STALE_MS = 3_600_000;
/** Where too few runs tell of a spacing: no sensible schedule is rarer. */
const UNKNOWN_STALE_MS = 25 * 3_600_000;

/** About the database as a whole; `undefined` when only the organizations have something to say. */
export function judgeDatabase({ migrations, organizations }: StatusReport): Verdict | undefined {
  const { applied, pending } = migrations;
  if (pending.length > 0) {
    return {
      level: 'bad',
      headline: applied.length === 0 ? 'The tables do not exist yet' : 'The tables are of an older version',
      reasons: [
        `${count(pending.length, 'migration')} pending: ${pending.join(', ')}. ` +
          '`node dist/main.js migrate` applies them, as start, run and backfill do by themselves.',
      ],
    };
  }
  if (organizations.length > 0) return undefined;
  return {
    level: 'attention',
    headline: 'Nothing is exported yet',
    reasons: ['No run has begun. `node dist/main.js run` exports once, start on a schedule.'],
  };
}

/** `now` by the clock that wrote the report. `isScheduled`: a worker is known to be up and to run when it is time. */
export function judgeOrganization(
  status: OrganizationStatus,
  now: Date,
  { isScheduled = false }: { isScheduled?: boolean } = {},
): Verdict {
  const running = status.runs.find((run) => run.outcome === null);
  const last = status.runs.find((run) => run.outcome !== null);
  const isOverdue = (!isScheduled || running !== undefined) && isStale(status, now);
  const verdict = judgeRuns(status, { last, running, isOverdue }, now);
  const reasons = [...verdict.reasons, ...notesOn(status, now)];
  if (running) {
    const worker = running.worker === null ? '' : ` on ${running.worker}`;
    reasons.push(`A ${running.kind} is under way${worker}, begun ${describeWhen(running.startedAt, now)}.`);
  }
  return { ...verdict, reasons };
}

/** Events at the source that no run has stored. While a run goes on this is no more than its progress. */
export function missingAtLeast({ sourceTotal, stored, rejected }: OrganizationStatus): number {
  return Math.max(0, (sourceTotal ?? 0) - stored - rejected);
}

function judgeRuns(
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
    const reason = 'Runs came more often before. Is `node dist/main.js start`, or what calls run, still up?';
    return { level: 'bad', headline, reasons: running ? [] : [reason] };
  }
  const isWhole = status.gapCount === 0 && (running !== undefined || missingAtLeast(status) === 0);
  if (isWhole) return { level: 'good', headline: 'Complete and current', reasons: [since] };
  return { level: 'attention', headline: 'Current, but not complete', reasons: [since] };
}

function describeFailure(run: RunRecord, now: Date): string | undefined {
  if (run.outcome !== 'failed' && run.outcome !== 'abandoned') return undefined;
  const when = describeWhen(run.endedAt ?? run.startedAt, now);
  return `Run ${run.runId} (${run.kind}) ${run.outcome} ${when}: ${run.error ?? 'no reason was noted'}`;
}

function notesOn(status: OrganizationStatus, now: Date): string[] {
  const { gaps, gapCount, rejected, runs } = status;
  const notes: string[] = [];
  const newest = gaps[0];
  if (newest) {
    notes.push(
      `${count(gapCount, 'gap')}: the source may have deleted events before they were read, or no run requested them. The newest lies between ` +
        `${describeInstant(newest.from)} and ${describeInstant(newest.to)}, noticed ${describeWhen(newest.noticedAt, now)}.`,
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
      `${count(rejected, 'row')} could not be read as events; audit.rejected_events keeps them verbatim.`,
    );
  }
  return notes;
}

function isStale({ lastSuccessAt, runs }: OrganizationStatus, now: Date): boolean {
  return lastSuccessAt !== null && now.getTime() - lastSuccessAt.getTime() > staleAfterMs(runs);
}

/** From the second longest time between two starts, since the schedule is not in the database: the longest may be an outage. */
function staleAfterMs(runs: readonly RunRecord[]): number {
  const spacings = runs
    .slice(1)
    .map((run, i) => runs[i]!.startedAt.getTime() - run.startedAt.getTime())
    .sort((a, b) => b - a);
  if (spacings.length < 3) return UNKNOWN_STALE_MS;
  return Math.max(MIN_STALE_MS, MISSED_RUNS * spacings[1]!);
}
