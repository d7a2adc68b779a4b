import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/status.ts';
import type { HealthState, OrganizationState } from './health.ts';
import { type Html, html } from './html.ts';
import { STYLE } from './page-style.ts';
import { nameRuns, noteRuns } from './run-notes.ts';
import { judgeDatabase, judgeOrganization, type Verdict } from './verdict.ts';
import { count, describeDuration, describeInstant, describeWhen, formatNumber } from './words.ts';

export interface PageContent {
  health: HealthState;
  /** None when the database did not answer; `problem` says why then. */
  report: StatusReport | undefined;
  problem: string | undefined;
  nextRunAt: Date | undefined;
  now: Date;
}

const REFRESH_S = 30;

/** The status page: one HTML document that loads nothing else. All that comes from outside is escaped. */
export function renderPage(content: PageContent): string {
  const { report, problem, nextRunAt, now } = content;
  const judged = report?.organizations.map((status) => ({
    status,
    verdict: judgeOrganization(status, report.readAt, { isScheduled: nextRunAt !== undefined }),
  }));
  const database = report ? judgeDatabase(report) : databaseAway(problem);
  const { markup } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="${REFRESH_S}">
<title>${(database ?? judged?.[0]?.verdict)?.headline ?? 'Status'} – UiPath audit export</title>
<link rel="icon" href="data:,">
<style>${{ markup: STYLE }}</style>
</head>
<body>
<header><h1>UiPath audit export</h1></header>
<main>
${database && renderVerdict(database)}
${judged?.map(({ status, verdict }) => renderOrganization(status, verdict, report!.readAt))}
${renderProcess(content)}
</main>
<footer><p>As of ${renderTime(report?.readAt ?? now)}; this page renews itself every ${REFRESH_S} s.
<a href="/metrics">Metrics</a>, <a href="/readyz">readiness</a>, <a href="/healthz">health</a>.</p></footer>
</body>
</html>
`;
  return markup;
}

function databaseAway(problem: string | undefined): Verdict {
  const reasons = problem === undefined ? [] : [problem];
  return { level: 'bad', headline: 'Not known: the database does not answer', reasons };
}

function renderVerdict({ level, headline, reasons }: Verdict): Html {
  return html`<section class="verdict ${level}" aria-label="State">
<p>${headline}</p>
${reasons.length > 0 && html`<ul>${reasons.map((reason) => html`<li>${reason}</li>`)}</ul>`}
</section>`;
}

function renderOrganization(status: OrganizationStatus, verdict: Verdict, now: Date): Html {
  const { newestEventAt, lagMs, lastSuccessAt, sourceTotal, gapCount, coverage } = status;
  return html`<h2>${status.organization}</h2>
${renderVerdict(verdict)}
<dl>
${renderFact('Newest event', newestEventAt ? describeWhen(newestEventAt, now) : 'none yet', newestEventAt && renderTime(newestEventAt))}
${renderFact('Lag', lagMs === null ? 'not known' : describeDuration(lagMs), 'age of the newest event; grows when nothing happens')}
${renderFact('Last success', lastSuccessAt ? describeWhen(lastSuccessAt, now) : 'none yet', lastSuccessAt && renderTime(lastSuccessAt))}
${renderFact('Events stored', formatNumber(status.stored), 'also those the source has deleted since')}
${renderFact('Events at the source', sourceTotal === null ? 'not known' : formatNumber(sourceTotal), 'as it last said')}
${coverage.map((range) => renderFact('Complete', `from ${describeInstant(range.from)}`, html`to ${renderTime(range.to)}, proven ${describeWhen(range.provenAt, now)}`))}
${renderFact('Rejected rows', formatNumber(status.rejected), 'kept word for word in audit.rejected_events')}
${renderFact('Gaps', formatNumber(gapCount), 'spans not known to be complete')}
</dl>
${renderRuns(status, verdict, now)}
${gapCount > 0 && renderGaps(status)}`;
}

function renderProcess({ health, nextRunAt, now }: PageContent): Html {
  const { startedAt, organizations } = health;
  return html`<h3>This process</h3>
<dl>
${renderFact('Next run', nextRunAt ? describeWhen(nextRunAt, now) : 'not scheduled yet', nextRunAt && renderTime(nextRunAt))}
${organizations.map((state) => renderState(state, organizations.length === 1 ? '' : ` (${state.organization})`))}
${renderFact('Up', describeDuration(now.getTime() - startedAt.getTime()), html`since ${renderTime(startedAt)}`)}
</dl>`;
}

function renderState({ running, lastRun }: OrganizationState, of: string): Html {
  const last = lastRun && `${lastRun.kind} ${lastRun.outcome}`;
  return html`${renderFact(`Now${of}`, running ? `${running.kind} under way` : 'waiting', running && html`since ${renderTime(running.startedAt)}`)}
${renderFact(`Its last run${of}`, last ?? 'none yet', lastRun?.outcome === 'locked' ? 'another worker exports; this one stands by' : lastRun?.error)}`;
}

function renderFact(name: string, value: string, note: Html | string | null | undefined): Html {
  return html`<div><dt>${name}</dt><dd>${value}${note && html`<small>${note}</small>`}</dd></div>`;
}

function renderTime(at: Date): Html {
  return html`<time datetime="${at.toISOString()}">${describeInstant(at)}</time>`;
}

const COLUMNS = ['New', 'Updated', 'Unchanged', 'Rejected', 'Late', 'Pages', 'Requests', 'Retries'];
const OUTCOME_LEVELS = { succeeded: 'good', failed: 'bad', interrupted: 'attention', abandoned: 'bad' };

function renderRuns({ organization, runs }: OrganizationStatus, { reasons }: Verdict, now: Date): Html {
  const notes = noteRuns(runs, reasons);
  return html`<h3>Last runs</h3>
<div class="scroll" role="region" aria-label="Last runs of ${organization}" tabindex="0"><table>
<thead><tr><th scope="col">Run</th><th scope="col">Kind</th><th scope="col">Started</th><th scope="col">Took</th>
<th scope="col">Outcome</th>${COLUMNS.map((name) => html`<th scope="col" class="number">${name}</th>`)}</tr></thead>
<tbody>${runs.map((run) => renderRun(run, now))}</tbody>
</table></div>
${notes.length > 0 && html`<ul class="notes">${notes.map((note) => html`<li><b>${nameRuns(note)}</b> ${note.text}</li>`)}</ul>`}`;
}

function renderRun({ counters, ...run }: RunRecord, now: Date): Html {
  const { inserted, updated, unchanged, rejected, late, pages, requests, retries } = counters;
  const numbers = [inserted, updated, unchanged, rejected, late, pages, requests, retries];
  const level = run.outcome === null ? '' : OUTCOME_LEVELS[run.outcome];
  const took = (run.endedAt ?? now).getTime() - run.startedAt.getTime();
  return html`<tr><td>${run.runId}</td><td>${run.kind}</td>
<td><time datetime="${run.startedAt.toISOString()}">${describeWhen(run.startedAt, now)}</time></td>
<td>${describeDuration(took)}</td><td class="${level}">${run.outcome ?? 'under way'}</td>
${numbers.map((number) => html`<td class="number">${formatNumber(number)}</td>`)}</tr>`;
}

function renderGaps({ organization, gaps, gapCount }: OrganizationStatus): Html {
  const more = gapCount > gaps.length && html`<p>The newest of ${count(gapCount, 'gap')}.</p>`;
  return html`<h3>Gaps</h3>
<div class="scroll" role="region" aria-label="Gaps of ${organization}" tabindex="0"><table>
<thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col">Noticed</th><th scope="col">By run</th></tr></thead>
<tbody>${gaps.map(
    (gap) => html`<tr><td>${renderTime(gap.from)}</td><td>${renderTime(gap.to)}</td>
<td>${renderTime(gap.noticedAt)}</td><td>${gap.runId}</td></tr>`,
  )}</tbody>
</table></div>${more}`;
}
