/** A report as a page to print: without scripts and external resources. */
import type { LogReport, MonthReport, SignedReport } from '../runs/report.ts';
import { formatNumber } from '../text/format.ts';
import { type Html, html } from './page/html.ts';

const STYLE = `
:root { color-scheme: light; }
body { font: 10.5pt/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 18pt; margin: 0 0 .2rem; } h2 { font-size: 14pt; margin: 1.6rem 0 .3rem; border-bottom: 1px solid #999; }
h3 { font-size: 11pt; margin: 1.1rem 0 .3rem; } p { margin: .3rem 0; }
.verdict { font-size: 12pt; font-weight: 600; padding: .5rem .7rem; border-left: 4px solid #a33; background: #f7efef; }
.verdict.good { border-color: #2a7a3b; background: #eef6f0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td { overflow-wrap: anywhere; } th, td.short { white-space: nowrap; overflow-wrap: normal; } th.n, td.n { text-align: right; }
h2, h3, .lead { break-after: avoid; } .table { overflow-x: auto; } .days { overflow: hidden; } thead { display: table-header-group; } tr { break-inside: avoid; }
code, pre { font: 8.5pt/1.4 ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
.days { columns: 3 11rem; column-gap: 1.5rem; } .muted { color: #555; }
@page { size: A4; margin: 16mm; @bottom-right { content: counter(page) " of " counter(pages); font: 8.5pt system-ui, sans-serif; } }
@media print { body { margin: 0; max-width: none; padding: 0; } .table { overflow: visible; } }
`;

