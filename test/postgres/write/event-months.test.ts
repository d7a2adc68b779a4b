/** Partitions by month: made ahead and before rows need them, by a worker that may not create tables. */
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import pg from 'pg';
import { identifyGroup } from '../../../src/core/identity.ts';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { columnsOf } from '../../../src/postgres/format/columns.ts';
import { EventMonths } from '../../../src/postgres/write/partitions.ts';
import { SUPERSEDE } from '../../../src/postgres/write/span-statements.ts';
import { READ_RECORDS, UPDATE_EVENTS } from '../../../src/postgres/write/statements.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { createTestLogin, type TestLogin } from '../../support/database.ts';
import { expectCounted } from '../../support/roll-ups.ts';

let bench: Bench;
let login: TestLogin;
let pool: Pool;
const queries = jest.spyOn(pg.Client.prototype, 'query');
const countCreations = () =>
  queries.mock.calls.filter(([text]) => typeof text === 'string' && text.includes('create_event_months'))
    .length;

beforeAll(async () => {
  bench = await createBench();
  login = await createTestLogin(bench.database, 'audit_writer');
  pool = createPool(login.url, () => {}, { sessions: 8 });
});
afterAll(async () => {
  await pool.end();
  await login.drop();
  await bench.close();
});

/** Commits one event per time in one run. */
async function commit(organization: string, ...times: string[]): Promise<void> {
  const session = await openSession(pool, { organization, log: 'classic', kind: 'run' });
  await session.commit(batchOf(times.map((time) => eventAt(time)))).finally(() => session.release());
}

/** The partitions that have rows of the organization, with their number. */
const placesOf = async (organization: string) =>
  Object.fromEntries(
    (
      await bench.query(
        `select substr(tableoid::regclass::text, 14) as name, count(*)::int from audit.events where organization = $1 group by 1 order by 1`,
        [organization],
      )
    ).map(({ name, count }) => [name, Number(count)]),
  );
const partitions = () =>
  bench.query(`select inhrelid::regclass::text as name, pg_get_expr(relpartbound, oid) as bounds from pg_inherits
    join pg_class on oid = inhrelid where inhparent = 'audit.events'::regclass order by 1`);
const monthAhead = async (months: number) =>
  (
    await bench.query(
      // Reads the clock: the worker creates months by the clock of the server.
      `select to_char(now() at time zone 'UTC' + $1 * interval '1 month', '"audit.events_"YYYY_MM') as name`,
      [months],
    )
  )[0]!.name as string;

test('a new database has the current month, the next two, and one for odd dates', async () => {
  const ahead = await Promise.all([0, 1, 2].map(monthAhead));
  expect((await partitions()).map(({ name }) => name)).toEqual([...ahead, 'audit.events_default']);
});

test('a month is created before its rows are stored, and rows of odd dates go to the default partition', async () => {
  const times = [
    '0001-01-01T00:00:00Z',
    '1999-12-31T23:59:59.9999999Z',
    '2000-01-01T00:00:00Z',
    '2021-03-31T23:59:59.9999999Z',
    '2021-04-01T00:00:00Z',
    '9999-12-31T23:59:59.9999999Z',
  ];
  await commit('odd', ...times);
  expect(await placesOf('odd')).toEqual({ '2000_01': 1, '2021_03': 1, '2021_04': 1, default: 3 });
  expect(await partitions()).toContainEqual({
    name: 'audit.events_2021_03',
    bounds: `FOR VALUES FROM ('2021-03-01 00:00:00+00') TO ('2021-04-01 00:00:00+00')`,
  });
  // Upserted: the events are stored already.
  const before = countCreations();
  await commit('odd', ...times, '2021-05-01T00:00:00Z');
  expect(await placesOf('odd')).toMatchObject({ '2021_05': 1, default: 3 });
  expect(countCreations() - before).toBe(1);
});

