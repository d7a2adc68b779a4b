import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { runExport } from '../export-run.ts';
import { migrate } from '../postgres/migrate.ts';
import type { RunSummary } from '../run.ts';
import { count, describeDuration, formatNumber } from '../status/words.ts';
import { withHelp } from './help.ts';
import { tellNext } from './next.ts';
import { type CommonOptions, withEnvFile, withJson } from './options.ts';
import { createMeasure, createProgress } from './progress.ts';
import { quietlyForPeople } from './quietly.ts';
import { hang, printable } from './terminal.ts';

const HELP = {
  examples: ['uipath-audit-export run', 'uipath-audit-export run --env-file production.env --json'],
};

export function runCommand(context: CommandContext): Command {
  const command = new Command('run').description('export once from the watermark, then exit');
  withHelp(command, HELP);
  return withJson(withEnvFile(command)).action(async (options: CommonOptions) => {
    const { envFile } = options;
    const quiet = quietlyForPeople(context, envFile);
    await withApp(quiet, { envFile, needs: 'source' }, async (app) => {
      await migrate(app.pool);
      const progress = createProgress(app.log, 'Export');
      const measure = createMeasure(undefined);
      let summary: RunSummary;
      try {
        summary = await runExport(app, {
          kind: 'run',
          signal: context.signal,
          onPage: (page) => progress.update(...measure(page)),
        });
        progress.finish();
      } finally {
        progress.stop();
      }
      context.out(options.json ? JSON.stringify(summary) : describeSummary(summary));
    });
    if (!options.json) tellNext(context, 'status', options);
  });
}

/** A sentence for a person, and the warnings. */
export function describeSummary({ runId, counters, warnings, durationMs }: RunSummary): string {
  const { rowsRead, inserted, updated, unchanged, rejected, late, requests, retries } = counters;
  const parts = [
    count(inserted, 'new event'),
    late > 0 && `${formatNumber(late)} of them late`,
    updated > 0 && `${formatNumber(updated)} updated`,
    unchanged > 0 && `${formatNumber(unchanged)} unchanged`,
    rejected > 0 && `${formatNumber(rejected)} kept aside in audit.rejected_events`,
  ].filter((part) => part !== false);
  const retried = retries > 0 ? ` (${formatNumber(retries)} retried)` : '';
  const cost = `${count(requests, 'request')}${retried}, ${describeDuration(durationMs)}`;
  const sentence = `Run ${runId}: ${parts.join(', ')}; ${formatNumber(rowsRead)} read in ${cost}.`;
  return [
    ...hang('', sentence),
    ...warnings.flatMap((warning) => hang('  warning: ', printable(warning))),
  ].join('\n');
}
