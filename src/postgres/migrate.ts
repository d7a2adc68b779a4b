import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ExportError } from '../core/errors.ts';
import { translateDatabaseError } from './errors.ts';
import { type Client, createPatientClient, type Pool } from './pool.ts';

const DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url));
/** pg_input_is_valid, which reads untrusted JSON without failing the statement, came with PostgreSQL 16. */
const OLDEST_SERVER = 160_000;

export interface MigrationState {
  applied: string[];
  pending: string[];
}

/** Which migrations the database has, and which it lacks. Writes nothing. */
export async function readMigrations(pool: Pool): Promise<MigrationState> {
  return withClient(pool, 'reading the list of migrations', readState);
}

/**
 * Applies what is pending, and gives their names. Several processes may start at once: one applies, the others wait.
 * Needs no right to create anything when nothing is pending; throws `configuration` when something is and it may not.
 */
export async function migrate(pool: Pool): Promise<string[]> {
  const { pending } = await readMigrations(pool);
  if (pending.length === 0) return [];
  await requireMigrator(pool, pending);
  // Not of the pool: waiting for another process, and a migration, may take longer than a query of a run may.
  const client = createPatientClient(pool);
  try {
    await client.connect();
    // Loaded only here: it takes longer than all else that a start loads, and is hardly ever needed.
    const { runner } = await import('node-pg-migrate');
    const applied = await runner({
      dbClient: client,
      dir: DIRECTORY,
      direction: 'up',
      migrationsSchema: 'audit',
      migrationsTable: 'migrations',
      createMigrationsSchema: true,
      advisoryLockMode: 'wait',
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    return applied.map(({ name }) => name);
  } catch (error) {
    throw translateDatabaseError(error, 'applying migrations');
  } finally {
    await client.end().catch(() => {});
  }
}

/** Throws `configuration`, with who may, when the user of `pool` may not apply what is pending. */
export async function requireMigrator(pool: Pool, pending: readonly string[]): Promise<void> {
  const { rows } = await withClient(pool, 'looking for the owner of the tables', (client) =>
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

/** The owner of schema `audit` may migrate; while there is none, whoever may create it. */
const MIGRATOR = `
  select current_user as user,
    pg_get_userbyid(coalesce(nspowner, datdba)) as owner,
    case when nspowner is null then has_database_privilege(datname, 'create') else pg_has_role(nspowner, 'usage') end
      as may_migrate
  from pg_database left join pg_namespace on nspname = 'audit'
  where datname = current_database()`;

async function readState(client: Client): Promise<MigrationState> {
  const { rows: facts } = await client.query<{ version: number; text: string; has_table: boolean }>(
    `select current_setting('server_version_num')::int as version, current_setting('server_version') as text,
            to_regclass('audit.migrations') is not null as has_table`,
  );
  const { version, text, has_table: hasTable } = facts[0]!;
  if (version < OLDEST_SERVER) {
    throw new ExportError(
      'configuration',
      `PostgreSQL 16 or newer is needed; DATABASE_URL leads to ${text}.`,
    );
  }
  const files = (await readdir(DIRECTORY)).filter((file) => file.endsWith('.sql')).sort();
  const known = files.map((file) => file.slice(0, -'.sql'.length));
  const applied = hasTable
    ? (await client.query<{ name: string }>('select name from audit.migrations order by id')).rows
    : [];
  const names = applied.map(({ name }) => name);
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new ExportError(
      'configuration',
      `The database was migrated by a newer version of this program: it has ${unknown.join(', ')}. Run that version.`,
    );
  }
  return { applied: names, pending: known.filter((name) => !names.includes(name)) };
}

async function withClient<T>(pool: Pool, doing: string, work: (client: Client) => Promise<T>): Promise<T> {
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
    // A migration that fails leaves its connection in an aborted transaction, with the lock: it is ended.
    client?.release(hasFailed);
  }
}
