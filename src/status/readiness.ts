/**
 * Decides whether a process is ready: whether it does its work, for load balancers, rolling updates and the healthcheck of the
 * container. A process that is not ready is not restarted for that: most causes are outside of it.
 *
 * - The database responds, and its tables are those of this version.
 * - At least one organization is in order: its last run in this process did not fail. A standby is in order: another process
 *   holds the lease. So is a run that was interrupted for another organization: it has stored events.
 * - Before the end of its first run, an organization is in order until that run is overdue: until a request of it failed, or until
 *   15 s have passed since it was requested, and no page was read. A first load that reads pages may take hours.
 * - The process was not asked to stop.
 */
import { count } from '../text/format.ts';
import type { HealthState, OrganizationState } from './health.ts';

/** How long a process is ready before its first response from the source. */
const FIRST_PAGE_MS = 15_000;

export interface Readiness {
  isReady: boolean;
  /** Why the process is not ready, one sentence each; empty when it is. */
  reasons: string[];
  /** What is wrong with some organizations of a process that is ready. */
  failing: string[];
}

export function assessReadiness(state: HealthState, now: Date): Readiness {
  const { stoppingSince, database, organizations } = state;
  const problems = organizations.flatMap((one) => {
    const problem = problemOf(one, now);
    if (problem === undefined) return [];
    return [organizations.length === 1 ? problem : `${one.organization}: ${problem}`];
  });
  const areAllFailing = problems.length === organizations.length;
  const reasons = [
    ...(stoppingSince === null ? [] : ['the process is stopping']),
    ...(database.isReady ? [] : [`database: ${database.reason}`]),
    ...(areAllFailing ? problems : []),
  ];
  const isReady = reasons.length === 0;
  return { isReady, reasons, failing: isReady ? problems : [] };
}

function problemOf({ requestedAt, running, lastRun }: OrganizationState, now: Date): string | undefined {
  if (lastRun) return lastRun.outcome === 'failed' ? `last ${lastRun.kind}: ${lastRun.error}` : undefined;
  if (requestedAt === null || (running && running.pages > 0)) return undefined;
  const failures = Object.entries(running?.retriesBy ?? {});
  if (failures.length > 0) {
    const total = failures.reduce((sum, [, times]) => sum + times, 0);
    const reasons = failures.map(([reason]) => reason).join(', ');
    return `first run: no usable response yet after ${count(total, 'attempt')} (${reasons})`;
  }
  if (now.getTime() - requestedAt.getTime() <= FIRST_PAGE_MS) return undefined;
  return running
    ? `first run: no page was read within ${FIRST_PAGE_MS / 1000} s`
    : `first run: it has waited for a slot for more than ${FIRST_PAGE_MS / 1000} s`;
}
