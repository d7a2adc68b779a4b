import type { HealthState } from './health.ts';
import { type Html, html } from './html.ts';
import { renderFact, renderTime, renderWhen } from './page-parts.ts';
import { describeDuration } from './words.ts';

type RunState = Pick<HealthState, 'running' | 'lastRun'>;

/** What this process does for an organization. */
function stateOf(health: HealthState, _organization: string | undefined): RunState {
  return health;
}

/** The worker that serves the page, as it was told; of no organization but the one shown. */
export function renderProcess(process: {
  health: HealthState;
  organization: string | undefined;
  nextRunAt: Date | undefined;
  now: Date;
}): Html {
  const { health, organization, nextRunAt, now } = process;
  const { startedAt } = health;
  const { running, lastRun } = stateOf(health, organization);
  return html`<section aria-labelledby="process"><h2 id="process">This process</h2>
<dl class="facts">
${organization === undefined && renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet')}
${renderFact('Now', running ? `${running.kind} under way` : 'waiting', running && html`since ${renderTime(running.startedAt)}`)}
${renderFact('Its last run', lastRun ? `${lastRun.kind} ${lastRun.outcome}` : 'none yet', lastRun && noteOn(lastRun))}
${renderFact('Up', describeDuration(now.getTime() - startedAt.getTime()), html`since ${renderTime(startedAt)}`)}
</dl></section>`;
}

function noteOn({ outcome, error }: NonNullable<RunState['lastRun']>): string | null {
  return outcome === 'locked' ? 'another worker exports; this one stands by' : error;
}
