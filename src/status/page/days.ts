import type { Activity } from '../../postgres/read/activity.ts';
import type { OrganizationStatus } from '../../postgres/read/status.ts';
import { count, describeDay, formatCompact, formatNumber } from '../../text/format.ts';
import { type Html, html } from './html.ts';
import { renderTable } from './parts.ts';

const DAY_MS = 86_400_000;
/** In units of the drawing, whose width is stretched to that of the page. */
const SLOT = 10;
const BAR = 7;
const HEIGHT = 100;
/** Days between two labels below the chart. */
const LABELLED_DAYS = 30;

interface Day {
  day: string;
  events: number;
  copy: 'proven' | 'read' | 'partly' | 'gap' | 'unknown';
}

const COPY_WORDS: Record<Day['copy'], string> = {
  proven: 'proven',
  read: 'read, not counted',
  partly: 'partly read',
  gap: 'gap',
  unknown: 'not known',
};

/** Events per day: a bar chart, what is known of each day below it, and the same data as a table. */
export function renderDays(activity: Activity, status: OrganizationStatus): Html {
  const days = activity.days.map((day) => ({ ...day, copy: copyOf(day.day, status) }));
  const top = ceilNicely(Math.max(...days.map(({ events }) => events)));
  return html`<section class="card" aria-labelledby="days"><h2 id="days">Events by day</h2>
<figure>
<figcaption class="lead">${describeDays(days)}</figcaption>
<div class="plot">
<div class="axis" aria-hidden="true"><span>${formatCompact(top)}</span><span>${formatCompact(top / 2)}</span><span>0</span></div>
${renderBars(days, top)}
${renderStrip(days)}
<div class="labels" aria-hidden="true">${days.filter((_, i) => i % LABELLED_DAYS === 0).map(({ day }) => html`<span>${describeDay(day, false)}</span>`)}<span>today</span></div>
</div>
${renderLegend(days)}
</figure>
<details><summary>Events by day as a table</summary>${renderDayTable(days)}</details>
</section>`;
}

function renderBars(days: readonly Day[], top: number): Html {
  const lines = [0, HEIGHT / 2, HEIGHT].map(
    (y) => html`<line class="line" x1="0" x2="${days.length * SLOT}" y1="${y}" y2="${y}"></line>`,
  );
  const bars = days.map(({ day, events, copy }, i) => {
    const height = events === 0 ? 0 : Math.max(1, (HEIGHT * events) / top);
    const isToday = i === days.length - 1;
    return html`<g><title>${describeDay(day)}: ${count(events, 'event')}</title>
<rect class="hit${copy === 'gap' && ' gap'}" x="${i * SLOT}" y="0" width="${SLOT}" height="${HEIGHT}"></rect>
<rect class="${isToday ? 'bar today' : 'bar'}" x="${i * SLOT + (SLOT - BAR) / 2}" y="${round(HEIGHT - height)}" width="${BAR}" height="${round(height)}"></rect></g>`;
  });
  return html`<svg class="bars" viewBox="0 0 ${days.length * SLOT} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="Bar chart of the events of each day; the table below has the numbers">${lines}${bars}</svg>`;
}

/** One rectangle for each sequence of days of which the same is known. */
function renderStrip(days: readonly Day[]): Html {
  const pieces: { from: number; to: number; copy: Day['copy'] }[] = [];
  days.forEach(({ copy }, i) => {
    const last = pieces.at(-1);
    if (last?.copy === copy) last.to = i + 1;
    else pieces.push({ from: i, to: i + 1, copy });
  });
  const drawn = pieces.map(
    ({ from, to, copy }) =>
      html`<rect class="${copy}" x="${from * SLOT}" y="${copy === 'gap' ? 0 : 0.25}" width="${(to - from) * SLOT}" height="${copy === 'gap' ? 1 : 0.5}"><title>${describeDay(days[from]!.day)} to ${describeDay(days[to - 1]!.day)}: ${COPY_WORDS[copy]}</title></rect>`,
  );
  const gaps = days.filter(({ copy }) => copy === 'gap').length;
  const label = gaps === 0 ? 'No day has a gap' : `Gaps on ${count(gaps, 'day')}; the table below names them`;
  return html`<svg class="strip" viewBox="0 0 ${days.length * SLOT} 1" preserveAspectRatio="none" role="img" aria-label="${label}">${drawn}</svg>`;
}

function renderLegend(days: readonly Day[]): Html {
  const shown = (['proven', 'read', 'partly', 'gap', 'unknown'] as const).filter((copy) =>
    days.some((day) => day.copy === copy),
  );
  return html`<ul class="legend" aria-hidden="true"><li><i class="bar"></i>events a day (UTC)</li><li><i class="bar today"></i>today so far</li>
${shown.map((copy) => html`<li><i class="${copy}"></i>${COPY_WORDS[copy]}</li>`)}</ul>`;
}

function renderDayTable(days: readonly Day[]): Html {
  const head = html`<th scope="col">Day</th><th scope="col" class="number">Events</th><th scope="col">Copy</th>`;
  const rows = days
    .toReversed()
    .map(
      ({ day, events, copy }) =>
        html`<tr><th scope="row">${day}</th><td class="number">${formatNumber(events)}</td><td>${COPY_WORDS[copy]}</td></tr>`,
    );
  return renderTable({ caption: 'Events stored by day in UTC, newest first', isTall: true, head, rows });
}

function describeDays(days: readonly Day[]): string {
  const total = days.reduce((sum, { events }) => sum + events, 0);
  if (total === 0) return `No event in the last ${days.length} days.`;
  const most = days.reduce((best, day) => (day.events > best.events ? day : best));
  const sentence = `${count(total, 'event')} in the last ${days.length} days; most on ${describeDay(most.day)}: ${formatNumber(most.events)}.`;
  const gaps = days.filter(({ copy }) => copy === 'gap').length;
  return gaps === 0 ? sentence : `${sentence} A gap touches ${count(gaps, 'day')}.`;
}

/** What is known of a day up to the end of the newest range. It is proven if a count agreed at its end or later. */
function copyOf(day: string, { coverage, gaps }: OrganizationStatus): Day['copy'] {
  const from = Date.parse(day);
  const to = from + DAY_MS;
  if (gaps.some((gap) => gap.from.getTime() < to && gap.to.getTime() > from)) return 'gap';
  const touching = coverage.filter((range) => range.from.getTime() < to && range.to.getTime() > from);
  if (touching.length === 0) return 'unknown';
  const end = Math.min(to, Math.max(...coverage.map((range) => range.to.getTime())));
  const whole = touching.find((range) => range.from.getTime() <= from && range.to.getTime() >= end);
  if (!whole) return 'partly';
  return whole.provenAt && whole.provenAt.getTime() >= end ? 'proven' : 'read';
}

/** Rounds up to a number that is easy to read and to halve: 1, 2, 4, 6, 8 or 10 times a power of ten. */
export function ceilNicely(value: number): number {
  if (value <= 2) return 2;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((factor) => factor * power).find((nice) => nice >= value)!;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
