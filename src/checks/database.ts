import { resolve } from 'node:path';
import { type CommandContext, type DatabaseApp, withApp } from '../app.ts';
import { ExportError, isInterrupted } from '../core/errors.ts';
import { canDelete, checkWritable } from '../postgres/connection/privileges.ts';
import { readServer } from '../postgres/connection/server.ts';
import { readMigrations } from '../postgres/schema/migrate.ts';
import { requireMigrator } from '../postgres/schema/migrator.ts';
import { isMovePending } from '../postgres/schema/partition.ts';
import { type Checklist, ok, warning } from './checklist.ts';

/**
 * Tests that the database responds, has the tables or lets this user create them, and accepts writes. Changes nothing in it.
 * Without a `context`, which means invalid variables, it skips these checks.
 */
export async function checkDatabase(
  checklist: Checklist,
  context: CommandContext | undefined,
  envFile: string | undefined,
): Promise<void> {
  if (!context) return runDatabaseChecks(checklist, ['configuration'], undefined);
  let isOpen = false;
  try {
    await withApp(context, { envFile, needs: 'database' }, async (app) => {
      isOpen = true;
      await runDatabaseChecks(checklist, [], app);
    });
  } catch (error) {
    // The embedded server did not start: that is a result of the check.
    if (isOpen || !(error instanceof ExportError) || isInterrupted(error)) throw error;
    await runDatabaseChecks(checklist, [], undefined, error);
  }
}

async function runDatabaseChecks(
  checklist: Checklist,
  needs: string[],
  app: DatabaseApp | undefined,
  failure?: ExportError,
): Promise<void> {
  const pool = app?.pool;
  await checklist.run('database', needs, async () => {
    if (failure) throw failure;
    const { version, database, user, encryption, warnings } = await readServer(pool!);
    // Throws when the server is too old or the encoding of the database is not UTF8.
    await readMigrations(pool!);
    const { database: from } = app!.config;
    const where = from.kind === 'url' ? '' : `, embedded in ${resolve(from.directory)}`;
    const found = `PostgreSQL ${version}${where}: database ${database} as user ${user}, ${encryption.found}`;
    const advice = [
      ...(from.kind === 'url'
        ? []
        : ['DATABASE_URL is not set, so the events go there. Set it to use your PostgreSQL.']),
      ...(encryption.advice === undefined ? [] : [encryption.advice]),
      ...warnings,
    ];
    return advice.length === 0 ? ok(found) : warning([found, ...advice].join('\n'));
  });
  await checklist.run('migrations', ['database'], async () => {
    const { applied, pending } = await readMigrations(pool!);
    const all = applied.length + pending.length;
    if (pending.length === 0) {
      const found = `all ${all} are applied`;
      if (!(await isMovePending(pool!))) return ok(found);
      return warning(
        `${found}\naudit.events is not partitioned by month yet. Run migrate as the owner of the tables.`,
      );
    }
    await requireMigrator(pool!, pending);
    const found = applied.length === 0 ? 'no tables yet' : `${pending.length} of ${all} pending`;
    return ok(`${found}; run, backfill and start apply them`);
  });
  await checklist.run('writing', ['migrations'], async () => {
    const { pending } = await readMigrations(pool!);
    const hasTables = pending.length === 0;
    await checkWritable(pool!, { hasTables });
    if (!hasTables) return ok('a test table was created and rolled back');
    const rights = (await canDelete(pool!))
      ? 'this user may also rewrite and delete events: the role audit_writer is enough for the worker'
      : 'this user can neither delete events nor rewrite the ledger';
    return ok(`a test row was written and rolled back; ${rights}`);
  });
}
