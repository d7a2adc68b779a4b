import type { RunCounters } from '../../core/store.ts';
import type { OrganizationStatus, RunRecord } from '../../postgres/read/status.ts';
import { describeDuration, formatNumber } from '../../text/format.ts';
import { type Html, html } from './html.ts';
import { type Level, renderIcon, renderTable, renderText, renderWhen } from './parts.ts';
import { nameRuns, noteRuns, type RunNote } from './run-notes.ts';

const COLUMNS: [name: string, counter: keyof RunCounters][] = [
  ['New', 'inserted'],
  ['Late', 'late'],
  ['Updated', 'updated'],
  ['Superseded', 'superseded'],
  ['Unchanged', 'unchanged'],
  ['Rejected', 'rejected'],
  ['Pages', 'pages'],
  ['Requests', 'requests'],
  ['Retries', 'retries'],
];
/** Columns before those of the counters. */
const FIRST_COLUMNS = 5;
const OUTCOME_LEVELS: Record<NonNullable<RunRecord['outcome']>, Level> = {
  succeeded: 'good',
  failed: 'bad',
  interrupted: 'attention',
  abandoned: 'bad',
};

/** How the newest run is shown if it failed and is tried again. */
export interface Retrying {
  level: Level;
  /** `Retrying: attempt 2 in 28 s …` */
  text: string;
}

/** The last runs. Each error and warning is below the newest run that had it. */
export function renderRuns({ runs }: OrganizationStatus, retrying: Retrying | undefined, now: Date): Html {
  const notes = noteRuns(runs, []);
  // Sources rarely write details differently, and the table is wide.
  const columns = COLUMNS.filter(
    ([, counter]) => counter !== 'superseded' || runs.some((run) => run.counters.superseded > 0),
  );
  const numbers = columns.map(([name]) => html`<th scope="col" class="number">${name}</th>`);
  const head = html`<th scope="col">Run</th><th scope="col">Outcome</th><th scope="col">Kind</th>
<th scope="col">Started</th><th scope="col" class="number">Took</th>${numbers}`;
  const newest = runs.find(({ outcome }) => outcome !== null);
  const rows = runs.flatMap((run) => {
    const again = run === newest ? retrying : undefined;
    const own = notes.filter(({ runIds }) => runIds[0] === run.runId);
    return [renderRun(run, { columns, again, now }), ...renderNotes(own, again, columns.length)];
  });
  return html`<section aria-labelledby="runs"><h2 id="runs">Last runs</h2>
${renderTable({ caption: 'Last runs, newest first', head, rows })}
</section>`;
}

function renderRun(
  run: RunRecord,
  { columns, again, now }: { columns: typeof COLUMNS; again: Retrying | undefined; now: Date },
): Html {
  const took = (run.endedAt ?? now).getTime() - run.startedAt.getTime();
  return html`<tr id="run-${run.runId}"><th scope="row">${run.runId}</th><td>${again ? renderBadge(again.level, 'retrying') : renderOutcome(run.outcome)}</td><td>${run.kind}</td>
<td>${renderWhen(run.startedAt, now)}</td><td class="number">${describeDuration(took)}</td>
${columns.map(([, counter]) => renderNumber(run.counters[counter] as number))}</tr>`;
}

function renderNumber(number: number): Html {
  return html`<td class="number${number === 0 && ' zero'}">${formatNumber(number)}</td>`;
}

/** The row below a run. */
function renderNotes(notes: readonly RunNote[], again: Retrying | undefined, columns: number): Html[] {
  if (notes.length === 0 && !again) return [];
  const texts = notes.map((note) => {
    const [, ...others] = note.runIds;
    const also =
      others.length > 0 &&
      html` <small>Also ${nameRuns({ ...note, runIds: others }).replace('R', 'r')}.</small>`;
    return html`<p>${renderText(note.text)}${also}</p>`;
  });
  return [
    html`<tr class="said"><td colspan="${FIRST_COLUMNS + columns}"><div>${again && html`<p>${renderText(again.text)}</p>`}${texts}</div></td></tr>`,
  ];
}

function renderOutcome(outcome: RunRecord['outcome']): Html {
  if (outcome === null) return html`<span class="outcome">in progress</span>`;
  const level = OUTCOME_LEVELS[outcome];
  return renderBadge(level, outcome);
}

function renderBadge(level: Level, text: string): Html {
  return html`<span class="outcome ${level}">${renderIcon(level)}${text}</span>`;
}
