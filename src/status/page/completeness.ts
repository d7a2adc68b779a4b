import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { count, describeWhen, formatNumber } from '../../text/format.ts';
import { describeState } from '../state.ts';
import { describeVerification, verifiedAt } from '../verification.ts';
import { type Html, html } from './html.ts';
import { type Level, renderFact, renderIcon, renderTable, renderTime, renderWhen } from './parts.ts';

interface Range {
  level: Level;
  name: string;
  from: Date;
  to: Date;
  note: string;
}

/** The state, what was counted, and the ranges with the gaps between them, newest first. */
export function renderCompleteness(status: OrganizationStatus, head: string | undefined, now: Date): Html {
  const { completeness, gaps, gapCount, rejected, watermark, verification } = status;
  const { state, provenAt, assessedAt, gone, suspected } = completeness;
  const ranges = rangesOf(status, now);
  const checkedAt = verifiedAt(verification);
  const reason = describeState(completeness).slice(state.length + 2);
  return html`<section class="card" aria-labelledby="completeness"><h2 id="completeness">Completeness</h2>
<p class="state"><b>${state}</b>${reason !== '' && html`: ${reason}`}</p>
${ranges.length === 0 && html`<p class="lead">No range of time has been read yet.</p>`}
${ranges.length > 0 && html`<ul class="ranges">${ranges.map(renderRange)}</ul>`}
${gapCount > gaps.length && html`<p class="lead">The newest of ${count(gapCount, 'gap')}.</p>`}
<dl class="facts">
${renderFact('Last proven', provenAt ? renderWhen(provenAt, now) : 'never', assessedAt && html`last count ${renderWhen(assessedAt, now)}`)}
${renderFact('Last verify', checkedAt ? renderWhen(checkedAt, now) : 'never', checkedAt && describeResult(status))}
${renderFact('Gone events', formatNumber(gone), suspected > 0 ? `and ${formatNumber(suspected)} suspected: the next run decides` : 'stored, and deleted at the source')}
${renderFact('Gaps', formatNumber(gapCount), 'time ranges that may have been deleted unread')}
${renderFact('Rejected rows', formatNumber(rejected), html`stored verbatim in <code>audit.rejected_events</code>`)}
${renderFact('Watermark', html`<code>${watermark?.raw ?? 'none yet'}</code>`, 'time of the newest committed event, as UiPath sent it')}
${renderFact('Ledger head', head === undefined ? 'none yet' : renderHead(head), 'keep a copy elsewhere: verify --expect proves later that the ledger was only appended to')}
</dl>
</section>`;
}

/** Without scripts a click selects all of it. */
function renderHead(head: string): Html {
  return html`<span class="head"><code id="head" class="whole-text">${head.trimEnd()}</code><button type="button" data-copy="head">Copy</button></span>`;
}

/** The newest gone events, without the user and the content: the page needs no login. Nothing if there are none. */
export function renderGone({ goneEvents, completeness }: OrganizationStatus, now: Date): Html | false {
  if (goneEvents.length === 0) return false;
  const head = html`<th scope="col">Event of</th><th scope="col">Category</th><th scope="col">Action</th><th scope="col">Noticed</th>`;
  const rows = goneEvents.map(
    ({ createdOn, category, action, noticedAt }) =>
      html`<tr><th scope="row">${renderTime(createdOn)}</th><td>${category ?? ''}</td><td>${action ?? ''}</td><td>${renderWhen(noticedAt, now)}</td></tr>`,
  );
  const { gone } = completeness;
  const newest = gone > goneEvents.length ? `the newest of ${formatNumber(gone)}` : formatNumber(gone);
  return html`<section aria-labelledby="gone"><h2 id="gone">Gone at the source</h2>
<p class="lead">Stored events that the source deleted behind its oldest event. The view <code>bi.gone_events</code> has their users and messages.</p>
${renderTable({ caption: `Gone events (${newest}), the last one found first`, isTall: true, head, rows })}
</section>`;
}

/** Without the reason of a failure: the page needs no login. */
function describeResult({ verification }: OrganizationStatus): string {
  return verification.last?.outcome === 'failed' ? 'failed' : describeVerification(verification);
}

function rangesOf({ coverage, gaps }: OrganizationStatus, now: Date): Range[] {
  const known = coverage.map(({ from, to, provenAt }): Range => {
    return provenAt === null
      ? { level: 'attention', name: 'Read', from, to, note: 'not counted yet' }
      : { level: 'good', name: 'Proven', from, to, note: `counted ${describeWhen(provenAt, now)}` };
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
