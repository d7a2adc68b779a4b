import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { count, describeWhen, formatNumber } from '../../text/format.ts';
import { type Html, html } from './html.ts';
import { type Level, renderFact, renderIcon, renderTime } from './parts.ts';

interface Range {
  level: Level;
  name: string;
  from: Date;
  to: Date;
  note: string;
}

/** Complete ranges and gaps, newest first. */
export function renderCompleteness(status: OrganizationStatus, now: Date): Html {
  const { gaps, gapCount, rejected, watermark } = status;
  const ranges = rangesOf(status, now);
  return html`<section class="card" aria-labelledby="completeness"><h2 id="completeness">Completeness</h2>
${ranges.length === 0 && html`<p class="lead">No range is known to be complete yet.</p>`}
${ranges.length > 0 && html`<ul class="ranges">${ranges.map(renderRange)}</ul>`}
${gapCount > gaps.length && html`<p class="lead">The newest of ${count(gapCount, 'gap')}.</p>`}
<dl class="facts">
${renderFact('Gaps', formatNumber(gapCount), 'time ranges not known to be complete')}
${renderFact('Rejected rows', formatNumber(rejected), html`stored verbatim in <code>audit.rejected_events</code>`)}
${renderFact('Watermark', html`<code>${watermark?.raw ?? 'none yet'}</code>`, 'time of the newest committed event, as UiPath sent it')}
</dl>
</section>`;
}

function rangesOf({ coverage, gaps }: OrganizationStatus, now: Date): Range[] {
  const known = coverage.map(({ from, to, provenAt }): Range => {
    return { level: 'good', name: 'Complete', from, to, note: `proven ${describeWhen(provenAt, now)}` };
  });
  const unknown = gaps.map(({ from, to, noticedAt, runId }): Range => {
    const note = `detected ${describeWhen(noticedAt, now)} by run ${runId}`;
    return { level: 'bad', name: 'Gap', from, to, note };
  });
  return [...known, ...unknown].sort((a, b) => b.from.getTime() - a.from.getTime());
}

function renderRange({ level, name, from, to, note }: Range): Html {
  return html`<li>${renderIcon(level)}<div><b class="${level}">${name}</b> from ${renderTime(from)} to ${renderTime(to)}<small>${note}</small></div></li>`;
}
