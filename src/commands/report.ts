/** The evidence of one month, for an auditor. */
import { existsSync } from 'node:fs';
import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { checkReport, makeReport, parseMonth, parseReport } from '../runs/report.ts';
import { renderReport } from '../status/report-page.ts';
import { withHelp } from '../terminal/help.ts';
import { coloursFor, printable } from '../terminal/screen.ts';
import { readFile, writeFile } from './files.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

interface ReportOptions extends CommonOptions {
  month?: string;
  out?: string;
  check?: string;
  force?: boolean;
}

const HELP = {
  notes: [
    'Writes the evidence of a month (UTC) as FILE.json and as FILE.html, to print: events by day, coverage and when it was proven, gaps, ' +
      'gone events, rejected rows, failed runs, results of verify, and the ledger. With EXPORT_LEDGER_KEY_FILE the JSON is signed.',
    '--check compares such a JSON file with the database. Exits with 3 if the database contradicts it.',
  ],
  examples: [
    'node dist/main.js report --month 2026-03',
    'node dist/main.js report --check audit-report-2026-03.json',
  ],
};

export function reportCommand(context: CommandContext): Command {
  const command = new Command('report')
    .description('write or check the evidence of one month, for an auditor')
    .option('--month <month>', 'the month, as in 2026-03 (UTC)')
    .option('--out <file>', 'FILE.json or FILE.html writes one of both (default: audit-report-MONTH)')
    .option('--force', 'overwrite existing files')
    .option('--check <file>', 'compare this report with the database');
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(command))).action(async (options: ReportOptions) => {
    if (options.check !== undefined) await check(context, options.check, options);
    else await write(context, options);
  });
}

async function write(context: CommandContext, options: ReportOptions): Promise<void> {
  const { month, envFile, organization, out, force, json } = options;
  if (month === undefined)
    throw new ExportError('configuration', 'report needs --month, as in --month 2026-03, or --check FILE.');
  parseMonth(month);
  const files = filesOf(out ?? `audit-report-${month}`);
  for (const file of Object.values(files)) {
    if (!force && existsSync(file))
      throw new ExportError(
        'configuration',
        `${file} exists. Choose another --out, or overwrite it with --force.`,
      );
  }
  const signed = await withApp(
    withLogLevel(context, envFile, 'warn'),
    { envFile, needs: 'database' },
    ({ pool, config }) => makeReport(pool, { month, organization, now: new Date(), ...config.ledger }),
  );
  if (files.json) writeFile(files.json, `${JSON.stringify(signed, null, 2)}\n`);
  if (files.html) writeFile(files.html, renderReport(signed));
  const { logs } = signed.report;
  const facts = { files: Object.values(files), isSigned: signed.signature !== null };
  if (json) {
    const verdicts = logs.map(({ organization: name, log, isComplete, verdict, events }) => ({
      organization: name,
      log,
      isComplete,
      verdict,
      events,
    }));
    context.out(JSON.stringify({ ...facts, logs: verdicts }));
    return;
  }
  const colours = coloursFor(context.environment);
  for (const log of logs) {
    const mark = log.isComplete ? colours.green('✓') : colours.yellow('!');
    context.out(`${mark} ${printable(log.organization)}  ${log.verdict}`);
  }
  context.out(
    `Wrote ${facts.files.join(' and ')}${facts.isSigned ? ', signed' : ', not signed: EXPORT_LEDGER_KEY_FILE is not set'}.`,
  );
}

async function check(context: CommandContext, path: string, { envFile, json }: ReportOptions): Promise<void> {
  const report = parseReport(readFile(path).toString(), path);
  const result = await withApp(
    withLogLevel(context, envFile, 'warn'),
    { envFile, needs: 'database' },
    ({ pool, config }) => checkReport(pool, report, config.ledger.trusted),
  );
  const { differences, since, signedBy } = result;
  if (json) context.out(JSON.stringify(result));
  else {
    const colours = coloursFor(context.environment);
    const signed = signedBy.length > 0 ? `signed by ${signedBy.join(', ')}` : 'not signed';
    if (differences.length === 0)
      context.out(`${colours.green('✓')} The database contains what the report says, ${signed}.`);
    for (const difference of differences) context.out(`${colours.red('✗')} ${printable(difference)}`);
    for (const line of since) context.out(`  since: ${printable(line)}`);
  }
  if (differences.length > 0)
    throw new ExportError(
      'differences',
      `${differences.length} differences between the report and the database.`,
    );
}

function filesOf(out: string): { json?: string; html?: string } {
  if (out.endsWith('.json')) return { json: out };
  if (out.endsWith('.html')) return { html: out };
  return { json: `${out}.json`, html: `${out}.html` };
}
