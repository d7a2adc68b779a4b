import { LATENESS_BOUNDS_S, type Lateness } from '../../postgres/read/activity.ts';
import { count, describeDuration, formatNumber } from '../../text/format.ts';
import { type Html, html } from './html.ts';

const WIDTH = 100;

/** Lateness of events: a histogram as a table with a bar in each row. */
export function renderLateness({ events, counts }: Lateness): Html {
  const late = counts.reduce((sum, number) => sum + number, 0);
  const share = `${((100 * late) / Math.max(1, events)).toFixed(late / events < 0.01 ? 2 : 1)}%`;
  return html`<section class="card" aria-labelledby="lateness"><h2 id="lateness">Lateness of events</h2>
<p class="lead">${late === 0 ? describeNone(events) : html`${formatNumber(late)} (${share}) of the newest ${count(events, 'event')} were late: an earlier run had already stored newer ones. Backfills are not counted.`}</p>
${late > 0 && renderHistogram(counts)}
</section>`;
}

function describeNone(events: number): string {
  return events === 0 ? 'No event is stored yet.' : `None of the newest ${count(events, 'event')} was late.`;
}

function renderHistogram(counts: readonly number[]): Html {
  const most = Math.max(...counts);
  const rows = counts.map(
    (late, i) => html`<tr><th scope="row">${describeBucket(i)}</th>
<td class="wide"><svg viewBox="0 0 ${WIDTH} 10" preserveAspectRatio="none" aria-hidden="true"><rect class="bar" x="0" y="0" width="${late === 0 ? 0 : Math.max(1, Math.round((WIDTH * late) / most))}" height="10"></rect></svg></td>
<td class="number${late === 0 && ' zero'}">${formatNumber(late)}</td></tr>`,
  );
  return html`<table class="histogram"><caption>Late events by age when stored.</caption>
<thead class="unseen"><tr><th scope="col">Age when stored</th><th scope="col">Bar</th><th scope="col">Late events</th></tr></thead>
<tbody>${rows}</tbody></table>`;
}

function describeBucket(i: number): string {
  const bound = LATENESS_BOUNDS_S[i];
  if (bound !== undefined) return `up to ${describeDuration(bound * 1000)}`;
  return `more than ${describeDuration(LATENESS_BOUNDS_S.at(-1)! * 1000)}`;
}
