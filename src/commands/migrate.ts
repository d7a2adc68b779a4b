import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { migrateTables, readMigrations } from '../postgres/schema/migrate.ts';
import { isMovePending } from '../postgres/schema/partition.ts';
import { withHelp } from '../terminal/help.ts';
import { printNextStep } from '../terminal/next-steps.ts';
import { type CommonOptions, withEnvFile, withJson } from './options.ts';
import { moveWithProgress } from './prepare.ts';
import { withLogLevelForTerminal } from './with-log-level.ts';

const HELP = {
  notes: [
    'start, run and backfill do this too. Several processes may run it at once. All organizations share the ' +
      'tables, so there is no --organization here.',
  ],
  examples: ['node dist/main.js migrate', 'node dist/main.js migrate --dry-run --json'],
};

export function migrateCommand(context: CommandContext): Command {
  const command = new Command('migrate')
    .description('create or update the tables')
    .option('--dry-run', 'list pending migrations and change nothing');
  withHelp(command, HELP);
  return withJson(withEnvFile(command)).action(async (options: CommonOptions & { dryRun?: boolean }) => {
    const { envFile, dryRun } = options;
    await withApp(withLogLevelForTerminal(context, envFile), { envFile, needs: 'database' }, async (app) => {
      const { pool } = app;
      const { signal } = context;
      const names = dryRun ? (await readMigrations(pool)).pending : await migrateTables(pool, { signal });
      const moved = dryRun ? await isMovePending(pool) : await moveWithProgress(app, signal);
      const move = moved ? { move: 'audit.events into partitions' } : {};
      if (options.json) context.out(JSON.stringify({ [dryRun ? 'pending' : 'applied']: names, ...move }));
      else if (names.length === 0 && !moved) context.out('The tables are up to date.');
      else for (const name of names) context.out(`${dryRun ? 'pending' : 'applied'}  ${name}`);
      if (!options.json && moved)
        context.out(`${dryRun ? 'pending' : 'moved  '}  audit.events into partitions by month`);
      if (!options.json) printNextStep(context, dryRun && names.length > 0 ? 'migrate' : 'run', options);
    });
  });
}
