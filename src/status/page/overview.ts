import { CLASSIC_LOG, countLogs, type LogKey } from '../../core/log-key.ts';
import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { describeDuration, formatNumber } from '../../text/format.ts';
import type { Verdict } from '../verdict.ts';
import { type Html, html } from './html.ts';
import { type Level, renderFact, renderIcon, renderVerdict, renderWhen } from './parts.ts';

export interface Assessed {
  /** With the log, where the organization has several. */
  name: string;
  status: OrganizationStatus;
  verdict: Verdict;
}

const LEVELS: readonly Level[] = ['bad', 'attention', 'good'];

/** The page of one log. */
function linkTo({ organization, log }: LogKey): string {
  const ofLog = log === CLASSIC_LOG ? '' : `&log=${encodeURIComponent(log)}`;
  return `/?organization=${encodeURIComponent(organization)}${ofLog}`;
}

/** One line per log, the worst first. */
export function renderOverview(assessed: readonly Assessed[], nextRunAt: Date | undefined, now: Date): Html {
  const sorted = LEVELS.flatMap((level) => assessed.filter(({ verdict }) => verdict.level === level));
  return html`<h1>${countLogs(assessed.map(({ status }) => status))}</h1>
${renderVerdict(assessAll(assessed))}
<ul class="organizations">${sorted.map((one) => renderLine(one, nextRunAt, now))}</ul>`;
}

/** The verdict on all logs: the level is that of the worst. */
export function assessAll(assessed: readonly Assessed[]): Verdict {
  const level =
    LEVELS.find((candidate) => assessed.some(({ verdict }) => verdict.level === candidate)) ?? 'good';
  const good = assessed.filter(({ verdict }) => verdict.level === 'good').length;
  const rest = assessed.length - good;
  const headline =
    rest === 0
      ? 'All are complete and current'
      : `${formatNumber(rest)} of ${formatNumber(assessed.length)} ${rest === 1 ? 'needs' : 'need'} attention`;
  return { level, headline, reasons: [] };
}

function renderLine({ name, status, verdict }: Assessed, nextRunAt: Date | undefined, now: Date): Html {
  const { lagMs, lastSuccessAt, stored } = status;
  return html`<li class="${verdict.level}">
<div class="who">${renderIcon(verdict.level)}<div><a href="${linkTo(status)}">${name}</a><small>${verdict.headline}</small></div></div>
<dl>
${renderFact('Lag', lagMs === null ? 'not known' : describeDuration(lagMs))}
${renderFact('Last success', lastSuccessAt ? renderWhen(lastSuccessAt, now) : 'none yet')}
${renderFact('Next run', nextRunAt ? renderWhen(nextRunAt, now) : 'not scheduled yet')}
${renderFact('Events stored', formatNumber(stored))}
</dl></li>`;
}
