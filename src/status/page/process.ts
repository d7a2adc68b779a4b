import { count, describeDuration, formatNumber } from '../../text/format.ts';
import { versionText } from '../../version.ts';
import type { HealthState, OrganizationState } from '../health.ts';
import { type Html, html } from './html.ts';
import { renderFact, renderTime, renderWhen } from './parts.ts';

/** The worker process that serves the page: its runs of the shown organization, or of all. */
export function renderProcess(process: {
  health: HealthState;
  organization: string | undefined;
  nextRunAt: Date | undefined;
  droppedLogLines?: number | undefined;
  now: Date;
}): Html {
  const { health, organization, nextRunAt, droppedLogLines = 0, now } = process;
  const { startedAt, organizations } = health;
  const state =
    organizations.length === 1
      ? organizations[0]
      : organizations.find((one) => one.organization === organization);
  return html`<section aria-labelledby="process"><h2 id="process">This process</h2>
<dl class="facts">
${organization === undefined && renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet')}
${state ? renderState(state) : renderStates(organizations)}
${renderFact('Up', describeDuration(now.getTime() - startedAt.getTime()), html`since ${renderTime(startedAt)}`)}
${droppedLogLines > 0 && renderFact('Log', `${count(droppedLogLines, 'line')} dropped`, 'standard error was not writable')}
${renderFact('Version', versionText)}
</dl></section>`;
}

function renderState({ running, lastRun }: OrganizationState): Html {
  return html`${renderFact('Now', running ? `${running.kind} in progress` : 'waiting', running && html`since ${renderTime(running.startedAt)}`)}
${renderFact('Its last run', lastRun ? `${lastRun.kind} ${lastRun.outcome}` : 'none yet', lastRun && noteOn(lastRun))}`;
}

function renderStates(organizations: readonly OrganizationState[]): Html {
  const running = organizations.filter((one) => one.running).length;
  const failed = organizations.filter((one) => one.lastRun?.outcome === 'failed').length;
  return html`${renderFact('Now', running > 0 ? `${count(running, 'run')} in progress` : 'waiting')}
${renderFact('Its last runs', failed > 0 ? `${formatNumber(failed)} of ${count(organizations.length, 'organization')} failed` : 'none failed')}`;
}

function noteOn({ outcome, error }: NonNullable<OrganizationState['lastRun']>): string | null {
  return outcome === 'locked' ? 'another worker exports; this one is on standby' : error;
}
