import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { ClientBase } from 'pg';
import { ExportError } from '../../core/errors.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Client, connectWithoutTimeout, type Pool, type Queryable } from '../connection/pool.ts';
import { LOCK_NOT_AVAILABLE, type LockOptions, lockViews, withLockRetries } from './locks.ts';
import { requireMigrator, withClient } from './migrator.ts';
import { isMoveBegun, type MoveOptions, moveEvents } from './partition.ts';

/** PostgreSQL 16 added pg_input_is_valid, which checks untrusted JSON without failing the statement. */
const MIN_SERVER_VERSION = 160_000;

export interface MigrationState {
  applied: string[];
  pending: string[];
}

/** Reads which migrations are applied and which are pending. Writes nothing. */
export async function readMigrations(pool: Pool): Promise<MigrationState> {
  return withClient(pool, 'reading the list of migrations', readState);
}

/** Applies the pending migrations, and moves the rows of audit.events into partitions. Returns and errors: as `migrateTables`, `moveEvents`. */
export async function migrate(pool: Pool, options: LockOptions & MoveOptions = {}): Promise<string[]> {
  const names = await migrateTables(pool, options);
  await moveEvents(pool, options);
  return names;
}

/**
 * Applies the pending migrations and returns the names of those that this process applied. Safe to call from several processes at
 * once: one of them applies each migration. A move of rows that was begun (`moveEvents`) is finished first. Without pending migrations it needs no privilege to create anything. Throws
 * `configuration` if the user may not apply them, and `database-away` if other sessions hold locks that a migration needs.
 */
export async function migrateTables(pool: Pool, options: LockOptions & MoveOptions = {}): Promise<string[]> {
  const { pending } = await readMigrations(pool);
  if (pending.length === 0) return [];
  await requireMigrator(pool, pending);
  // A later migration may add columns, which the copy must have as well.
  if (await isMoveBegun(pool)) await moveEvents(pool, options);
  // Not from the pool: a migration, or the wait for another process, may take longer than the query timeout.
  let client: Awaited<ReturnType<typeof connectWithoutTimeout>> | undefined;
  try {
    client = await connectWithoutTimeout(pool);
    await createMigrationsTable(client);
    const applied: string[] = [];
    for (;;) {
      const name = await withLockRetries(pool, client, options, (limit) =>
        applyNext(client!, pending, limit),
      );
      if (name === undefined) return applied;
      applied.push(name);
    }
  } catch (error) {
    throw translateDatabaseError(error, 'applying migrations');
  } finally {
    await client?.end().catch(() => {});
  }
}

/** Changes no view, and reads all events: readers must not wait meanwhile. */
const CHANGES_NO_VIEW = '0017_constant_costs';

/**
 * Applies the next migration in one transaction that locks the list of migrations. Any login can take and keep an advisory lock;
 * this lock needs the privilege to write to the list. The lock is polled, each time in a new transaction: node-pg-migrate records
 * the start of the transaction and sorts by it.
 */
async function applyNext(
  client: Queryable,
  pending: readonly string[],
  lockTimeoutMs: number,
): Promise<string | undefined> {
  // Imported only here: it takes longer to load than all other modules, and is rarely needed.
  const { runner } = await import('node-pg-migrate');
  while (!(await beginWithLock(client))) await sleep(BUSY_POLL_MS);
  try {
    const { rows } = await client.query<{ name: string }>('select name from audit.migrations');
    const next = pending.find((name) => !rows.some((row) => row.name === name));
    if (next === undefined) return undefined;
    if (next !== CHANGES_NO_VIEW) await lockViews(client, lockTimeoutMs);
    await client.query(`set local lock_timeout = ${lockTimeoutMs}`);
    // The runner's `begin` has no effect inside this transaction; its `commit` or `rollback` ends it.
    const applied = await runner({
      dbClient: client as ClientBase,
      dir: findMigrations(),
      direction: 'up',
      count: 1,
      migrationsSchema: 'audit',
      migrationsTable: 'migrations',
      noLock: true,
      singleTransaction: true,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
    return applied[0]?.name;
  } finally {
    // Ends the transaction if there was nothing to apply.
    await client.query('rollback').catch(() => {});
  }
}

/** Begins the transaction. Returns false while another process applies a migration. */
async function beginWithLock(client: Queryable): Promise<boolean> {
  try {
    await client.query('begin; lock table audit.migrations in share row exclusive mode nowait');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== LOCK_NOT_AVAILABLE) throw error;
    await client.query('rollback');
    return false;
  }
}

/** Creates the table of node-pg-migrate; unlike there, several processes may do so at once. */
async function createMigrationsTable(client: Queryable): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { rows } = await client.query(`select to_regclass('audit.migrations') is not null as has_table`);
      if (!rows[0].has_table) await client.query(CREATE_MIGRATIONS_TABLE);
      return;
    } catch (error) {
      if (attempt === 10 || !CREATED_CONCURRENTLY.test((error as { code?: string }).code ?? '')) throw error;
    }
  }
}

const CREATE_MIGRATIONS_TABLE = `
  create schema if not exists audit;
  create table if not exists audit.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)`;
/** SQLSTATE unique_violation (in a catalog), and the three codes for an object that exists. */
const CREATED_CONCURRENTLY = /^(23505|42P06|42P07|42710)$/;
const BUSY_POLL_MS = 100;

interface Facts {
  version: number;
  text: string;
  encoding: string;
  database: string;
  has_table: boolean;
}

const FACTS = `
  select current_setting('server_version_num')::int as version, current_setting('server_version') as text,
    current_setting('server_encoding') as encoding, current_database() as database,
    to_regclass('audit.migrations') is not null as has_table`;

/** Another encoding cannot store every character, and SQL_ASCII stores bytes without checking them. */
function encodingError(database: string, encoding: string, hasTable: boolean): ExportError {
  const move = hasTable
    ? ' The events in this one can be moved: pg_dump --encoding=UTF8 writes them, and psql restores them into the new database.'
    : '';
  return new ExportError(
    'configuration',
    `The database ${database} has the encoding ${encoding}. It must be UTF8, to store the events of every language. Create another one, for ` +
      `example with: create database audit_utf8 encoding 'UTF8' template template0; and name it in DATABASE_URL.${move}`,
  );
}

async function readState(client: Client): Promise<MigrationState> {
  const { rows: facts } = await client.query<Facts>(FACTS);
  const { version, text, encoding, database, has_table: hasTable } = facts[0]!;
  if (version < MIN_SERVER_VERSION) {
    throw new ExportError(
      'configuration',
      `PostgreSQL 16 or newer is required; the server of DATABASE_URL is ${text}.`,
    );
  }
  if (encoding !== 'UTF8') throw encodingError(database, encoding, hasTable);
  const files = (await readdir(findMigrations())).filter((file) => file.endsWith('.sql')).sort();
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

/** Finds the folder `migrations` of the package. Its distance from this file differs between the sources and the bundle. */
function findMigrations(): string {
  for (let above = '.'; ; above += '/..') {
    const directory = fileURLToPath(new URL(`${above}/migrations`, import.meta.url));
    if (existsSync(directory)) return directory;
    if (directory === '/migrations') throw new Error(`No folder migrations above ${import.meta.url}`);
  }
}
