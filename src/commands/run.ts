import { Command } from 'commander';
import { type App, type CommandContext, type OrganizationsApp, withApp } from '../app.ts';
import { runExport } from '../export-run.ts';
import { migrate } from '../postgres/migrate.ts';
import type { RunSummary } from '../run.ts';
import { type Failure, forEachOrganization } from './each-organization.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';

export function runCommand(context: CommandContext): Command {
  const command = new Command('run').description('export once from the watermark, then exit').addHelpText(
    'after',
    `
Examples:
  uipath-audit-export run
  uipath-audit-export run --organization acme
  uipath-audit-export run --env-file /etc/audit-export.env --json`,
  );
  return withJson(withOrganization(withEnvFile(command))).action(async (options: CommonOptions) => {
    const { envFile, organization } = options;
    await withApp(context, { envFile, organization, needs: 'sources' }, async (app) => {
      await migrate(app.pool);
      const { signal } = context;
      const tell = tellerFor(app, context, options);
      const atOnce = app.config.export.parallelOrganizations;
      await forEachOrganization(app.organizations, { atOnce, onFailure: tell.failed }, async (each) => {
        tell.done(each, await runExport(each, { kind: 'run', signal }));
      });
    });
  });
}

/** Writes how each run ended: a line, which names the organization where there are several; or one of JSON. */
export function tellerFor(
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
    // For people the error at the end says it.
    failed({ organization, error }) {
      if (json) out(JSON.stringify({ organization, error: error.message, code: error.code }));
    },
  };
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
