import { Command } from 'commander';
import { type App, type CommandContext, withApp } from '../app.ts';
import { newCounters } from '../core/export.ts';
import { locate } from '../core/locate.ts';
import { runExport } from '../export-run.ts';
import {
  assertRange,
  type CommonOptions,
  type RangeOptions,
  withEnvFile,
  withJson,
  withRange,
} from './options.ts';
import { prepareExport } from './prepare.ts';
import { createMeasure, createProgress } from './progress.ts';
import { describeSummary } from './run.ts';

interface BackfillOptions extends CommonOptions, RangeOptions {
  restart?: boolean;
}

export function backfillCommand(context: CommandContext): Command {
  const command = new Command('backfill')
    .description('read the whole list, or a range of it, again; goes on where an earlier call stopped')
    .option('--restart', 'begin anew, even where an earlier call stopped half-way')
    .addHelpText(
      'after',
      `
Rows that are stored already are compared, not doubled. The watermark never moves back.
A date alone is its midnight in UTC; a time needs its offset, or Z.

Examples:
  uipath-audit-export backfill
  uipath-audit-export backfill --from 2026-01-01 --to 2026-02-01T00:00:00+01:00`,
    );
  return withJson(withEnvFile(withRange(command))).action(async (options: BackfillOptions) => {
    await withApp(context, { envFile: options.envFile, needs: 'source' }, (app) =>
      backfill(app, context, options),
    );
  });
}

/** Exported for the demo, which shows the same bar. */
export async function backfill(app: App, context: CommandContext, options: BackfillOptions): Promise<void> {
  const { from, to } = options;
  assertRange(options);
  await prepareExport(app, context.signal);
  const end =
    to === undefined
      ? undefined
      : await locate(app.source, to, { meter: newCounters(), signal: context.signal });
  const progress = createProgress(app.log, 'Backfill');
  const measure = createMeasure(end?.skip);
  try {
    const summary = await runExport(app, {
      kind: 'backfill',
      signal: context.signal,
      from,
      to,
      shouldRestart: options.restart === true,
      onPage: (page) => progress.update(...measure(page)),
    });
    progress.stop();
    context.out(options.json ? JSON.stringify(summary) : describeSummary(summary));
  } finally {
    progress.stop();
  }
}
