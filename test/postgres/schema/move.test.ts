/** A database with rows, moved into partitions by the real `migrate`: killed at several points, and beside a worker that writes. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { moveEvents } from '../../../src/postgres/schema/partition.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { verifyLedgers } from '../../../src/runs/verify-ledger.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import {
  createMigratedDatabase,
  createTestDatabase,
  createTestLogin,
  type TestDatabase,
} from '../../support/database.ts';
import { applyMigrations, migrationsBefore } from '../../support/migrations.ts';
import { runProgram, startProgram } from '../../support/program.ts';
import { expectCounted } from '../../support/roll-ups.ts';

const NEXT = '0018_partitions';
/** A day of each of 24 months, and the odd dates. */
const MONTHS = Array.from({ length: 24 }, (_, i) => new Date(Date.UTC(2024, i, 5)).toISOString().slice(0, 7));
const ODD = ['0001-01-01T00:00:00Z', '1999-12-31T23:59:59.9999999Z', '9999-12-31T23:59:59.9999999Z'];
/** What an administrator added to the table and to the views. */
const ADDITIONS = `
  create schema mine;
  create view mine.events with (security_barrier = true) as select organization, created_on, details from audit.events e where e.log = 'classic';
  comment on view mine.events is 'Mine.';
  create view mine.days as select created_on::date as day, count(*) from mine.events group by 1;
  create function mine.count_events() returns bigint begin atomic select count(*) from audit.events; end;
  create function mine.note() returns trigger language plpgsql as $$ begin return null; end $$;
  create trigger mine after insert on audit.events for each statement execute function mine.note();
  alter table audit.events disable trigger mine;
  create index abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abcdef_01 on audit.events (batch);
  create index abcdefghijklmnopqrstuvwxyz_abcdefghijklmnopqrstuvwxyz_abcdef_02 on audit.events (run_id);
  create index "my ""index" on audit.events (user_name) where user_name is not null;
  comment on index audit."my ""index" is 'Mine, too.';
  create table mine.categories (name text primary key);
  insert into mine.categories values ('User');
  alter table audit.events add constraint of_category foreign key (category) references mine.categories;
  alter table audit.events set (autovacuum_vacuum_scale_factor = 0.03, toast.autovacuum_enabled = false);
  alter table audit.events add constraint plausible check (ordinal >= 0);`;

let database: TestDatabase;
let pool: Pool;
let sql: pg.Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool(database.url, () => {});
  sql = new pg.Pool({ connectionString: database.url });
  sql.on('error', () => {});
  await prepare(database.url, sql);
  await sql.query(ADDITIONS);
  for (const organization of ['acme', 'other']) {
    await store(organization, [
      ...ODD.slice(0, 2),
      ...MONTHS.map((month) => `${month}-05T10:00:00Z`),
      ODD[2]!,
    ]);
  }
});
afterAll(async () => {
  await sql.end();
  await pool.end();
  await database.drop();
});

