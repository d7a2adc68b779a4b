/** Dashboards that read while migrations are applied: they wait, and none of their queries fails. */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const DUMP = new URL('../../fixtures/database-0.1.0.sql', import.meta.url);
/** Between two queries of one reader. */
const PAUSE_MS = 20;
const VIEWS = `select oid::regclass::text as name from pg_class where relkind = 'v' and relnamespace = 'bi'::regnamespace order by 1`;

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool(database.url, () => {});
  await pool.query(readFileSync(DUMP, 'utf8'));
});
afterAll(async () => {
  await pool?.end();
  await database?.drop();
});

test('no query on the views fails, alone or joined in either order', async () => {
  const { rows } = await pool.query<{ name: string }>(VIEWS);
  const names = rows.map(({ name }) => name);
  const queries = [
    ...names.map((name) => `select * from ${name} limit 1`),
    'select from bi.coverage, bi.export_health limit 1',
    'select from bi.export_health, bi.coverage limit 1',
    'select from bi.runs, bi.logins limit 1',
    'select from bi.logins, bi.runs limit 1',
  ];
  let isDone = false;
  let done = 0;
  const failures = new Set<string>();
  const readers = queries.map(async (query) => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    while (!isDone) {
      await client.query(query).then(
        () => done++,
        ({ code, message }) => failures.add(`${query}: ${code} ${message}`),
      );
      await setTimeout(PAUSE_MS);
    }
    await client.end();
  });
  await migrate(pool).finally(() => (isDone = true));
  await Promise.all(readers);
  expect([...failures]).toEqual([]);
  expect(done).toBeGreaterThan(queries.length);
}, 120_000);
