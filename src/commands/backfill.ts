import { Command } from 'commander';
import { type App, type CommandContext, withApp } from '../app.ts';
import { runExport } from '../runs/export.ts';
import type { RunSummary } from '../runs/run.ts';
import { withHelp } from '../terminal/help.ts';
import { printNextStep } from '../terminal/next-steps.ts';
import { createProgress } from '../terminal/progress.ts';
import { forEachOrganization } from './each-organization.ts';
import {
  type CommonOptions,
  logRange,
  type Range,
  type RangeOptions,
  resolveRange,
  TIME_FORMS,
  withEnvFile,
  withJson,
  withOrganization,
  withRange,
} from './options.ts';
import { prepareExport } from './prepare.ts';
import { summaryPrinter } from './run.ts';
import { describeStop } from './stop.ts';
import { type WaitOptions, whenFree, withWait } from './wait.ts';
import { withLogLevelForTerminal } from './with-log-level.ts';

interface BackfillOptions extends CommonOptions, RangeOptions, WaitOptions {
  restart?: boolean;
}

const HELP = {
  notes: [
    'Rows that are already stored are compared, not stored twice. The watermark never moves back.',
    'A call that stopped is resumed within a day, unless another run of the log followed; after that, the next call starts anew.',
    `${TIME_FORMS} A call with --from 7d that stopped is resumed from the time that its first call meant.`,
  ],
  examples: [
    'node dist/main.js backfill',
    'node dist/main.js backfill --from 7d --wait',
    'node dist/main.js backfill --from 2026-01-01 --to 2026-02-01T00:00:00+01:00',
  ],
};

export function backfillCommand(context: CommandContext): Command {
  const command = new Command('backfill')
    .description('read the whole list or a range again; resumes an earlier call that stopped')
    .option('--restart', 'start from the beginning instead of resuming an earlier call');
  withHelp(command, HELP);
  return withWait(withJson(withOrganization(withEnvFile(withRange(command))))).action(
    async (options: BackfillOptions) => {
      const { envFile, organization } = options;
      const quiet = withLogLevelForTerminal(context, envFile);
      await withApp(quiet, { envFile, organization, needs: 'sources' }, async (app) => {
        const range = resolveRange(options, app.config.export);
        logRange(range, app.log);
        await prepareExport(app, context.signal);
        const printer = summaryPrinter(app, context, options);
        // One at a time: a single backfill already uses the whole machine.
        await forEachOrganization(
          app.organizations,
          { atOnce: 1, onFailure: printer.failed },
          async (each) => {
            const title =
              app.organizations.length > 1 ? `Backfill ${each.config.source.organization}` : 'Backfill';
            const { restart } = options;
            const summary = await whenFree(each, options, context.signal, () =>
              backfill(each, context, { ...range, restart, title }),
            );
            printer.done(each, summary);
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
  options: Partial<Range> & { restart?: boolean | undefined; title: string },
): Promise<RunSummary> {
  const { from, to, isFromBeforeNow } = options;
  const progress = createProgress(app.log, options.title);
  try {
    const summary = await runExport(app, {
      kind: 'backfill',
      signal: context.signal,
      from,
      to,
      isFromBeforeNow,
      shouldRestart: options.restart === true,
      shouldMeasure: true,
      onChunk: ({ done, total }) => progress.update(done, total),
    });
    progress.finish();
    return summary;
  } catch (error) {
    const next = options.restart ? 'the same command without --restart' : 'the same command';
    throw describeStop(error, progress.last, `Everything so far is stored; ${next} continues.`);
  } finally {
    progress.stop();
  }
}
