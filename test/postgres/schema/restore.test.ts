/** A database with partitions, dumped by pg_dump and restored into an empty one. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { verifyLedgers } from '../../../src/runs/verify-ledger.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { createMigratedDatabase, createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { dumpAndRestore, pgDumpVersion } from '../../support/pg-dump.ts';
import { expectCounted } from '../../support/roll-ups.ts';

let source: TestDatabase;
let target: TestDatabase;
let serverVersion: number;

beforeAll(async () => {
  source = await createMigratedDatabase();
  target = await createTestDatabase();
  const [row] = await query(source, `select current_setting('server_version_num')::int / 10000 as version`);
  serverVersion = row!.version;
});
afterAll(async () => {
  await source.drop();
  await target.drop();
});

async function query(database: TestDatabase, text: string) {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

async function commit(database: TestDatabase, times: readonly string[], userName: string) {
  const pool = createPool(database.url, () => {});
  try {
    const session = await openSession(pool, { organization: 'acme', log: 'classic', kind: 'run' });
    await session
      .commit(batchOf(times.map((time) => eventAt(time, { userName }))))
      .finally(() => session.release());
    const reports = await verifyLedgers(pool, {
      ...{ of: undefined, from: undefined, to: undefined, expected: undefined, onRows: () => {} },
      signal: new AbortController().signal,
    });
    expect(reports.flatMap(({ examples }) => examples)).toEqual([]);
  } finally {
    await pool.end();
  }
}

const TIMES = [
  '0001-01-01T00:00:00Z',
  '2024-01-31T23:00:00Z',
  '2024-02-01T00:00:00Z',
  '9999-12-31T23:59:59Z',
];
const ROWS =
  'select tableoid::regclass::text as place, e.* from audit.events e order by created_on, event_id';
const FORM = `
  select c.oid::regclass::text as name, relkind, relacl::text, obj_description(c.oid, 'pg_class') as comment, pg_get_expr(relpartbound, c.oid) as bounds,
    (select array_agg(pg_get_indexdef(indexrelid) order by indexrelid::regclass::text) from pg_index where indrelid = c.oid) as indexes,
    (select array_agg(pg_get_triggerdef(t.oid) order by tgname) from pg_trigger t where tgrelid = c.oid) as triggers
  from pg_class c where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace) and relkind in ('r', 'p', 'v') order by 1`;
const FUNCTIONS = `select oid::regprocedure::text as name, prosecdef, proacl::text, proconfig from pg_proc where pronamespace = 'audit'::regnamespace order by 1`;

test('the restored database has the same rows, partitions and privileges, and the worker continues in it', async () => {
  if (pgDumpVersion < serverVersion) {
    console.log(`pg_dump ${serverVersion} or newer is not on the PATH: the test of a restore is skipped.`);
    return;
  }
  await commit(source, TIMES, 'Ana');
  dumpAndRestore(source.url, target.url);
  for (const text of [ROWS, FORM, FUNCTIONS])
    expect(await query(target, text)).toEqual(await query(source, text));
  const pool = createPool(target.url, () => {});
  expect(await migrate(pool)).toEqual([]);
  await pool.end();
  await commit(target, [...TIMES, '2024-03-01T00:00:00Z'], 'Berit');
  expect(
    await query(
      target,
      `select tableoid::regclass::text as place, count(*)::int from audit.events group by 1 order by 1`,
    ),
  ).toEqual([
    { place: 'audit.events_2024_01', count: 1 },
    { place: 'audit.events_2024_02', count: 1 },
    { place: 'audit.events_2024_03', count: 1 },
    { place: 'audit.events_default', count: 2 },
  ]);
  await expectCounted({ query: (text: string) => query(target, text) });
});