/** The complete document. */
export function renderReport({ report, signature }: SignedReport): string {
  const { month, madeAt, isEnded, logs, versions } = report;
  const { markup } = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Audit log of ${month}</title><style>${{ markup: STYLE }}</style></head><body>
<h1>Audit log of ${month}</h1>
<p class="muted">Copy of UiPath's audit log in PostgreSQL. Days and times are UTC. Made ${shorten(madeAt)}${!isEnded && ', before the end of the month'}.</p>
${logs.map(renderLog)}
<h2>This report</h2>
<p>${signature === null ? 'Not signed: no key was configured.' : 'The JSON file of this report is signed:'}</p>
${signature !== null && html`<pre>${signature}</pre>`}
<p>Check the JSON file: <code>node dist/main.js report --check FILE</code></p>
<p class="muted">${programOf(versions)}</p>
</body></html>
`;
  return markup;
}

function programOf({ program, commit, postgresql, migration }: MonthReport['versions']): string {
  return `uipath-audit-export ${program} (${commit}), PostgreSQL ${postgresql}, tables of migration ${migration ?? 'unknown'}.`;
}

function renderLog(log: LogReport): Html {
  const { organization, isComplete, verdict, events, runs, gone, rejected, gaps, coverage } = log;
  return html`<h2>${organization} (${log.log})</h2>
<p class="verdict${isComplete && ' good'}">${verdict}</p>
<h3>Events: ${formatNumber(events)}</h3>
${log.days.length === 0 ? html`<p>None.</p>` : renderDays(log)}
<p>${formatNumber(runs.late)} arrived late: after newer ones had been stored.</p>
<h3>Coverage</h3>
${renderTable(
  ['Read from', 'to', 'Last proven', 'Last verified'],
  coverage.map(({ from, to, provenAt, verifiedAt }) => [
    shorten(from),
    shorten(to),
    when(provenAt),
    when(verifiedAt),
  ]),
  'No part of the month was read.',
)}
<h3>Gaps: ${formatNumber(gaps.length)}</h3>
${
  gaps.length > 0 &&
  renderTable(
    ['From', 'to', 'Noticed'],
    gaps.map(({ from, to, noticedAt }) => [shorten(from), shorten(to), shorten(noticedAt)]),
    '',
  )
}
<h3>Gone at the source: ${formatNumber(gone.events)}</h3>
${gone.events > gone.listed.length && html`<p class="lead">The first ${formatNumber(gone.listed.length)}:</p>`}
${
  gone.listed.length > 0 &&
  renderTable(
    ['Event of', 'User', 'Action', 'Noticed'],
    gone.listed.map(({ createdOn, user, action, noticedAt }) => [
      shorten(createdOn),
      user ?? '',
      action ?? '',
      shorten(noticedAt),
    ]),
    '',
  )
}
<h3>Rejected rows: ${formatNumber(rejected.reduce((sum, { rows }) => sum + rows, 0))}</h3>
${
  rejected.length > 0 &&
  renderTable(
    ['Reason', 'Rows'],
    rejected.map(({ reason, rows }) => [reason, formatNumber(rows)]),
    '',
  )
}
<h3>Runs: ${formatNumber(runs.succeeded)} succeeded, ${formatNumber(runs.failed.length)} failed</h3>
${
  runs.failed.length > 0 &&
  renderTable(
    ['Run', 'Began', 'Error'],
    runs.failed.map(({ runId, startedAt, error }) => [runId, shorten(startedAt), error ?? '']),
    '',
  )
}
<h3>Results of verify</h3>
${renderVerifications(log)}
<h3>Ledger</h3>
${renderLedger(log)}`;
}

function renderDays({ days }: LogReport): Html {
  return html`<div class="days"><table><thead><tr><th>Day</th><th class="n">Events</th></tr></thead><tbody>${days.map(
    ({ day, events }) => html`<tr><td>${day}</td><td class="n">${formatNumber(events)}</td></tr>`,
  )}</tbody></table></div>`;
}

function renderVerifications({ verifications, lastVerification }: LogReport): Html {
  const shown = verifications.length > 0 || lastVerification === null ? verifications : [lastVerification];
  const rows = shown.map(({ scope, endedAt, outcome, rows: checked, differences }) => {
    const found = Object.entries(differences).filter(([, count]) => count > 0);
    return [
      shorten(endedAt),
      scope,
      outcome,
      formatNumber(checked),
      found.map(([kind, count]) => `${kind} ${count}`).join(', '),
    ];
  });
  const note =
    verifications.length === 0 &&
    lastVerification !== null &&
    html`<p class="lead">None in the month; the newest:</p>`;
  return html`${note}${renderTable(['Ended', 'Compared with', 'Result', 'Rows', 'Differences'], rows, 'verify has never been run.')}`;
}

function renderLedger({ entries, head, signedHead, keys }: LogReport): Html {
  const ends = [
    ['first', entries.first],
    ['last', entries.last],
  ] as const;
  const rows = ends.flatMap(([name, entry]) =>
    entry ? [[`${name}: ${entry.entry}`, entry.kind, shorten(entry.committedAt), entry.digest]] : [],
  );
  return html`<p class="lead">${formatNumber(entries.count)} entries were committed in the month.</p>
${rows.length > 0 && renderTable(['Entry', 'Kind', 'Committed', 'Digest'], rows, '')}
<p class="lead">Head of the ledger when the report was made${signedHead === null ? ', not signed' : ''}:</p>
<pre>${signedHead ?? head ?? 'no entries'}</pre>
${keys.map(({ verifierKey, fingerprint }) => html`<p>Public key: <code>${verifierKey}</code><br>SHA-256 <code>${fingerprint}</code></p>`)}`;
}

function renderTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  otherwise: string,
): Html {
  if (rows.length === 0) return html`<p>${otherwise}</p>`;
  return html`<div class="table"><table><thead><tr>${heads.map((head) => html`<th>${head}</th>`)}</tr></thead><tbody>${rows.map(
    (cells) => html`<tr>${cells.map(renderCell)}</tr>`,
  )}</tbody></table></div>`;
}

/** A time, a number or a short word stays on one line; other text is broken anywhere. */
function renderCell(cell: string): Html {
  const isShort = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|(first|last): \d+|\S{0,16})$/.test(cell);
  return html`<td${isShort && { markup: ' class="short"' }}>${cell}</td>`;
}

/** `2026-03-31T23:59:59.123456Z` → `2026-03-31 23:59:59`. */
function shorten(time: string): string {
  return time.replace('T', ' ').replace(/(\.\d+)?Z$/, '');
}

function when(time: string | null): string {
  return time === null ? 'never' : shorten(time);
}
