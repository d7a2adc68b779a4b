import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { assertKnown } from '../config/config.ts';
import { readOrganizationNames, readStatus, type StatusReport } from '../postgres/read/status.ts';
import { withHelp } from '../terminal/help.ts';
import { coloursFor } from '../terminal/screen.ts';
import { describeStatus } from '../terminal/status-report.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

const HELP = {
  notes: [
    'Reads only the database, which must be the one that the worker writes to, and shows every organization in it.',
  ],
  examples: [
    'node dist/main.js status',
    "node dist/main.js status --json | jq '.organizations[].newestEventAgeMs'",
  ],
};

export function statusCommand(context: CommandContext): Command {
  const command = new Command('status').description(
    'show whether the copy is complete and current, and the last runs',
  );
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(command))).action(async (options: CommonOptions) => {
    const { envFile, organization } = options;
    await withApp(
      withLogLevel(context, envFile, 'warn'),
      { envFile, needs: 'database' },
      async ({ pool }) => {
        const report = await readStatus(pool, organization === undefined ? undefined : [organization]);
        if (organization !== undefined && report.organizations.length === 0)
          assertKnown(organization, await readOrganizationNames(pool));
        if (options.json) context.out(JSON.stringify(withOldNames(report), bigintsAsText));
        else for (const line of describeStatus(report, coloursFor(context.environment))) context.out(line);
      },
    );
  });
}

/** `lagMs` is what `newestEventAgeMs` was called up to 0.2; in metrics, lag is the time since the last success. */
function withOldNames(report: StatusReport): object {
  const organizations = report.organizations.map((one) => ({ ...one, lagMs: one.newestEventAgeMs }));
  return { ...report, organizations };
}

function bigintsAsText(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
