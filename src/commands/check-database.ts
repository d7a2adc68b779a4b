import { type CommandContext, type DatabaseApp, withApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { readMigrations } from '../postgres/migrate.ts';
import { readServer, tryWriting } from '../postgres/trial.ts';
import { type Checklist, ok } from './checklist.ts';

/** Tries the database: that it answers, has the tables or may be given them, and can be written to. Changes nothing. */
export async function checkDatabase(
  checklist: Checklist,
  context: CommandContext,
  options: { envFile: string | undefined },
): Promise<void> {
  let isOpen = false;
  try {
    await withApp(context, { ...options, needs: 'database' }, async (app) => {
      isOpen = true;
      await tryDatabase(checklist, app);
    });
  } catch (error) {
    // The embedded server did not start; anything later is no finding but a fault.
    if (isOpen || !(error instanceof ExportError) || error.code === 'interrupted') throw error;
    checklist.fail('database', error);
    await tryDatabase(checklist);
  }
}

/** Without an `app`, the checks that need the database are noted as not tried. */
export async function tryDatabase(checklist: Checklist, app?: DatabaseApp): Promise<void> {
  const { pool, config } = app ?? {};
  if (pool && config) {
    await checklist.try('database', [], async () => {
      const { version, database, user } = await readServer(pool);
      // Also refuses a server that is too old.
      await readMigrations(pool);
      const where = config.database.kind === 'url' ? '' : `, embedded in ${config.database.directory}`;
      return ok(`PostgreSQL ${version}${where}: database ${database} as user ${user}`);
    });
  }
  await checklist.try('migrations', ['database'], async () => {
    const { applied, pending } = await readMigrations(pool!);
    if (pending.length === 0) return ok(`all ${applied.length} are applied`);
    return ok(
      `${pending.length} of ${applied.length + pending.length} to apply, which start, run and backfill do`,
    );
  });
  await checklist.try('writing', ['database', 'migrations'], async () => {
    const { pending } = await readMigrations(pool!);
    await tryWriting(pool!, { hasTables: pending.length === 0 });
    return ok(
      pending.length === 0
        ? 'a row was stored and taken back; no right is missing'
        : 'a table was created and taken back',
    );
  });
}
