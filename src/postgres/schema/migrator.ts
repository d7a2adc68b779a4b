/** Who may change the tables. */
import { ExportError } from '../../core/errors.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Client, Pool } from '../connection/pool.ts';

/** Throws `configuration`, with the name of the owner, if the user of `pool` may not apply the pending migrations. */
export async function requireMigrator(pool: Pool, pending: readonly string[]): Promise<void> {
  const { rows } = await withClient(pool, 'reading the owner of the tables', (client) =>
    client.query<{ user: string; owner: string; may_migrate: boolean }>(MIGRATOR),
  );
  const { user, owner, may_migrate: mayMigrate } = rows[0]!;
  if (mayMigrate) return;
  throw new ExportError(
    'configuration',
    `The database lacks ${pending.join(', ')}, and ${user}, the user of DATABASE_URL, may not change its tables. Run ` +
      `\`node dist/main.js migrate\` once with a DATABASE_URL of ${owner}, who may, and then this command again.`,
  );
}

/** The owner of schema `audit` may migrate; before it exists, each user that may create it. */
const MIGRATOR = `
  select current_user as user,
    pg_get_userbyid(coalesce(nspowner, datdba)) as owner,
    case when nspowner is null then has_database_privilege(datname, 'create') else pg_has_role(nspowner, 'usage') end
      as may_migrate
  from pg_database left join pg_namespace on nspname = 'audit'
  where datname = current_database()`;

/** Runs `work` on a connection of the pool. `doing` names it in error messages. */
export async function withClient<T>(
  pool: Pool,
  doing: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  let client: Client | undefined;
  let hasFailed = true;
  try {
    client = await pool.connect();
    const result = await work(client);
    hasFailed = false;
    return result;
  } catch (error) {
    throw translateDatabaseError(error, doing);
  } finally {
    // After an error the connection may be in an aborted transaction, so it is closed.
    client?.release(hasFailed);
  }
}
