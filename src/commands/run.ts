import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { runExport } from '../export-run.ts';
import type { RunSummary } from '../run.ts';
import { type CommonOptions, withEnvFile, withJson } from './options.ts';
import { prepareExport } from './prepare.ts';

export function runCommand(context: CommandContext): Command {
  const command = new Command('run').description('export once from the watermark, then exit').addHelpText(
    'after',
    `
Examples:
  uipath-audit-export run
  uipath-audit-export run --env-file /etc/audit-export.env --json`,
  );
  return withJson(withEnvFile(command)).action(async (options: CommonOptions) => {
    await withApp(context, { envFile: options.envFile, needs: 'source' }, async (app) => {
      await prepareExport(app, context.signal);
      const summary = await runExport(app, { kind: 'run', signal: context.signal });
      context.out(options.json ? JSON.stringify(summary) : describeSummary(summary));
    });
  });
}

/** One sentence for a person. */
export function describeSummary({ runId, counters, warnings, durationMs }: RunSummary): string {
  const { rowsRead, inserted, updated, unchanged, rejected, late, requests, retries } = counters;
  const rest = [
    late > 0 && `${late} of them late`,
    updated > 0 && `${updated} updated`,
    unchanged > 0 && `${unchanged} unchanged`,
    rejected > 0 && `${rejected} kept aside in audit.rejected_events`,
  ].filter((part) => part !== false);
  const cost = `${requests} request${requests === 1 ? '' : 's'}${retries > 0 ? ` (${retries} retried)` : ''}, ${(durationMs / 1000).toFixed(1)} s`;
  const warned = warnings.map((warning) => `\n  warning: ${warning}`).join('');
  return `Run ${runId}: ${inserted} new events${rest.map((part) => `, ${part}`).join('')}; ${rowsRead} read in ${cost}.${warned}`;
}
