import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { migrate, readMigrations } from '../../../src/postgres/schema/migrate.ts';
import {
  createTestDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../../support/database.ts';
import { applyMigrations } from '../../support/migrations.ts';

const ALL = [
  '0001_audit_tables',
  '0002_bi_views',
  '0003_ledger_and_coverage',
  '0004_roles',
  '0005_quiet_runs',
  '0006_daily_activity',
  '0007_bi',
  '0008_lease',
  '0009_logs',
  '0010_resume',
  '0011_comments',
  '0012_completeness',
  '0013_ledger_format_2',
  '0014_verifications',
  '0015_superseded',
  '0016_run_history',
  '0017_constant_costs',
  '0018_partitions',
];
/** Those of version 0.1.0. */
const OLD_COUNT = ALL.indexOf('0007_bi') + 1;

let database: TestDatabase;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  database = await emptyDatabase();
});
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

async function emptyDatabase(): Promise<TestDatabase> {
  const created = await createTestDatabase();
  closers.push(() => created.drop());
  return created;
}

function poolOf(url: string): Pool {
  const pool = createPool(url, () => {});
  closers.push(() => pool.end());
  return pool;
}

/** A role that may log in and connect, with the privileges of `memberOf`; dropped at the end. */
async function createLogin(memberOf?: string): Promise<TestLogin> {
  const login = await createTestLogin(database, memberOf);
  closers.push(() => login.drop());
  return login;
}

describe('migrating', () => {
  test('lists what is pending and writes nothing', async () => {
    const pool = poolOf((await emptyDatabase()).url);
    expect(await readMigrations(pool)).toEqual({ applied: [], pending: ALL });
    const { rows } = await pool.query(`select nspname from pg_namespace where nspname in ('audit', 'bi')`);
    expect(rows).toEqual([]);
  });

  test('by ten concurrent workers is done once', async () => {
    const pools = Array.from({ length: 10 }, () => poolOf(database.url));
    const applied = await Promise.all(pools.map((pool) => migrate(pool)));
    expect(applied.flat().sort()).toEqual(ALL);
    expect(await readMigrations(pools[0]!)).toEqual({ applied: ALL, pending: [] });
  });

  test('again applies nothing', async () => {
    expect(await migrate(poolOf(database.url))).toEqual([]);
  });

  test('needs no right to create anything when nothing is pending', async () => {
    const admin = poolOf(database.url);
    const { name, url } = await createLogin();
    await admin.query(`grant usage on schema audit to ${name}; grant select on audit.migrations to ${name}`);
    const pool = poolOf(url);
    expect(await migrate(pool)).toEqual([]);
    await expect(pool.query('create table audit.mine ()')).rejects.toMatchObject({ code: '42501' });
  });

  test('by a role without read access reports the missing privilege', async () => {
    const { url } = await createLogin();
    await expect(migrate(poolOf(url))).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('permission denied for schema audit'),
    });
  });

  test('by the owner of an empty database works without the right to create roles', async () => {
    const { name, url } = await createLogin();
    const empty = await emptyDatabase();
    await poolOf(empty.url).query(`alter database ${new URL(empty.url).pathname.slice(1)} owner to ${name}`);
    const own = new URL(url);
    own.pathname = new URL(empty.url).pathname;
    expect(await migrate(poolOf(own.href))).toEqual(ALL);
  });

  test('refuses a database that a newer version has migrated', async () => {
    const pool = poolOf(database.url);
    await pool.query(
      `insert into audit.migrations (name, run_on) values ('0099_later', '2026-01-02T03:04:05Z')`,
    );
    try {
      for (const attempt of [migrate, readMigrations]) {
        await expect(attempt(pool)).rejects.toMatchObject({
          code: 'configuration',
          message: expect.stringContaining('newer version of this program: it has 0099_later'),
        });
      }
    } finally {
      await pool.query(`delete from audit.migrations where name = '0099_later'`);
    }
  });

  test('fails without a side effect when its connection is closed while it waits for another worker', async () => {
    const empty = await emptyDatabase();
    const pool = poolOf(empty.url);
    const other = await poolOf(empty.url).connect();
    await other.query(
      `begin; create schema audit; create table audit.migrations (id serial primary key, name text, run_on timestamp)`,
    );
    const migrating = migrate(pool);
    migrating.catch(() => {});
    await endWaitingSession(pool);
    await expect(migrating).rejects.toMatchObject({ code: 'database-away' });
    other.release(true);
    expect(await migrate(pool)).toEqual(ALL);
  });

  test.each([
    ['the lock of node-pg-migrate', 'select pg_advisory_lock(7241865325823964)'],
    ['the lock of version 0.1.0', `select pg_advisory_lock(hashtextextended('uipath-audit-export acme', 0))`],
    ['a transaction that has read none of the tables', 'begin; select 1'],
  ])('is not stopped by a reader who holds %s', async (_, sql) => {
    const scene = await emptyDatabase();
    const pool = poolOf(scene.url);
    await applyMigrations(scene.url, OLD_COUNT);
    const login = await createTestLogin(scene, 'audit_reader');
    const letGo = await holding(login, sql);
    expect(await migrate(pool)).toEqual(ALL.slice(OLD_COUNT));
    await letGo();
    await login.drop();
  });

  test('names the session that blocks a migration, and succeeds once that has ended', async () => {
    const scene = await emptyDatabase();
    const pool = poolOf(scene.url);
    await applyMigrations(scene.url, OLD_COUNT);
    const login = await createTestLogin(scene, 'audit_reader');
    const letGo = await holding(login, 'begin; select from bi.export_health');
    await expect(migrate(pool, { lockTimeoutMs: 300, attempts: 2 })).rejects.toMatchObject({
      code: 'database-away',
      message: expect.stringMatching(
        new RegExp(
          `holds: process \\d+ of user ${login.name} \\(idle in transaction since 20.*pg_terminate_backend`,
        ),
      ),
    });
    expect((await readMigrations(pool)).pending).toEqual(ALL.slice(OLD_COUNT));
    const migrating = migrate(pool, { lockTimeoutMs: 300, attempts: 200 });
    await endWaitingSession(pool, 'select pid');
    await letGo();
    expect(await migrating).toEqual(ALL.slice(OLD_COUNT));
    await login.drop();
  });

  test('that fails rolls back the failed file, says why, and can be repeated', async () => {
    const empty = await emptyDatabase();
    const pool = poolOf(empty.url);
    await pool.query('create schema bi; create view bi.export_health as select 1 as one');
    await expect(migrate(pool)).rejects.toMatchObject({
      code: 'database',
      message: expect.stringContaining('relation "export_health" already exists'),
    });
    expect(await readMigrations(pool)).toEqual({ applied: [ALL[0]], pending: ALL.slice(1) });
    expect((await pool.query(`select to_regclass('bi.events') as view`)).rows).toEqual([{ view: null }]);
    await pool.query('drop schema bi cascade');
    expect(await migrate(poolOf(empty.url))).toEqual(ALL.slice(1));
  });
});

