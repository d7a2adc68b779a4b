/** Dashboards that read while migrations are applied and rows are moved: they wait, and none of their queries fails. */
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { applyMigrations } from '../../support/migrations.ts';

const DUMP = new URL('../../fixtures/database-0.1.0.sql', import.meta.url);
/** Between two queries of one reader. */
const PAUSE_MS = 50;
const VIEWS = `select oid::regclass::text as name from pg_class where relkind = 'v' and relnamespace = 'bi'::regnamespace order by 1`;

let database: TestDatabase;
let pool: Pool;
let clients: pg.Client[];

beforeEach(async () => {
  database = await createTestDatabase();
  clients = [];
  pool = createPool(database.url, () => {});
  await pool.query(readFileSync(DUMP, 'utf8'));
});
afterEach(async () => {
  for (const client of clients) await client.end();
  await pool?.end();
  await database?.drop();
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  clients.push(client);
  await client.connect();
  return client;
}

/** Of new sessions. One try to lock the views takes a part of it. */
function setDeadlockTimeout(duration: string): Promise<unknown> {
  return pool.query(
    `alter database ${new URL(database.url).pathname.slice(1)} set deadlock_timeout = '${duration}'`,
  );
}

/** Repeats each query on a connection of its own while `work` goes on. Returns how many were done, and what failed. */
async function read(queries: readonly string[], work: () => Promise<unknown>, pauseMs = PAUSE_MS) {
  let isDone = false;
  let done = 0;
  const failures = new Set<string>();
  const readers = queries.map(async (query) => {
    const client = await connect();
    while (!isDone) {
      await client.query(query).then(
        () => done++,
        ({ code, message }) => failures.add(`${query}: ${code} ${message}`),
      );
      await setTimeout(pauseMs);
    }
  });
  await work().finally(() => {
    isDone = true;
  });
  await Promise.all(readers);
  return { done, failures: [...failures] };
}

test('no query on the views fails, alone or joined in either order, also behind a view of another schema', async () => {
  await pool.query(`create schema mine;
    create view mine.health as select h.organization from bi.export_health h, bi.logins l;
    create view mine.runs as select r.run_id from audit.runs r, mine.health`);
  // On a busy machine a session may not run for a second, after which PostgreSQL looks for deadlocks.
  await setDeadlockTimeout('5s');
  const { rows } = await pool.query<{ name: string }>(VIEWS);
  const queries = [
    ...rows.map(({ name }) => `select * from ${name} limit 1`),
    'select from bi.coverage, bi.export_health limit 1',
    'select from bi.export_health, bi.coverage limit 1',
    'select from bi.runs, bi.logins limit 1',
    'select from bi.logins, bi.runs limit 1',
    'select from bi.events, bi.logins limit 1',
    'select from bi.administrative_changes, bi.logins limit 1',
    'select from mine.runs limit 1',
    'select from mine.health limit 1',
  ];
  // Long enough for the short tries, in which no query fails, on a busy machine.
  const { done, failures } = await read(queries, () => migrate(pool, { lockTimeoutMs: 60_000 }));
  expect(failures).toEqual([]);
  expect(done).toBeGreaterThan(queries.length);
}, 120_000);

test('slow queries that never pause do not keep the migrations from their locks', async () => {
  await applyMigrations(database.url, 9);
  // Tries of 40 ms: hardly one finds a moment without a query.
  await setDeadlockTimeout('100ms');
  const slow = (seconds: number) => `select 1 from (select count(*) from bi.events) x, pg_sleep(${seconds})`;
  const { done, failures } = await read(
    [slow(1), slow(1.37)],
    async () => {
      await setTimeout(250);
      expect(await migrate(pool, { lockTimeoutMs: 6_000 })).toEqual([
        '0017_constant_costs',
        '0018_partitions',
      ]);
    },
    0,
  );
  expect(failures).toEqual([]);
  expect(done).toBeGreaterThan(4);
}, 120_000);

test('a view that is dropped meanwhile, or that reads itself, is no obstacle', async () => {
  await pool.query(`create view bi.mine as select * from audit.runs;
    create view bi.a as select 1 as x; create view bi.b as select * from bi.a; create or replace view bi.a as select * from bi.b`);
  const client = await connect();
  await client.query('begin; drop view bi.mine');
  await setDeadlockTimeout('30s');
  const migrating = migrate(pool, { lockTimeoutMs: 60_000 });
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query ~ 'bi.mine'`;
  while ((await pool.query(waiting)).rowCount === 0) await setTimeout(10);
  await client.query('commit');
  expect((await migrating).at(-1)).toBe('0018_partitions');
}, 120_000);

test('views that an administrator dropped do not stop the migrations', async () => {
  await pool.query('drop view bi.logins cascade; drop view bi.rejected_events');
  await migrate(pool);
  const { rows } = await pool.query<{ name: string }>(VIEWS);
  expect(rows.map(({ name }) => name)).toEqual(expect.arrayContaining(['bi.logins', 'bi.unusual_logins']));
}, 120_000);
