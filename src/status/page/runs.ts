import type { OrganizationStatus, RunRecord } from '../../postgres/read/status.ts';
import { describeDuration, formatNumber } from '../../text/format.ts';
import { type Html, html } from './html.ts';
import { type Level, renderIcon, renderTable, renderWhen } from './parts.ts';
import { nameRuns, noteRuns } from './run-notes.ts';

const COLUMNS = ['New', 'Late', 'Updated', 'Unchanged', 'Rejected', 'Pages', 'Requests', 'Retries'];
const OUTCOME_LEVELS: Record<NonNullable<RunRecord['outcome']>, Level> = {
  succeeded: 'good',
  failed: 'bad',
  interrupted: 'attention',
  abandoned: 'bad',
};

/** The last runs, and below them the errors and warnings that the top of the page does not show. */
export function renderRuns({ runs }: OrganizationStatus, shown: readonly string[], now: Date): Html {
  const notes = noteRuns(runs, shown);
  const numbers = COLUMNS.map((name) => html`<th scope="col" class="number">${name}</th>`);
  const head = html`<th scope="col">Run</th><th scope="col">Outcome</th><th scope="col">Kind</th>
<th scope="col">Started</th><th scope="col" class="number">Took</th>${numbers}`;
  return html`<section aria-labelledby="runs"><h2 id="runs">Last runs</h2>
${renderTable({ caption: 'Last runs, newest first', head, rows: runs.map((run) => renderRun(run, now)) })}
${notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li><b>${nameRuns(note)}</b> ${note.text}</li>`)}</ul>`}
</section>`;
}

function renderRun({ counters, ...run }: RunRecord, now: Date): Html {
  const { inserted, late, updated, unchanged, rejected, pages, requests, retries } = counters;
  const numbers = [inserted, late, updated, unchanged, rejected, pages, requests, retries];
  const took = (run.endedAt ?? now).getTime() - run.startedAt.getTime();
  return html`<tr><th scope="row">${run.runId}</th><td>${renderOutcome(run.outcome)}</td><td>${run.kind}</td>
<td>${renderWhen(run.startedAt, now)}</td><td class="number">${describeDuration(took)}</td>
${numbers.map((number) => html`<td class="number${number === 0 && ' zero'}">${formatNumber(number)}</td>`)}</tr>`;
}

function renderOutcome(outcome: RunRecord['outcome']): Html {
  if (outcome === null) return html`<span class="outcome">in progress</span>`;
  const level = OUTCOME_LEVELS[outcome];
  return html`<span class="outcome ${level}">${renderIcon(level)}${outcome}</span>`;
}
