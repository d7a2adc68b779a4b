import { Command } from 'commander';
import { type App, type CommandContext, type OrganizationsApp, withApp } from '../app.ts';
import { runExport } from '../runs/export.ts';
import type { RunSummary } from '../runs/run.ts';
import { withHelp } from '../terminal/help.ts';
import { printNextStep } from '../terminal/next-steps.ts';
import { type Counts, createProgress } from '../terminal/progress.ts';
import { hang, printable } from '../terminal/screen.ts';
import { count, describeDuration, formatNumber } from '../text/format.ts';
import { type Failure, forEachOrganization } from './each-organization.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { prepareExport } from './prepare.ts';
import { describeStop } from './stop.ts';
import { type WaitOptions, whenFree, withWait } from './wait.ts';
import { withLogLevelForTerminal } from './with-log-level.ts';

const HELP = {
  examples: ['node dist/main.js run', 'node -- dist/main.js run --env-file production.env --json'],
};

export function runCommand(context: CommandContext): Command {
  const command = new Command('run').description('export once from the watermark, then exit');
  withHelp(command, HELP);
  return withWait(withJson(withOrganization(withEnvFile(command)))).action(
    async (options: CommonOptions & WaitOptions) => {
      const { envFile, organization } = options;
      const quiet = withLogLevelForTerminal(context, envFile);
      await withApp(quiet, { envFile, organization, needs: 'sources' }, async (app) => {
        await prepareExport(app, context.signal);
        const printer = summaryPrinter(app, context, options);
        const atOnce = app.config.export.parallelOrganizations;
        const exportOnce = app.organizations.length === 1 ? runWithProgress : runWithoutProgress;
        await forEachOrganization(app.organizations, { atOnce, onFailure: printer.failed }, async (each) => {
          printer.done(each, await whenFree(each, options, context.signal, () => exportOnce(each, context)));
        });
      });
      if (!options.json) printNextStep(context, 'status', options);
    },
  );
}

async function runWithoutProgress(app: App, { signal }: CommandContext): Promise<RunSummary> {
  let last: Counts | undefined;
  try {
    return await runExport(app, {
      kind: 'run',
      signal,
      onChunk: (counts) => {
        last = counts;
      },
    });
  } catch (error) {
    throw describeStop(error, last);
  }
}

/** For one organization only: several bars would overwrite each other. */
async function runWithProgress(app: App, { signal }: CommandContext): Promise<RunSummary> {
  const progress = createProgress(app.log, 'Export');
  try {
    const summary = await runExport(app, {
      kind: 'run',
      signal,
      onChunk: ({ done, total }) => progress.update(done, total),
    });
    progress.finish();
    return summary;
  } catch (error) {
    throw describeStop(error, progress.last);
  } finally {
    progress.stop();
  }
}

/** Prints the result of each run: a sentence, with the organization if there are several, or a line of JSON. */
export function summaryPrinter(
  { organizations }: OrganizationsApp,
  { out }: CommandContext,
  { json }: CommonOptions,
): { done(app: App, summary: RunSummary): void; failed(failure: Failure): void } {
  const isOne = organizations.length === 1;
  return {
    done({ config }, summary) {
      const { organization } = config.source;
      if (json) out(JSON.stringify({ organization, ...summary }));
      else out(`${isOne ? '' : `${organization}: `}${describeSummary(summary)}`);
    },
    // Without --json the error at the end of the command reports it.
    failed({ organization, error }) {
      if (json) out(JSON.stringify({ organization, error: error.message, code: error.code }));
    },
  };
}

/** One sentence, and a line for each warning. */
export function describeSummary({ runId, counters, warnings, durationMs }: RunSummary): string {
  const { rowsRead, inserted, updated, unchanged, rejected, late, superseded, requests, retries } = counters;
  const parts = [
    count(inserted, 'new event'),
    late > 0 && `${formatNumber(late)} of them late`,
    superseded > 0 && `${formatNumber(superseded)} stored ones superseded`,
    updated > 0 && `${formatNumber(updated)} updated`,
    unchanged > 0 && `${formatNumber(unchanged)} unchanged`,
    rejected > 0 && `${formatNumber(rejected)} rejected (audit.rejected_events)`,
  ].filter((part) => part !== false);
  const retried = retries > 0 ? ` (${formatNumber(retries)} retried)` : '';
  const cost = `${count(requests, 'request')}${retried}, ${describeDuration(durationMs)}`;
  const sentence = `Run ${runId}: ${parts.join(', ')}; ${formatNumber(rowsRead)} read in ${cost}.`;
  return [
    ...hang('', sentence),
    ...warnings.flatMap((warning) => hang('  warning: ', printable(warning))),
  ].join('\n');
}
