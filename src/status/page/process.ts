import type { RunRecord } from '../../postgres/read/status.ts';
import { count, describeDuration, formatNumber } from '../../text/format.ts';
import type { HealthState, OrganizationState } from '../health.ts';
import { type Html, html } from './html.ts';
import { renderFact, renderTime, renderWhen } from './parts.ts';

/** The worker process that serves the page: its runs of the shown organization, or of all. */
export function renderProcess(process: {
  health: HealthState;
  organization: string | undefined;
  /** Of the shown organization. Their errors are in the table of runs. */
  runs: readonly RunRecord[];
  nextRunAt: Date | undefined;
  droppedLogLines?: number | undefined;
  now: Date;
}): Html {
  const { health, organization, runs, nextRunAt, droppedLogLines = 0, now } = process;
  const { startedAt, organizations } = health;
  const state =
    organizations.length === 1
      ? organizations[0]
      : organizations.find((one) => one.organization === organization);
  return html`<section aria-labelledby="process"><h2 id="process">This process</h2>
<dl class="facts">
${organization === undefined && renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet')}
${state ? renderState(state, runs) : renderStates(organizations)}
${renderFact('Up', describeDuration(now.getTime() - startedAt.getTime()), html`since ${renderTime(startedAt)}`)}
${droppedLogLines > 0 && renderFact('Log', `${count(droppedLogLines, 'line')} dropped`, 'standard error was not writable')}
</dl></section>`;
}

function renderState({ running, lastRun }: OrganizationState, runs: readonly RunRecord[]): Html {
  return html`${renderFact('Now', running ? `${running.kind} in progress` : 'waiting', running && html`since ${renderTime(running.startedAt)}`)}
${renderFact('Its last run', lastRun ? `${lastRun.kind} ${lastRun.outcome}` : 'none yet', lastRun && noteOn(lastRun, runs))}`;
}

function renderStates(organizations: readonly OrganizationState[]): Html {
  const running = organizations.filter((one) => one.running).length;
  const failed = organizations.filter((one) => one.lastRun?.outcome === 'failed').length;
  return html`${renderFact('Now', running > 0 ? `${count(running, 'run')} in progress` : 'waiting')}
${renderFact('Its last runs', failed > 0 ? `${formatNumber(failed)} of ${count(organizations.length, 'organization')} failed` : 'none failed')}`;
}

function noteOn(
  { outcome, error }: NonNullable<OrganizationState['lastRun']>,
  runs: readonly RunRecord[],
): string | null {
  if (outcome === 'locked') return 'another worker exports; this one is on standby';
  return runs.some((run) => run.error === error) ? null : error;
}
