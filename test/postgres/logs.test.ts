/** The migration to logs, on a database that version 0.1.0 has filled, and with a worker of 0.1.0 still running. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { applyMigrations, migrationsBefore } from '../support/migrations.ts';
import { expectCounted } from '../support/roll-ups.ts';
import { type OldWorker, openOldWorker } from '../support/version-0.1.0.ts';

const OTHER = 'other org';

let database: TestDatabase;
let worker: OldWorker;
let openRun: string;
let sql: pg.Client;

beforeEach(async () => {
  database = await createTestDatabase();
  await applyMigrations(database.url, migrationsBefore('0009_logs').length);
  worker = await openOldWorker(database.url, 'acme');
  const run = await worker.begin();
  await worker.commit(run, days(0, 60), { rejected: '{"createdOn": "yesterday"}' });
  // A change of an entry before, late rows, and a gap.
  await worker.commit(run, [
    { createdOn: dayAt(3), userName: 'Renamed' },
    { createdOn: dayAt(61), userName: null },
  ]);
  await worker.commit(run, [...days(5.5, 2), ...days(90, 3)]);
  await worker.end(run);
  openRun = await worker.begin();
  await worker.commit(openRun, days(100, 2));
  const other = await openOldWorker(database.url, OTHER);
  await other.commit(await other.begin(), days(0, 3));
  await other.client.end();
  sql = new pg.Client({ connectionString: database.url });
  await sql.connect();
});
afterEach(async () => {
  await sql.end();
  await worker.client.end();
  await database.drop();
});

function dayAt(day: number): Date {
  return new Date(Date.UTC(2026, 0, 1) + day * 86_400_000);
}

function days(first: number, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    createdOn: dayAt(first + i),
    userName: `User ${i % 3}`,
  }));
}

const migrateOne = () => applyMigrations(database.url, 1);

async function query(text: string): Promise<Record<string, unknown>[]> {
  return (await sql.query(text)).rows;
}

/** All rows of all tables, and the columns, comments and grants of the views. */
async function readAll() {
  const tables = await query(
    `select oid::regclass::text as name from pg_class where relnamespace = 'audit'::regnamespace and relkind = 'r'
       and relname <> 'migrations' order by 1`,
  );
  const rows: Record<string, unknown[]> = {};
  for (const { name } of tables) {
    const read = await query(`select (to_jsonb(t) - 'log')::text as row from ${name} t order by 1`);
    rows[name as string] = read.map(({ row }) => row);
  }
  const views = await query(
    `select v.name, (select json_agg(to_jsonb(c) - 'ordinal_position' order by ordinal_position) from information_schema.columns c
       where table_schema || '.' || table_name = v.name and column_name <> 'log') as columns,
       relacl::text, obj_description(v.oid) as comment,
       (select array_agg(col_description(v.oid, attnum) order by attnum) from pg_attribute
        where attrelid = v.oid and attname <> 'log') as comments
     from (select oid, oid::regclass::text as name, relacl from pg_class
       where relnamespace = 'bi'::regnamespace and relkind = 'v') v order by 1`,
  );
  return { rows, views };
}

describe('the migration to logs', () => {
  test('keeps every row, digest, grant and column, and gives all of them to log classic', async () => {
    const before = await readAll();
    expect(Object.values(before.rows).every((rows) => rows.length > 0)).toBe(true);
    await migrateOne();
    const after = await readAll();
    // Its worker has been ended.
    const ofRuns = { 'audit.runs': expect.anything() };
    expect({ ...after.rows, ...ofRuns }).toEqual({ ...before.rows, ...ofRuns });
    const said = ['bi.users', 'bi.user_actions', 'bi.login_hours', 'bi.export_health'];
    for (const [i, view] of after.views.entries()) {
      const comment = said.includes(view.name as string)
        ? expect.stringContaining('log')
        : before.views[i]!.comment;
      expect(view).toEqual({ ...before.views[i], comment });
    }
    for (const name of Object.keys(after.rows))
      expect([name, await query(`select distinct log from ${name}`)]).toEqual([name, [{ log: 'classic' }]]);
    for (const { name } of after.views) await query(`select log from ${name}`);
    await expectCounted({ query });
  });

  test('rewrites no table', async () => {
    const files = () =>
      query(`select relname, relfilenode, reltoastrelid from pg_class where relnamespace = 'audit'::regnamespace
        and relkind = 'r' and relname <> 'migrations' order by 1`);
    const before = await files();
    await migrateOne();
    expect(await files()).toEqual(before);
  });

  test('keeps views of users on the views of schema bi', async () => {
    await query(`create schema mine; create view mine.logins as select * from bi.unusual_logins;
      create materialized view mine.days as select day, sum(events) from bi.activity_by_day group by day`);
    await migrateOne();
    await query('refresh materialized view mine.days');
    expect(await query('select count(*)::int as days from mine.days')).toEqual([{ days: 66 }]);
  });

  test('refuses the next commit of a worker of 0.1.0, which stores nothing of it', async () => {
    await migrateOne();
    const before = await readAll();
    await expect(worker.commit(openRun, days(110, 2))).rejects.toThrow('fenced');
    expect(await readAll()).toEqual(before);
    expect(await query(`select outcome, error from audit.runs where run_id = ${openRun}`)).toEqual([
      { outcome: 'abandoned', error: expect.stringContaining('its worker is of an older version') },
    ]);
  });

  test('refuses each new run of a worker of 0.1.0', async () => {
    await migrateOne();
    const before = await readAll();
    await expect(worker.begin()).rejects.toMatchObject({ code: '23502', table: 'runs', column: 'log' });
    expect(await readAll()).toEqual(before);
  });

  test('waits for the commit that a worker of 0.1.0 has begun, and keeps it', async () => {
    await worker.client.query('begin');
    await worker.client.query(`update audit.events set message = 'in time' where created_on = '2026-01-01Z'`);
    const migrating = migrateOne();
    await sleep(200);
    await worker.client.query('commit');
    await migrating;
    expect(await query(`select log from audit.events where message = 'in time'`)).toHaveLength(2);
  });

  test('waits for a dashboard without blocking other sessions', async () => {
    const reader = new pg.Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('begin');
    await reader.query('select count(*) from bi.events');
    const pool = createPool(database.url, () => {});
    const migrating = migrate(pool, { lockTimeoutMs: 200, attempts: 1000 });
    let isDone = false;
    void migrating.finally(() => {
      isDone = true;
    });
    // Longer than some attempts.
    for (let attempt = 0; attempt < 15; attempt++) {
      await worker.client.query('select count(*) from bi.events');
      await sleep(100);
    }
    expect(isDone).toBe(false);
    await reader.query('commit');
    await migrating;
    await reader.end();
    await pool.end();
  });
});