test('a run whose months exist sends no statement for them', async () => {
  await commit('quiet', '2021-03-01T00:00:00Z');
  const before = countCreations();
  await commit('quiet', '2021-03-01T00:00:00Z', '2021-03-02T00:00:00Z');
  expect(countCreations() - before).toBe(0);
});

test('the next months are created when a run begins', async () => {
  const [next, after] = await Promise.all([1, 2].map(monthAhead));
  await bench.query(`drop table ${next}, ${after}`);
  await commit('ahead', '2021-03-01T00:00:00Z');
  expect((await partitions()).map(({ name }) => name)).toEqual(expect.arrayContaining([next, after]));
});

test('a month whose rows are in the default partition takes them, without counting them again', async () => {
  await bench.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
    select 'early', timestamptz '2022-02-28 23:59:59.999999Z' + i * interval '1 day', gen_random_uuid(), 0, '', 0, 0, 0 from generate_series(0, 40) i`);
  expect(await placesOf('early')).toEqual({ default: 41 });
  const before = await bench.query(
    `select * from audit.events where organization = 'early' order by created_on`,
  );
  await commit('early-worker', '2022-03-05T00:00:00Z');
  expect(await placesOf('early')).toEqual({ '2022_02': 1, '2022_03': 31, '2022_04': 9 });
  expect(
    await bench.query(`select * from audit.events where organization = 'early' order by created_on`),
  ).toEqual(before);
  await expectCounted(bench);
});

test('workers that need the same months at the same time create them once', async () => {
  const times = ['2019-01', '2019-02', '2019-03'].map((month) => `${month}-01T00:00:00Z`);
  const names = Array.from({ length: 8 }, (_, i) => `together-${i}`);
  await Promise.all(names.map((name) => commit(name, ...times)));
  // A worker that waited for longer than a second has left its rows in the default partition until the next month is created.
  await commit('together-later', '2019-04-01T00:00:00Z');
  for (const name of names)
    expect(await placesOf(name)).toEqual({ '2019_01': 1, '2019_02': 1, '2019_03': 1 });
});

test('autovacuum of another month delays nothing', async () => {
  await commit('vacuumed', '2018-05-01T00:00:00Z');
  const vacuum = await bench.sql.connect();
  await vacuum.query('begin; lock table audit.events_2018_05 in share update exclusive mode');
  await commit('vacuumed', '2018-06-01T00:00:00Z');
  expect(await placesOf('vacuumed')).toEqual({ '2018_05': 1, '2018_06': 1 });
  await vacuum.query('commit');
  vacuum.release();
});

test('while someone reads the default partition, rows go there, and later into their month', async () => {
  const reader = await bench.sql.connect();
  await reader.query('begin; select from audit.events limit 1');
  await commit('waiting', '2018-07-01T00:00:00Z');
  expect(await placesOf('waiting')).toEqual({ default: 1 });
  await reader.query('commit');
  reader.release();
  await commit('waiting-2', '2018-07-02T00:00:00Z');
  expect(await placesOf('waiting')).toEqual({ '2018_07': 1 });
});

test('within a run, a month that was not created is tried again after five seconds', async () => {
  const events = identifyGroup([eventAt('2018-09-01T00:00:00Z')]);
  const client = await pool.connect();
  const reader = await bench.sql.connect();
  let now = 0;
  const months = new EventMonths(client, { months: [], lacks_next: false }, () => now);
  await reader.query('begin; select from audit.events limit 1');
  await months.createFor(events);
  await reader.query('commit');
  now = 4_999;
  expect(months.lacks(events)).toBe(false);
  now = 5_000;
  expect(months.lacks(events)).toBe(true);
  await months.createFor(events);
  now = 100_000;
  expect(months.lacks(events)).toBe(false);
  expect((await partitions()).map(({ name }) => name)).toContain('audit.events_2018_09');
  for (const each of [client, reader]) each.release();
});

test('a dropped month leaves the roll-ups, and a late event of it creates it again', async () => {
  await commit('dropped', '2017-05-01T00:00:00Z', '2017-06-01T00:00:00Z');
  const rollUps = `select day::text, events::int from audit.daily_activity where organization = 'dropped' order by day`;
  const before = await bench.query(rollUps);
  await bench.query('drop table audit.events_2017_05');
  expect(await bench.query(rollUps)).toEqual(before);
  expect(await placesOf('dropped')).toEqual({ '2017_06': 1 });
  await commit('dropped-2', '2017-05-02T00:00:00Z');
  expect(await placesOf('dropped-2')).toEqual({ '2017_05': 1 });
  // What was dropped is still counted.
  await bench.query(`delete from audit.daily_activity where organization = 'dropped'; delete from audit.daily_totals where organization = 'dropped';
    delete from audit.events where organization = 'dropped'`);
});

test('what audit_writer passes to the function creates months and nothing else', async () => {
  const call = async (months: string) =>
    (
      await pool.query<{ created: string[] }>(
        `select audit.create_event_months(${months})::text[] as created`,
      )
    ).rows[0]!.created;
  const before = await partitions();
  const odd = `'{1999-12-31, 0001-01-01, 9999-12-31, infinity, -infinity, 0044-03-15 BC, NULL}'`;
  // Reads the clock: as above.
  for (const months of [odd, 'null', `'{}'`, `array[now() + interval '3 months']::date[]`])
    expect(await call(months)).toEqual([]);
  expect(await call(`'{2016-02-29, 2016-02-01, 2016-02-14}'`)).toEqual(['2016-02-01']);
  await expect(call(`array(select date '2000-01-01' + i from generate_series(0, 1000) i)`)).rejects.toThrow(
    'at most 1000',
  );
  expect((await partitions()).length).toBe(before.length + 1);

  // Its own functions, settings and tables are not used, and the owner's functions are not callable.
  await pool.query(`create temp table events_default (x int); create temp table events (x int)`);
  await pool
    .query(`set search_path = pg_temp, pg_catalog; set default_tablespace = 'nowhere'`)
    .catch(() => {});
  expect(await call(`'{2016-03-01}'`)).toEqual(['2016-03-01']);
  expect(
    await bench.query(`select relowner = (select relowner from pg_class where oid = 'audit.events'::regclass) as is_owners, relacl
      from pg_class where oid = 'audit.events_2016_03'::regclass`),
  ).toEqual([{ is_owners: true, relacl: null }]);
  for (const statement of [
    `select audit.add_events_month('audit.runs', '2016-04-01')`,
    `select audit.is_events_month('2016-04-01')`,
    'create table audit.events_2016_04 (x int)',
    'select from audit.events_2016_03',
    'drop table audit.events_2016_03',
  ])
    await expect(pool.query(statement)).rejects.toMatchObject({ code: '42501' });
});

test('statements that look up rows by their keys plan for the partitions of these keys only', async () => {
  const events = batchOf(
    ['2021-03-01T00:00:00Z', '2021-04-02T00:00:00Z'].map((time) => eventAt(time)),
  ).events;
  const times = events.map(({ event }) => event.createdOnRaw);
  const ids = events.map(({ eventId }) => eventId);
  const keys = ['odd', 'classic'];
  const statements: [string, unknown[]][] = [
    [READ_RECORDS, [...keys, times, ids, ...times]],
    [UPDATE_EVENTS.text, [...keys, '1', ...columnsOf(events), ...times]],
    [SUPERSEDE, [...keys, times, ids, [null, null], ...times]],
  ];
  for (const [text, values] of statements) {
    const plan = (await bench.sql.query(`explain ${text}`, values)).rows
      .map((row) => Object.values(row)[0])
      .join('\n');
    expect([...new Set(plan.match(/events_(\d{4}_\d\d|default)(?= )/g))].sort()).toEqual([
      'events_2021_03',
      'events_2021_04',
    ]);
  }
});