/** An empty database whose rows are to be moved: with a row, the migration leaves the table as it is. */
async function prepare(url: string, admin: pg.Pool): Promise<void> {
  await applyMigrations(url, migrationsBefore(NEXT).length);
  await admin.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
    values ('by hand', '2026-01-01', gen_random_uuid(), 0, '', 0, 0, 0)`);
  await applyMigrations(url, 1);
  await admin.query('delete from audit.events');
}

async function store(organization: string, times: readonly string[], fields = {}) {
  const session = await openSession(pool, { organization, log: 'classic', kind: 'run' });
  try {
    return await session.commit(
      batchOf(
        times.flatMap((time) => [0, 1, 2].map((i) => eventAt(time, { action: `Action ${i}`, ...fields }))),
      ),
    );
  } finally {
    await session.release();
  }
}

const query = async (text: string) => (await sql.query(text)).rows;
const digest = () =>
  query(
    `select count(*), md5(string_agg(md5(e::text), '' order by organization, created_on, event_id)) from audit.events e`,
  );
const formOf = async () =>
  (await query(`select relkind from pg_class where oid = 'audit.events'::regclass`))[0].relkind;
const startMigrate = () => startProgram(['migrate'], { DATABASE_URL: database.url });

/** Waits until the query returns a row. */
async function until(text: string): Promise<void> {
  while ((await query(text)).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Kills the process while it waits for a lock that `lock` takes once `ready` returns a row, and lets it go. */
async function killWaiting({ ready, lock }: { ready: string; lock: string }): Promise<void> {
  const program = startMigrate();
  const client = await sql.connect();
  await until(ready);
  await client.query(`begin; ${lock}`);
  await until(
    `select from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'audit\\.[a-z]+_' and datname = current_database()`,
  );
  program.kill('SIGKILL');
  expect((await program.ended).code).toBe('SIGKILL');
  await client.query('rollback');
  client.release();
  // The server ends what it was asked for.
  await until(`select where not exists (
    select from pg_stat_activity where state = 'active' and query ~ 'audit\\.[a-z]+_' and pid <> pg_backend_pid() and datname = current_database())`);
}

const hasMonths = (count: number) =>
  `select from pg_inherits where inhparent = to_regclass('audit.events_by_month') having count(*) > ${count}`;

test('a killed migrate continues where it was, and the rows and all that belongs to the table stay', async () => {
  const before = await digest();
  const objects = await describeObjects();
  await killWaiting({ ready: 'select', lock: 'lock table audit.events in row exclusive mode' });
  expect(await query(`select to_regclass('audit.events_by_month') as copy`)).toEqual([{ copy: null }]);
  for (const count of [0, 8, 16]) {
    const lock = 'lock table audit.events_by_month in share update exclusive mode';
    await killWaiting({ ready: hasMonths(count), lock });
    expect([await formOf(), await digest()]).toEqual(['r', before]);
  }
  // A statement that fails at the end rolls back the last step only.
  await killWaiting({ ready: hasMonths(24), lock: 'lock table audit.events in access share mode' });
  expect([await formOf(), await digest()]).toEqual(['r', before]);

  expect(await runProgram(['migrate', '--dry-run'], { DATABASE_URL: database.url })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('pending  audit.events into partitions by month'),
  });
  expect((await runProgram(['check'], { DATABASE_URL: database.url })).stdout).toContain(
    'audit.events is not partitioned by month yet',
  );
  const ended = await startMigrate().ended;
  expect(ended).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('moved    audit.events into partitions by month'),
  });
  expect(await digest()).toEqual(before);
  expect(await formOf()).toBe('p');
  expect(await describeObjects()).toEqual(objects);
  expect(await runProgram(['migrate'], { DATABASE_URL: database.url })).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('The tables are up to date.'),
  });
});

test('the indexes, with their comments, are those of a new database and those of the administrator', async () => {
  const fresh = await createMigratedDatabase();
  const admin = new pg.Pool({ connectionString: fresh.url });
  try {
    const [ours, theirs] = [await query(INDEXES), (await admin.query(INDEXES)).rows];
    expect(ours.filter(({ relname }) => !/^my "index$|^abc/.test(relname))).toEqual(theirs);
    expect(ours).toHaveLength(theirs.length + 3);
  } finally {
    await admin.end();
    await fresh.drop();
  }
});

test('an index that was added meanwhile, and a copy that is not equal, end the move; what the message says continues it', async () => {
  const other = await createTestDatabase();
  const worker = createPool(other.url, () => {});
  const admin = new pg.Pool({ connectionString: other.url });
  try {
    await prepare(other.url, admin);
    await admin.query('select audit.begin_events_by_month(); create index meanwhile on audit.events (batch)');
    await expect(moveEvents(worker)).rejects.toThrow(
      'added to audit.events while its rows were moved: the index meanwhile; drop it, run migrate, and create it again',
    );
    await admin.query('drop index audit.meanwhile');
    // A row that no trigger noted.
    await admin.query(`set session_replication_role = replica;
      insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
      values ('by hand', '1980-01-01', gen_random_uuid(), 0, '', 0, 0, 0); reset session_replication_role`);
    const error: Error = await moveEvents(worker).then(
      () => expect('moved').toBe('refused'),
      (error) => error,
    );
    expect(error.message).toMatch(
      /audit.events has 1 rows and its copy in partitions 0; drop the copy \((.*)\) and run/,
    );
    await admin.query(/\((drop .*?)\) and/.exec(error.message)![1]!);
    expect(await moveEvents(worker)).toBe(true);
    expect((await admin.query('select count(*)::int from audit.events')).rows).toEqual([{ count: 1 }]);
  } finally {
    await admin.end();
    await worker.end();
    await other.drop();
  }
});

test('each month has its rows, and the default partition only those of odd dates', async () => {
  const rows =
    await query(`select tableoid::regclass::text as name, count(*)::int, min(created_on)::text as first from audit.events
    group by 1 order by 1`);
  expect(rows).toHaveLength(MONTHS.length + 1);
  for (const month of MONTHS)
    expect(rows).toContainEqual({
      name: `audit.events_${month.replace('-', '_')}`,
      count: 6,
      first: `${month}-05 10:00:00+00`,
    });
  expect(rows).toContainEqual({ name: 'audit.events_default', count: 18, first: '0001-01-01 00:00:00+00' });
  await expectCounted({ query });
  const reports = await verifyLedgers(pool, everything());
  expect(reports.flatMap(({ examples }) => examples)).toEqual([]);
});

test('the move leaves no table, function or trigger of its own', async () => {
  expect(
    await query(`select relname as name from pg_class where relname ~ 'events_(in_one|by_month|to_copy)|^moved_'
      union all select tgname from pg_trigger where tgname like 'noted%'
      union all select proname from pg_proc where pronamespace = 'audit'::regnamespace
        and proname ~ 'by_month|to_copy|copy_|organizations_of'`),
  ).toEqual([]);
});

test('rows that change while they are copied arrive as they are', async () => {
  const other = await createTestDatabase();
  const worker = createPool(other.url, () => {});
  const admin = new pg.Pool({ connectionString: other.url });
  const rows = async (text: string) => (await admin.query(text)).rows;
  const commit = async (times: readonly string[], fields = {}) => {
    const session = await openSession(worker, { organization: 'acme', log: 'classic', kind: 'run' });
    await session
      .commit(batchOf(times.map((time) => eventAt(time, fields))))
      .finally(() => session.release());
  };
  const times = MONTHS.map((month) => `${month}-05T10:00:00Z`);
  // Updates, late events, an event of a month that had none, an odd one, and rows that someone deletes and inserts by hand.
  let changes = 0;
  const change = async () => {
    const i = ++changes;
    await commit(times, { userName: `renamed ${i}` });
    await commit([`2024-0${i}-06T10:00:00Z`, `2022-0${i}-01T00:00:00Z`, `1980-0${i}-01T00:00:00Z`]);
    await admin.query(`delete from audit.events where organization = 'by hand'`);
    await admin.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
      select 'by hand', timestamptz '2024-01-01' + i * interval '1 month', md5('${i}' || i)::uuid, 0, '', 0, 0, 0 from generate_series(1, 5) i`);
  };
  try {
    await prepare(other.url, admin);
    await commit(times);
    await admin.query('select audit.begin_events_by_month()');
    await change();
    await admin.query('select audit.copy_events_month(null)');
    const [{ months }] = await rows('select audit.event_months_to_copy()::text[] as months');
    for (const month of months.slice(0, 12)) await admin.query('select audit.copy_events_month($1)', [month]);
    await change();
    await admin.query('select audit.copy_changed_events()');
    await change();
    // The whole move, with changes beside it.
    let isMoved = false;
    const moving = moveEvents(worker).finally(() => {
      isMoved = true;
    });
    while (!isMoved && changes < 9) await change();
    expect(await moving).toBe(true);
    await change();

    await expectCounted({ query: rows });
    expect(
      await rows(`select count(*)::int, count(*) filter (where user_name = 'renamed ${changes}')::int as renamed from audit.events
      where organization = 'acme' and log = 'classic'`),
    ).toEqual([{ count: 24 + 3 * changes, renamed: 24 }]);
    const reports = await verifyLedgers(worker, everything('acme'));
    expect(reports.flatMap(({ examples }) => examples)).toEqual([]);
    expect(
      await rows(`select distinct created_on < '2000-01-01' as is_odd from audit.events_default`),
    ).toEqual([{ is_odd: true }]);
  } finally {
    await admin.end();
    await worker.end();
    await other.drop();
  }
});

