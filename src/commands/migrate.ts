import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { migrate, readMigrations } from '../postgres/migrate.ts';
import { type CommonOptions, withEnvFile, withJson } from './options.ts';

export function migrateCommand(context: CommandContext): Command {
  const command = new Command('migrate')
    .description('create or update the tables')
    .option('--dry-run', 'list what would be applied, and change nothing')
    .addHelpText(
      'after',
      `
start, run and backfill do this by themselves. Several processes may do it at once. All organizations share the tables, so
there is no --organization here.

Examples:
  uipath-audit-export migrate
  uipath-audit-export migrate --dry-run --json`,
    );
  return withJson(withEnvFile(command)).action(async (options: CommonOptions & { dryRun?: boolean }) => {
    await withApp(context, { envFile: options.envFile, needs: 'database' }, async ({ pool }) => {
      const names = options.dryRun ? (await readMigrations(pool)).pending : await migrate(pool);
      if (options.json) context.out(JSON.stringify(options.dryRun ? { pending: names } : { applied: names }));
      else if (names.length === 0) context.out('The tables are up to date.');
      else for (const name of names) context.out(`${options.dryRun ? 'pending' : 'applied'}  ${name}`);
    });
  });
}
