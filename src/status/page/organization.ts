import type { Activity } from '../../postgres/read/activity.ts';
import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { describeDuration, formatNumber } from '../../text/format.ts';
import type { Verdict } from '../verdict.ts';
import { renderCompleteness, renderGone } from './completeness.ts';
import { renderDays } from './days.ts';
import { type Html, html } from './html.ts';
import { renderLateness } from './lateness.ts';
import { renderFact, renderTime, renderVerdict, renderWhen } from './parts.ts';
import { renderRuns } from './runs.ts';

interface OrganizationContent {
  name: string;
  status: OrganizationStatus;
  verdict: Verdict;
  /** `undefined` when it could not be read. */
  activity: Activity | undefined;
  nextRunAt: Date | undefined;
  now: Date;
}

/** The page of one log, the most important facts first. */
export function renderOrganization(content: OrganizationContent): Html {
  const { name, status, verdict, activity, now } = content;
  return html`<h1>${name}</h1>
${renderVerdict(verdict)}
${renderTiles(content)}
${activity ? renderDays(activity, status) : html`<p class="card lead">Events per day could not be read.</p>`}
<div class="pair">
${renderCompleteness(status, now)}
${activity && renderLateness(activity.lateness)}
</div>
${renderGone(status, now)}
${renderRuns(status, verdict.reasons, now)}`;
}

function renderTiles({ status, nextRunAt, now }: OrganizationContent): Html {
  const { newestEventAt, lagMs, lastSuccessAt } = status;
  return html`<dl class="tiles">
${renderFact('Lag', lagMs === null ? 'not known' : describeDuration(lagMs), newestEventAt ? html`newest event ${renderTime(newestEventAt)}` : 'no event yet')}
${renderFact('Last success', lastSuccessAt ? renderWhen(lastSuccessAt, now) : 'none yet', lastSuccessAt && renderTime(lastSuccessAt))}
${renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet', nextRunAt && renderTime(nextRunAt))}
${renderStored(status)}
</dl>`;
}

/** The source may have fewer: it deletes its oldest events. Its number is not evidence: completeness comes from a count. */
function renderStored({ stored, sourceTotal }: OrganizationStatus): Html {
  const note =
    sourceTotal === null
      ? 'the number at the source is not known'
      : `${formatNumber(sourceTotal)} at the source, by its last response`;
  return renderFact('Events stored', formatNumber(stored), note);
}
