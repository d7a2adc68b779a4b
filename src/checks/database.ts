import { type CommandContext, type DatabaseApp, withApp } from '../app.ts';
import { ExportError, isInterrupted } from '../core/errors.ts';
import { canDelete, checkWritable, readServer } from '../postgres/connection/privileges.ts';
import { readMigrations, requireMigrator } from '../postgres/schema/migrate.ts';
import { type Checklist, ok } from './checklist.ts';

/**
 * Tries the database: that it answers, has the tables or may be given them, and can be written to. Leaves nothing behind in
 * it. Without a `context` its variables are not in order, and its checks are noted as not tried.
 */
export async function checkDatabase(
  checklist: Checklist,
  context: CommandContext | undefined,
  envFile: string | undefined,
): Promise<void> {
  if (!context) return tryDatabase(checklist, ['configuration'], undefined);
  let isOpen = false;
  try {
    await withApp(context, { envFile, needs: 'database' }, async (app) => {
      isOpen = true;
      await tryDatabase(checklist, [], app);
    });
  } catch (error) {
    // Before that, the embedded server did not start, which is a finding.
    if (isOpen || !(error instanceof ExportError) || isInterrupted(error)) throw error;
    await tryDatabase(checklist, [], undefined, error);
  }
}

async function tryDatabase(
  checklist: Checklist,
  needs: string[],
  app: DatabaseApp | undefined,
  failure?: ExportError,
): Promise<void> {
  const pool = app?.pool;
  await checklist.try('database', needs, async () => {
    if (failure) throw failure;
    const { version, database, user } = await readServer(pool!);
    // Refuses a server that is too old.
    await readMigrations(pool!);
    const { database: from } = app!.config;
    const where = from.kind === 'url' ? '' : `, embedded in ${from.directory}`;
    return ok(`PostgreSQL ${version}${where}: database ${database} as user ${user}`);
  });
  await checklist.try('migrations', ['database'], async () => {
    const { applied, pending } = await readMigrations(pool!);
    const all = applied.length + pending.length;
    if (pending.length === 0) return ok(`all ${all} are applied`);
    await requireMigrator(pool!, pending);
    const found = applied.length === 0 ? 'no tables yet' : `${pending.length} of ${all} pending`;
    return ok(`${found}; run, backfill and start take care of that by themselves`);
  });
  await checklist.try('writing', ['migrations'], async () => {
    const { pending } = await readMigrations(pool!);
    const hasTables = pending.length === 0;
    await checkWritable(pool!, { hasTables });
    if (!hasTables) return ok('a table was written and taken back');
    const rights = (await canDelete(pool!))
      ? 'this user may also rewrite and delete events: the role audit_writer is enough for the worker'
      : 'this user can neither delete events nor rewrite the ledger';
    return ok(`a row was written and taken back; ${rights}`);
  });
}
