import type { Activity } from '../../postgres/read/activity.ts';
import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { formatNumber } from '../../text/format.ts';
import { describeNextAttempt, type NextAttempt, type Verdict } from '../verdict.ts';
import { renderCompleteness, renderGone } from './completeness.ts';
import { renderDays } from './days.ts';
import { type Html, html } from './html.ts';
import { renderLateness } from './lateness.ts';
import { renderFact, renderLag, renderTime, renderVerdict, renderWhen } from './parts.ts';
import { renderRuns } from './runs.ts';

interface OrganizationContent {
  name: string;
  status: OrganizationStatus;
  verdict: Verdict;
  /** `undefined` when it could not be read. */
  activity: Activity | undefined;
  /** The newest head of the ledger, as text to keep elsewhere; `undefined` when there is none or it could not be read. */
  head: string | undefined;
  nextRunAt: Date | undefined;
  next: NextAttempt | undefined;
  runbookUrl: string | undefined;
  now: Date;
}

/** The page of one log, the most important facts first. */
export function renderOrganization(content: OrganizationContent): Html {
  const { name, status, verdict, activity, head, next, runbookUrl, now } = content;
  const retrying = verdict.failure &&
    next && { level: verdict.level, text: `${describeNextAttempt(next, now)}.` };
  return html`<h1>${name}</h1>
${renderVerdict(verdict, runbookUrl)}
${renderTiles(content)}
${activity ? renderDays(activity, status) : html`<p class="card lead">Events per day could not be read.</p>`}
<div class="pair">
${renderCompleteness(status, head, now)}
${activity && renderLateness(activity.lateness)}
</div>
${renderGone(status, now)}
${renderRuns(status, retrying, now)}`;
}

function renderTiles({ status, nextRunAt, now }: OrganizationContent): Html {
  const { newestEventAt, lastSuccessAt } = status;
  return html`<dl class="tiles">
${renderFact('Newest event', newestEventAt ? renderWhen(newestEventAt, now) : 'none yet', newestEventAt && renderTime(newestEventAt))}
${renderFact('Lag', renderLag(lastSuccessAt, now), lastSuccessAt && html`last success ${renderTime(lastSuccessAt)}`)}
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