test('an object that depends on the table is named, and nothing is moved', async () => {
  const other = await createTestDatabase();
  const worker = createPool(other.url, () => {});
  const admin = new pg.Pool({ connectionString: other.url });
  try {
    await prepare(other.url, admin);
    await admin.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
      values ('by hand', '2026-01-01', gen_random_uuid(), 0, '', 0, 0, 0);
      create schema mine; create materialized view mine.counts as select count(*) from audit.events;
      create table mine.notes (organization text, created_on timestamptz, event_id uuid,
        constraint of_event foreign key (organization, created_on, event_id) references audit.events)`);
    await expect(migrate(worker)).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(
        'foreign key of_event of mine.notes, materialized view mine.counts. Drop them, run migrate',
      ),
    });
    expect((await admin.query(`select to_regclass('audit.events_by_month') as copy`)).rows).toEqual([
      { copy: null },
    ]);
    await admin.query('drop schema mine cascade');
    expect(await migrate(worker)).toEqual([]);
    expect((await admin.query('select count(*)::int from audit.events_2026_01')).rows).toEqual([
      { count: 1 },
    ]);
  } finally {
    await admin.end();
    await worker.end();
    await other.drop();
  }
});

test('several processes may move at once', async () => {
  const other = await createTestDatabase();
  const workers = Array.from({ length: 4 }, () => createPool(other.url, () => {}));
  const admin = new pg.Pool({ connectionString: other.url });
  try {
    await prepare(other.url, admin);
    await admin.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
      select 'acme', timestamptz '2020-01-01' + n * interval '9 hours', gen_random_uuid(), n, '', 0, 0, 0 from generate_series(1, 5000) n`);
    const results = await Promise.allSettled(workers.map((worker) => moveEvents(worker)));
    expect(results.filter(({ status }) => status === 'rejected')).toEqual([]);
    expect(results.filter((result) => result.status === 'fulfilled' && result.value)).toHaveLength(1);
    expect((await admin.query('select count(*)::int from audit.events')).rows).toEqual([{ count: 5000 }]);
  } finally {
    for (const closing of [admin, ...workers]) await closing.end();
    await other.drop();
  }
});

