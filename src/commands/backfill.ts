import { Command } from 'commander';
import { type App, type CommandContext, withApp } from '../app.ts';
import { runExport } from '../runs/export.ts';
import type { RunSummary } from '../runs/run.ts';
import { withHelp } from '../terminal/help.ts';
import { printNextStep } from '../terminal/next-steps.ts';
import { createProgress } from '../terminal/progress.ts';
import { forEachOrganization } from './each-organization.ts';
import {
  assertRange,
  type CommonOptions,
  type RangeOptions,
  withEnvFile,
  withJson,
  withOrganization,
  withRange,
} from './options.ts';
import { prepareExport } from './prepare.ts';
import { summaryPrinter } from './run.ts';
import { withLogLevelForTerminal } from './with-log-level.ts';

interface BackfillOptions extends CommonOptions, RangeOptions {
  restart?: boolean;
}

const HELP = {
  notes: [
    'Rows that are already stored are compared, not stored twice. The watermark never moves back.',
    'A call that stopped is resumed within a day, unless another run of the log followed; after that, the next call starts anew.',
    'A date means midnight UTC; a time needs an offset or Z.',
  ],
  examples: [
    'node dist/main.js backfill',
    'node dist/main.js backfill --from 2026-01-01 --to 2026-02-01T00:00:00+01:00',
  ],
};

export function backfillCommand(context: CommandContext): Command {
  const command = new Command('backfill')
    .description('read the whole list or a range again; resumes an earlier call that stopped')
    .option('--restart', 'start from the beginning instead of resuming an earlier call');
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(withRange(command)))).action(
    async (options: BackfillOptions) => {
      assertRange(options);
      const { envFile, organization } = options;
      const quiet = withLogLevelForTerminal(context, envFile);
      await withApp(quiet, { envFile, organization, needs: 'sources' }, async (app) => {
        await prepareExport(app, context.signal);
        const printer = summaryPrinter(app, context, options);
        // One at a time: a single backfill already uses the whole machine.
        await forEachOrganization(
          app.organizations,
          { atOnce: 1, onFailure: printer.failed },
          async (each) => {
            const title =
              app.organizations.length > 1 ? `Backfill ${each.config.source.organization}` : 'Backfill';
            printer.done(each, await backfill(each, context, { ...options, title }));
          },
        );
      });
      if (!options.json) printNextStep(context, 'verify', options);
    },
  );
}

/** Runs one backfill with a progress bar; also for the demo. The tables must exist. */
export async function backfill(
  app: App,
  context: CommandContext,
  options: BackfillOptions & { title: string },
): Promise<RunSummary> {
  const { from, to } = options;
  const progress = createProgress(app.log, options.title);
  try {
    const summary = await runExport(app, {
      kind: 'backfill',
      signal: context.signal,
      from,
      to,
      shouldRestart: options.restart === true,
      shouldMeasure: true,
      onChunk: ({ done, total }) => progress.update(done, total),
    });
    progress.finish();
    return summary;
  } finally {
    progress.stop();
  }
}
