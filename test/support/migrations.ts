/** A database as an older version left it. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { ROOT } from './root.ts';

const DIRECTORY = join(ROOT, 'migrations');

/** Names of all migrations, in order. */
export const MIGRATIONS: readonly string[] = readdirSync(DIRECTORY)
  .filter((file) => file.endsWith('.sql'))
  .map((file) => file.slice(0, -'.sql'.length))
  .sort();

/** Those before the one that is named. */
export function migrationsBefore(name: string): readonly string[] {
  return MIGRATIONS.filter((other) => other < name);
}

/** Applies the first `count` migrations that the database lacks. */
export async function applyMigrations(url: string, count: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await runner({
      dbClient: client,
      dir: DIRECTORY,
      count,
      direction: 'up',
      migrationsSchema: 'audit',
      migrationsTable: 'migrations',
      createMigrationsSchema: true,
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    });
  } finally {
    await client.end();
  }
}