describe('the migrated database', () => {
  test('has a comment on every table, view and column', async () => {
    const { rows } = await poolOf(database.url).query(`
      select relation.oid::regclass::text as relation, attname as column
      from pg_class relation
      join pg_namespace namespace on namespace.oid = relnamespace and nspname in ('audit', 'bi')
      left join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
      where relkind in ('r', 'v') and (col_description(relation.oid, attnum) is null or obj_description(relation.oid, 'pg_class') is null)
      order by 1, attnum`);
    expect(rows).toEqual([]);
  });

  test('shows a reader the views and nothing else', async () => {
    const admin = poolOf(database.url);
    const { url } = await createLogin('audit_reader');
    const pool = poolOf(url);
    const relations = await admin.query<{ schema: string; name: string }>(
      `select schemaname as schema, tablename as name from pg_tables where schemaname = 'audit'
       union all select schemaname, viewname from pg_views where schemaname = 'bi'`,
    );
    expect(relations.rows.length).toBeGreaterThan(6);
    for (const { schema, name: relation } of relations.rows) {
      const reading = pool.query(`select * from ${schema}.${relation} limit 1`);
      if (schema === 'bi') await expect(reading).resolves.toBeDefined();
      else await expect(reading).rejects.toMatchObject({ code: '42501' });
      const deleting = pool.query(`delete from ${schema}.${relation}`);
      await expect(deleting).rejects.toMatchObject({ code: expect.stringMatching(/42501|55000/) });
    }
  });

  test('shows a reader also the views of later migrations', async () => {
    const admin = poolOf(database.url);
    await admin.query('create view bi.later as select 1');
    const { rows } = await admin.query(
      `select has_table_privilege('audit_reader', 'bi.later', 'select') as may`,
    );
    await admin.query('drop view bi.later');
    expect(rows).toEqual([{ may: true }]);
  });
});

/** A session of `login` that has sent `sql` and stays open; gives how to end it. */
async function holding({ url }: TestLogin, sql: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql);
  return () => client.end();
}

async function endWaitingSession(pool: Pool, doing = 'select pg_terminate_backend(pid)'): Promise<void> {
  for (let ended = 0; ended === 0; ) {
    const { rowCount } = await pool.query(
      `${doing} from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`,
    );
    ended = rowCount ?? 0;
  }
}
