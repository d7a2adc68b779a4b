import { findSeveralLogs, nameLog } from '../../core/log-key.ts';
import type { Activity } from '../../postgres/read/activity.ts';
import type { OrganizationStatus, StatusReport } from '../../postgres/read/status.ts';
import { versionText } from '../../version.ts';
import type { HealthState } from '../health.ts';
import { assessDatabase, assessOrganization, nextAttemptOf, type Verdict } from '../verdict.ts';
import { type Html, html } from './html.ts';
import { renderOrganization } from './organization.ts';
import { type Assessed, assessAll, renderOverview } from './overview.ts';
import { type Level, renderTime, renderVerdict } from './parts.ts';
import { renderProcess } from './process.ts';
import { RENEW_S, SCRIPT } from './script.ts';
import { STYLE } from './style.ts';

export interface PageContent {
  health: HealthState;
  /** `undefined` if the database did not respond; `problem` then says why. */
  report: StatusReport | undefined;
  problem: string | undefined;
  /** The log to show; `undefined`: the only one, or the overview. */
  wanted?: WantedLog | undefined;
  /** Of the log that is shown; `undefined` when it could not be read. */
  activity?: Activity | undefined;
  /** The newest head of its ledger. */
  head?: string | undefined;
  nextRunAt: Date | undefined;
  /** Number of log lines that could not be written. */
  droppedLogLines?: number;
  /** Of docs/operations.md. */
  runbookUrl?: string | undefined;
  now: Date;
}

/** The requested organization, and the requested log if there is one. */
export interface WantedLog {
  organization: string;
  log: string | undefined;
}

/** Returns the requested log; `undefined` for the overview and for an unknown name. */
export function chooseLog(
  report: StatusReport | undefined,
  wanted: WantedLog | undefined,
): OrganizationStatus | undefined {
  const { organizations = [] } = report ?? {};
  if (wanted === undefined) return organizations.length === 1 ? organizations[0] : undefined;
  return organizations.find(
    ({ organization, log }) =>
      organization === wanted.organization && (wanted.log === undefined || log === wanted.log),
  );
}

/** Renders the status page: one HTML document that loads no other resource. All text from outside is escaped. */
export function renderPage(content: PageContent): string {
  const { report, health, nextRunAt, droppedLogLines, now } = content;
  const shown = chooseLog(report, content.wanted);
  const name = shown && nameLog(shown, findSeveralLogs(report!.organizations));
  const { verdict, body } = renderContent(content, shown);
  const isOneOfMany = content.wanted !== undefined && report?.organizations.length !== 1;
  const { markup } = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<noscript><meta http-equiv="refresh" content="${RENEW_S}"></noscript>
<title>${verdict.headline} – ${name && `${name} – `}UiPath audit export</title>
<link rel="icon" href="${iconOf(verdict.level)}">
<style>${{ markup: STYLE }}</style>
<script>${{ markup: SCRIPT }}</script>
</head>
<body>
<header><p><a href="./">UiPath audit export</a></p>${isOneOfMany && html`<nav aria-label="Organizations"><a href="./">All organizations</a></nav>`}</header>
<main>
<p id="stale" class="stale" role="alert" hidden></p>
${body}
${renderProcess({ health, organization: shown?.organization, runs: shown?.runs ?? [], nextRunAt, droppedLogLines, now })}
</main>
<footer><p>As of ${renderTime(report?.readAt ?? now)}, renewed every ${RENEW_S}\u00a0s. Version ${versionText}.</p>
<nav aria-label="For machines"><a href="metrics">Metrics</a> <a href="readyz">Readiness</a> <a href="healthz">Health</a></nav></footer>
</body>
</html>
`;
  return markup;
}

function renderContent(
  content: PageContent,
  shown: OrganizationStatus | undefined,
): { verdict: Verdict; body: Html } {
  const { report, problem, wanted, activity, head, health, nextRunAt, runbookUrl, now } = content;
  const alone = (title: string, verdict: Verdict) => ({
    verdict,
    body: html`<h1>${title}</h1>${renderVerdict(verdict, runbookUrl)}`,
  });
  if (!report) return alone(wanted?.organization ?? 'Status', databaseAway(problem));
  const database = assessDatabase(report);
  const several = findSeveralLogs(report.organizations);
  const nextOf = ({ organization }: OrganizationStatus) => {
    const own = health.organizations.find((one) => one.organization === organization);
    return nextAttemptOf(own?.lastRun?.outcome === 'failed' ? own.lastRun.retry : null, nextRunAt);
  };
  const assessed = report.organizations.map((status): Assessed => {
    const circumstances = { isScheduled: nextRunAt !== undefined, next: nextOf(status) };
    const name = nameLog(status, several);
    return { name, status, verdict: assessOrganization(status, report.readAt, circumstances) };
  });
  if (wanted && !shown) return alone(wanted.organization, unknownOrganization());
  if (database && !shown) return alone('Status', database);
  if (!shown) return { verdict: assessAll(assessed), body: renderOverview(assessed, nextRunAt, now) };
  const { name, verdict } = assessed.find(({ status }) => status === shown)!;
  const next = nextOf(shown);
  const facts = { name, status: shown, verdict, activity, head, nextRunAt, next, runbookUrl };
  const body = renderOrganization({ ...facts, now: report.readAt });
  return {
    verdict: database ?? verdict,
    body: html`${database && renderVerdict(database, runbookUrl)}${body}`,
  };
}

function databaseAway(problem: string | undefined): Verdict {
  const reasons = problem === undefined ? [] : [problem];
  const headline = 'Not known: the database does not respond';
  return { level: 'bad', headline, cause: headline, reasons, topic: 'UipathAuditExportDatabaseAway' };
}

function unknownOrganization(): Verdict {
  const reasons = ['This database has no run of it; another worker may export it to another database.'];
  const headline = 'No organization of this name';
  return { level: 'attention', headline, cause: headline, reasons };
}

const ICON_COLOURS: Record<Level, string> = { good: '1a7f4b', attention: 'b77400', bad: 'c4271d' };

/** The icon of the browser tab: a dot in the colour of the state. */
function iconOf(level: Level): string {
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="#${ICON_COLOURS[level]}"/></svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
