import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { assertKnown } from '../config.ts';
import {
  type OrganizationStatus,
  type RunRecord,
  readOrganizationNames,
  readStatus,
  type StatusReport,
} from '../postgres/status.ts';
import { nameRuns, noteRuns } from '../status/run-notes.ts';
import { judgeDatabase, judgeOrganization, type Verdict } from '../status/verdict.ts';
import { count, describeDuration, describeInstant, describeWhen, formatNumber } from '../status/words.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { alignColumns, type Colours, coloursFor, hang, printable, quietly } from './terminal.ts';

export function statusCommand(context: CommandContext): Command {
  const command = new Command('status')
    .description('show how complete and current the copy is, and the last runs')
    .addHelpText(
      'after',
      `
Asks only the database, which must be the one that the worker writes to; every organization in it is shown.

Examples:
  uipath-audit-export status
  uipath-audit-export status --json | jq '.organizations[].lagMs'`,
    );
  return withJson(withOrganization(withEnvFile(command))).action(async (options: CommonOptions) => {
    const { envFile, organization } = options;
    await withApp(quietly(context, envFile, 'warn'), { envFile, needs: 'database' }, async ({ pool }) => {
      const report = await readStatus(pool, organization === undefined ? undefined : [organization]);
      if (organization !== undefined && report.organizations.length === 0)
        assertKnown(organization, await readOrganizationNames(pool));
      if (options.json) context.out(JSON.stringify(report, bigintsAsText));
      else for (const line of describeStatus(report, coloursFor(context.environment))) context.out(line);
    });
  });
}

/** The report in lines for a terminal. */
export function describeStatus(report: StatusReport, colours: Colours): string[] {
  const lines: string[] = [];
  const database = judgeDatabase(report);
  if (database) lines.push(...describeVerdict('Database', database, colours), '');
  for (const status of report.organizations) {
    const verdict = judgeOrganization(status, report.readAt);
    lines.push(...describeVerdict(status.organization, verdict, colours), '');
    lines.push(...describeFacts(status, report.readAt, colours), '');
    lines.push(...describeRuns(status.runs, verdict, report.readAt, colours), '');
  }
  if (!database)
    lines.push(colours.dim(`Migrations: ${report.migrations.applied.length} applied, none pending.`), '');
  return lines.slice(0, -1);
}

const LEVELS = {
  good: { mark: '✓', colour: 'green' },
  attention: { mark: '!', colour: 'yellow' },
  bad: { mark: '✗', colour: 'red' },
} as const;

function describeVerdict(subject: string, { level, headline, reasons }: Verdict, colours: Colours): string[] {
  const { mark, colour } = LEVELS[level];
  const first = `${colours[colour](mark)} ${colours.bold(printable(subject))}  ${colours[colour](headline)}`;
  return [first, ...reasons.flatMap((reason) => hang('  ', 2, printable(reason)))];
}

function describeFacts(status: OrganizationStatus, now: Date, colours: Colours): string[] {
  const { newestEventAt, lagMs, lastSuccessAt, sourceTotal, gapCount, watermark, coverage } = status;
  const facts: [string, string, string?][] = [
    ['Newest event', newestEventAt ? describeInstant(newestEventAt) : 'none yet', lag(lagMs)],
    ['Watermark', watermark?.raw ?? 'none yet'],
    [
      'Last success',
      lastSuccessAt ? describeInstant(lastSuccessAt) : 'none yet',
      lastSuccessAt ? describeWhen(lastSuccessAt, now) : undefined,
    ],
    ['Events stored', formatNumber(status.stored)],
    ['Events at source', sourceTotal === null ? 'not known' : formatNumber(sourceTotal), 'as it last said'],
    ...coverage.map((range, i): [string, string, string] => [
      i === 0 ? 'Complete' : '',
      `${describeInstant(range.from)} to ${describeInstant(range.to)}`,
      `proven ${describeWhen(range.provenAt, now)}`,
    ]),
    ['Rejected rows', formatNumber(status.rejected)],
    ['Gaps', formatNumber(gapCount)],
  ];
  return facts.map(([name, value, note]) => {
    const plain = `  ${colours.dim(name.padEnd(18))}${printable(value)}`;
    return note === undefined ? plain : `${plain}  ${colours.dim(`(${note})`)}`;
  });
}

function lag(lagMs: number | null): string | undefined {
  return lagMs === null ? undefined : `lag ${describeDuration(lagMs)}`;
}

const COLUMNS = [
  { title: '  Run' },
  { title: 'Kind' },
  { title: 'Started' },
  { title: 'Took', isNumber: true },
  { title: 'Outcome' },
  ...['New', 'Upd', 'Same', 'Rej', 'Late', 'Pages', 'Req', 'Retry'].map((title) => ({
    title,
    isNumber: true,
  })),
];

function describeRuns(
  runs: readonly RunRecord[],
  { reasons }: Verdict,
  now: Date,
  colours: Colours,
): string[] {
  const rows = runs.map((run) => {
    const { inserted, updated, unchanged, rejected, late, pages, requests, retries } = run.counters;
    const numbers = [inserted, updated, unchanged, rejected, late, pages, requests, retries];
    return [
      `  ${run.runId}`,
      run.kind,
      describeWhen(run.startedAt, now),
      describeDuration((run.endedAt ?? now).getTime() - run.startedAt.getTime()),
      describeOutcome(run.outcome, colours),
      ...numbers.map(formatNumber),
    ];
  });
  const notes = noteRuns(runs, reasons).flatMap((note) => {
    const mark = note.isError ? colours.red('✗') : colours.yellow('!');
    const name = nameRuns(note);
    return hang(`  ${mark} ${name}: `, name.length + 6, printable(note.text));
  });
  return [
    `  ${colours.bold(`Last ${count(runs.length, 'run')}`)}`,
    ...alignColumns(COLUMNS, rows, colours),
    ...notes,
  ];
}

function describeOutcome(outcome: RunRecord['outcome'], colours: Colours): string {
  if (outcome === null) return 'under way';
  if (outcome === 'succeeded') return colours.green(outcome);
  return outcome === 'interrupted' ? colours.yellow(outcome) : colours.red(outcome);
}

function bigintsAsText(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
