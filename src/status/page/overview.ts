import { CLASSIC_LOG, countLogs, type LogKey } from '../../core/log-key.ts';
import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { formatNumber } from '../../text/format.ts';
import type { Verdict } from '../verdict.ts';
import { type Html, html } from './html.ts';
import { type Level, renderFact, renderIcon, renderLag, renderVerdict, renderWhen } from './parts.ts';

export interface Assessed {
  /** With the log, where the organization has several. */
  name: string;
  status: OrganizationStatus;
  verdict: Verdict;
}

/** Organizations that the banner names, besides the worst. */
const MAX_NAMED = 3;
const LEVELS: readonly Level[] = ['bad', 'attention', 'good'];

/** The page of one log. */
function linkTo({ organization, log }: LogKey): string {
  const ofLog = log === CLASSIC_LOG ? '' : `&log=${encodeURIComponent(log)}`;
  return `?organization=${encodeURIComponent(organization)}${ofLog}`;
}

/** One line per log, the worst first. */
export function renderOverview(assessed: readonly Assessed[], nextRunAt: Date | undefined, now: Date): Html {
  const sorted = LEVELS.flatMap((level) => assessed.filter(({ verdict }) => verdict.level === level));
  return html`<h1>${countLogs(assessed.map(({ status }) => status))}</h1>
${renderVerdict(assessAll(assessed), undefined)}
<ul class="organizations">${sorted.map((one) => renderLine(one, nextRunAt, now))}</ul>`;
}

/** The verdict on all logs: level and cause are those of the worst. */
export function assessAll(assessed: readonly Assessed[]): Verdict {
  const level =
    LEVELS.find((candidate) => assessed.some(({ verdict }) => verdict.level === candidate)) ?? 'good';
  const unwell = LEVELS.slice(0, -1).flatMap((each) =>
    assessed.filter(({ verdict }) => verdict.level === each),
  );
  const [worst, ...others] = unwell;
  if (!worst) return { level, headline: 'All are complete and current', cause: 'nothing', reasons: [] };
  const { cause } = worst.verdict;
  const headline = `${worst.name} needs attention: ${cause}`;
  if (others.length === 0) return { level, headline, cause, reasons: [] };
  const names = others.slice(0, MAX_NAMED).map(({ name }) => name);
  const rest = others.length > MAX_NAMED ? ` and ${formatNumber(others.length - MAX_NAMED)} more` : '';
  const number = `${formatNumber(others.length)} more of ${formatNumber(assessed.length)}`;
  const need = others.length === 1 ? 'needs' : 'need';
  return { level, headline, cause, reasons: [`${number} ${need} attention: ${names.join(', ')}${rest}.`] };
}

function renderLine({ name, status, verdict }: Assessed, nextRunAt: Date | undefined, now: Date): Html {
  const { newestEventAt, lastSuccessAt, stored } = status;
  return html`<li class="${verdict.level}">
<div class="who">${renderIcon(verdict.level)}<div><a href="${linkTo(status)}">${name}</a><small>${verdict.headline}</small></div></div>
<dl>
${renderFact('Newest event', newestEventAt ? renderWhen(newestEventAt, now) : 'none yet')}
${renderFact('Lag', renderLag(lastSuccessAt, now))}
${renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet')}
${renderFact('Events stored', formatNumber(stored))}
</dl></li>`;
}