test.each([
  [
    'index events_by_user, a name that the partitions need',
    'create index events_by_user on audit.events (user_name)',
  ],
  ['view mine of somebody', 'create view public.mine as select count(*) from audit.events'],
])('names as in the way: %s', async (named, create) => {
  const other = await createTestDatabase();
  const owner = await createTestLogin(other);
  const admin = new pg.Pool({ connectionString: other.url });
  const worker = createPool(owner.url, () => {});
  try {
    await prepare(other.url, admin);
    await admin.query(`alter schema audit owner to ${owner.name}; alter table audit.events owner to ${owner.name};
      grant all on all tables in schema audit to ${owner.name}`);
    await admin.query(create);
    await expect(moveEvents(worker)).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(named.replace('mine of somebody', 'public.mine of')),
    });
  } finally {
    await worker.end();
    await admin.query(`reassign owned by ${owner.name} to current_user`);
    await admin.end();
    await owner.drop();
    await other.drop();
  }
});

const everything = (organization?: string) => ({
  ...{
    of: organization === undefined ? undefined : { organization },
    from: undefined,
    to: undefined,
    expected: undefined,
  },
  onRows: () => {},
  signal: new AbortController().signal,
});

const INDEXES = `select relname, pg_get_indexdef(indexrelid) as text, obj_description(indexrelid)
  from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = 'audit.events'::regclass order by 1`;

/** What must not change: columns, comments, privileges, views, indexes, triggers, constraints and settings. */
async function describeObjects() {
  return {
    table:
      await query(`select pg_get_userbyid(relowner) as owner, (select array_agg(a::text order by a::text) from unnest(relacl) a) as acl,
      obj_description(oid) from pg_class where oid = 'audit.events'::regclass`),
    columns:
      await query(`select attname, format_type(atttypid, atttypmod), attnotnull, attacl, col_description(attrelid, attnum),
        pg_get_expr(adbin, adrelid) as default_value
      from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
      where attrelid = 'audit.events'::regclass and attnum > 0 and not attisdropped order by attnum`),
    views:
      await query(`select c.oid::regclass::text as name, pg_get_viewdef(c.oid) as text, reloptions, relacl::text, obj_description(c.oid)
      from pg_class c join pg_namespace n on n.oid = relnamespace where nspname in ('audit', 'bi', 'mine') and relkind = 'v' order by 1`),
    function: await query(
      'select mine.count_events()::int as count, (select count(*)::int from mine.days) as days',
    ),
    indexes:
      await query(`select relname, replace(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON '), ', log', '') as text, obj_description(indexrelid)
      from pg_index join pg_class on pg_class.oid = indexrelid where indrelid = 'audit.events'::regclass and relname not like 'events\\_by\\_%' order by 1`),
    statistics:
      await query(`select stxname, replace(pg_get_statisticsobjdef(oid), 'events_by_month', 'events') as text,
        obj_description(oid, 'pg_statistic_ext') as comment
      from pg_statistic_ext where stxrelid = 'audit.events'::regclass order by 1`),
    triggers:
      await query(`select tgname, tgenabled, pg_get_triggerdef(oid) as text, obj_description(oid) from pg_trigger
      where tgrelid = 'audit.events'::regclass and not tgisinternal and tgname not like 'noted%' order by 1`),
    constraints: await query(`select conname, pg_get_constraintdef(oid) as text from pg_constraint
      where conrelid = 'audit.events'::regclass and contype in ('f', 'c') order by 1`),
    settings:
      await query(`select c.reloptions, t.reloptions as of_toast from pg_class c join pg_class t on t.oid = c.reltoastrelid
      where c.relname in ('events', 'events_2024_01', 'events_default') and c.relkind = 'r' limit 1`),
  };
}
