import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type pg from 'pg';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { createSimulator, type Simulator } from '../../../src/simulator/simulator.ts';
import {
  createMigratedDatabase,
  createTestDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../../support/database.ts';
import { type Ended, environmentFor, runProgram, startProgram } from '../../support/program.ts';

const RIGHT_IS_MISSING = '42501';

let database: TestDatabase;
let admin: pg.Pool;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  database = await createMigratedDatabase();
  closers.push(() => database.drop());
  admin = connect(database.url);
  await admin.query(`
    create schema elsewhere;
    create table elsewhere.secrets (secret text);
    insert into elsewhere.secrets values ('of somebody else')`);
});
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

function connect(url: string): pg.Pool {
  const pool = createPool(url, () => {});
  closers.push(() => pool.end());
  return pool;
}

async function createLogin(memberOf?: string, where = database): Promise<TestLogin> {
  const login = await createTestLogin(where, memberOf);
  closers.push(() => login.drop());
  return login;
}

/** Every right that `role` has in our schemas, columns in the order of the table; `public` is every role. */
async function rightsOf(role: string): Promise<Record<string, string>> {
  const { rows } = await admin.query<{ object: string; rights: string }>(
    `with acls as (
       select oid::regclass::text as object, relacl as acl, null as part, 0 as place from pg_class
       where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace)
       union all
       select attrelid::regclass::text, attacl, attname, attnum from pg_attribute
       where attacl is not null and not attisdropped
         and attrelid in (select oid from pg_class where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace))
       union all
       select proname || '()', coalesce(proacl, acldefault('f', proowner)), null, 0 from pg_proc
       where pronamespace in ('audit'::regnamespace, 'bi'::regnamespace)
       union all
       select nspname, nspacl, null, 0 from pg_namespace where nspname in ('audit', 'bi')
     ), rights as (
       select object, lower(privilege_type) as name, string_agg(part, ' ' order by place) as columns
       from acls, aclexplode(acl)
       where case grantee when 0 then 'public' else grantee::regrole::text end = $1
       group by object, privilege_type
     )
     select object, string_agg(name || coalesce(' (' || columns || ')', ''), ', ' order by name) as rights
     from rights group by object`,
    [role],
  );
  return Object.fromEntries(rows.map(({ object, rights }) => [object, rights]));
}

async function viewsOfBi(): Promise<string[]> {
  const { rows } = await admin.query<{ name: string }>(
    `select schemaname || '.' || viewname as name from pg_views where schemaname = 'bi'`,
  );
  return rows.map(({ name }) => name);
}

async function codeOf(pool: pg.Pool, sql: string): Promise<string> {
  return pool.query(sql).then(
    () => 'it was allowed',
    ({ code }) => code,
  );
}

describe('audit_writer', () => {
  let simulator: Simulator;
  let environment: Record<string, string>;
  let writer: pg.Pool;

  beforeAll(async () => {
    const rejected = { createdOn: 'yesterday', category: 'User', action: 'Login' };
    simulator = await createSimulator({ events: 300, rows: [JSON.stringify(rejected)] });
    closers.push(() => simulator.close());
    const { url } = await createLogin('audit_writer');
    environment = { ...environmentFor(simulator, url), EXPORT_PAGE_SIZE: '100' };
    writer = connect(url);
  });

  const stored = async () => {
    const { rows } = await admin.query(`
      select (select count(*)::int from audit.events) as events,
        (select count(*)::int from audit.ledger_changes) as changes,
        (select count(*)::int from audit.rejected_events) as rejected,
        (select count(*)::int from audit.coverage) as ranges,
        (select array_agg(distinct outcome) from audit.runs) as outcomes`);
    return rows[0];
  };

  test('is enough for run, backfill, start, verify, status, check and migrate of tables that are up to date', async () => {
    const did = async (args: string[], given: Record<string, string> = {}): Promise<Ended> => {
      const ended = await runProgram(args, { ...environment, ...given });
      expect([args[0], ended.code, ended.stderr]).toEqual([args[0], 0, expect.not.stringMatching(/error/i)]);
      return ended;
    };
    await did(['run']);
    expect(await stored()).toEqual({
      events: 300,
      changes: 0,
      rejected: 1,
      ranges: 1,
      outcomes: ['succeeded'],
    });
    // Other messages, and a second piece of coverage.
    simulator.deleteHead(simulator.length);
    simulator.append(50);
    await did(['run']);
    expect(await stored()).toMatchObject({ events: 350, ranges: 2 });
    await did(['backfill'], { UIPATH_LANGUAGE: 'de' });
    expect(await stored()).toMatchObject({ events: 350, changes: 50 });
    expect((await did(['migrate'])).stdout).toBe('The tables are up to date.\n');
    expect((await did(['status'])).stdout).toContain('350');
    expect((await did(['check'])).stdout).toContain(
      'this user can neither delete events nor rewrite the ledger',
    );

    expect((await did(['verify'], { UIPATH_LANGUAGE: 'de' })).stdout).toContain('acme');
    expect((await did(['verify', '--offline'])).stdout).toContain('acme');

    simulator.append(5);
    const program = startProgram(['start'], environment);
    await program.logged(/run \d+ succeeded/);
    program.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
    expect(await stored()).toMatchObject({ events: 355, outcomes: ['succeeded'] });
  });

  test('is not enough for verify --repair, which may rewrite any column', async () => {
    await admin.query(
      `update audit.events set action = 'Forged' where created_on = (select max(created_on) from audit.events)`,
    );
    const { code, stderr } = await runProgram(['verify', '--repair'], environment);
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining('permission denied for table events (42501)'),
    ]);
    const { rows } = await admin.query(
      `select count(*)::int as forged from audit.events where action = 'Forged'`,
    );
    expect(rows[0].forged).toBeGreaterThan(0);
  });

  test('has exactly these rights', async () => {
    expect(await rightsOf('audit_writer')).toEqual({
      audit: 'usage',
      bi: 'usage',
      'content_digest()': 'execute',
      'create_event_months()': 'execute',
      'prune_runs()': 'execute',
      'audit.daily_activity': 'select',
      'audit.daily_totals': 'select',
      'audit.time_totals': 'select',
      'audit.user_actions': 'select',
      'audit.user_totals': 'select',
      'audit.user_horizon': 'select',
      'audit.all_user_actions': 'select',
      'audit.all_user_totals': 'select',
      'audit.events':
        'insert, select, update (created_on_raw user_name email message extra raw updated_at superseded_by)',
      'audit.ledger': 'insert, select',
      'audit.ledger_changes': 'insert, select',
      'audit.coverage': 'delete, insert, select',
      'audit.gaps': 'select',
      'audit.completeness': 'select',
      'audit.gone_events': 'insert, select, update',
      'audit.rejected_places': 'delete, insert, select, update',
      'audit.run_days': 'select',
      'audit.login_habits': 'select',
      'audit.migrations': 'select',
      'audit.rejected_events': 'insert, select, update (last_seen_at)',
      'audit.runs':
        'insert, select, update (ended_at outcome error warnings pages requests retries rows_read rows_inserted ' +
        'rows_updated rows_unchanged rows_rejected rows_late from_ticks to_ticks from_at to_at frontier_ticks resume ' +
        'source_total completeness completeness_reason proven_at missing_events rows_superseded)',
      'audit.verifications': 'insert, select',
      'audit.verification_state': 'select',
      'audit.watermarks':
        'insert, select, update (created_on_ticks created_on_raw created_on read_at resume source_total run_id updated_at ' +
        'lease_run_id lease_until lease_pid head_ticks head_at ranks source_url source_path source_partition completeness ' +
        'completeness_reason missing_events assessed_at proven_at)',
      ...Object.fromEntries((await viewsOfBi()).map((name) => [name, 'select'])),
    });
    expect(await rightsOf('public')).toEqual({});
  });

  test.each([
    ['delete events', 'delete from audit.events'],
    ['delete events through a view', 'delete from bi.events'],
    ['empty the events', 'truncate audit.events'],
    ['change when an event happened', 'update audit.events set created_on_ticks = 0'],
    ['change what happened', `update audit.events set action = 'Nothing', details_raw = '{}'`],
    ['change what happened through a view', `update bi.events set action = 'Nothing'`],
    ['add an event through a view', `insert into bi.events (organization) values ('acme')`],
    ['move an event to another organization', `update audit.events set organization = 'other'`],
    ['change which batch an event came with', 'update audit.events set batch = 1'],
    ['change when an event was first seen', 'update audit.events set first_seen_at = updated_at'],
    ['change the ledger', 'update audit.ledger set digest = inserted'],
    ['delete from the ledger', 'delete from audit.ledger'],
    ['empty the ledger', 'truncate audit.ledger, audit.ledger_changes'],
    ['change a change in the ledger', 'update audit.ledger_changes set new_digest = old_digest'],
    ['delete a change from the ledger', 'delete from audit.ledger_changes'],
    ['delete a run', 'delete from audit.runs'],
    ['give a run to another organization', `update audit.runs set organization = 'other'`],
    ['delete a watermark', 'delete from audit.watermarks'],
    ['delete what was rejected', 'delete from audit.rejected_events'],
    ['change what was rejected', `update audit.rejected_events set source_text = '{}'`],
    ['stretch a proven range in place', 'update audit.coverage set to_ticks = 0'],
    [
      'note a migration',
      `insert into audit.migrations (name, run_on) values ('0099', '2026-01-02T03:04:05Z')`,
    ],
    ['lock everybody out', 'do $$ begin lock table audit.events in access exclusive mode; end $$'],
    ['drop a table', 'drop table audit.events'],
    ['drop a view', 'drop view bi.events'],
    ['drop a column', 'alter table audit.events drop column details_raw'],
    ['disable triggers', 'alter table audit.events disable trigger all'],
    ['disable triggers for its session', 'set session_replication_role = replica'],
    [
      'create a trigger',
      'create trigger t before insert on audit.events execute function suppress_redundant_updates_trigger()',
    ],
    ['create a rule', 'create rule r as on insert to audit.ledger do instead nothing'],
    ['create a table', 'create table audit.mine ()'],
    ['create a table in public', 'create table public.mine ()'],
    ['create a view', 'create view bi.mine as select 1'],
    ['create a function', `create function audit.mine() returns int language sql as 'select 1'`],
    [
      'replace the digest',
      `create or replace function audit.content_digest(
         event_id uuid, created_on_raw text, user_name text, email text, message text, extra jsonb, raw text
       ) returns bytea language sql as $$ select ''::bytea $$`,
    ],
    ['create a schema', 'create schema mine'],
    ['create a role', 'create role mine'],
    ['become another role', 'set role name_of_the_owner'],
    ['become a reader', 'set role audit_reader'],
    ['make its role mightier', 'alter role audit_writer createdb'],
    ['read passwords', 'select rolpassword from pg_authid'],
    ['read another schema', 'select * from elsewhere.secrets'],
    ['read a file', `select pg_read_file('/etc/passwd')`],
    ['write a file', `copy audit.events to '/tmp/events'`],
    ['run a program', `copy audit.events to program 'cat'`],
    ['change the server', `alter system set fsync = off`],
    ['end a connection of another', 'select pg_terminate_backend(another_connection)'],
  ])('cannot %s', async (_, sql) => {
    const { rows } = await admin.query('select current_user as user, pg_backend_pid() as pid');
    const filled = sql.replace('name_of_the_owner', rows[0].user).replace('another_connection', rows[0].pid);
    expect(await codeOf(writer, filled)).toBe(RIGHT_IS_MISSING);
  });
});

describe('audit_reader', () => {
  let reader: pg.Pool;

  beforeAll(async () => {
    reader = connect((await createLogin('audit_reader')).url);
  });

  test('has exactly these rights', async () => {
    expect(await rightsOf('audit_reader')).toEqual({
      bi: 'usage',
      ...Object.fromEntries((await viewsOfBi()).map((name) => [name, 'select'])),
    });
  });

  test('reads every view, with rows in it', async () => {
    await admin.query(
      `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id, gone_at)
       -- // Reads the clock: the time is written only.
       select organization, log, created_on, event_id, created_on_ticks, 'gone', 1, now() from audit.events limit 1`,
    );
    await admin.query(
      `update audit.events set superseded_by = event_id
       where event_id = (select event_id from audit.events order by created_on limit 1)`,
    );
    const views = await viewsOfBi();
    expect(views.length).toBeGreaterThan(3);
    for (const view of views) {
      const { rows } = await reader.query(`select * from ${view} limit 1`);
      // Half a year of logins is what makes one unusual: test/bi.test.ts has a row of it.
      if (view !== 'bi.unusual_logins') expect([view, rows.length]).toEqual([view, 1]);
    }
  });

  test('can do nothing with a table', async () => {
    const { rows } = await admin.query<{ name: string }>(
      `select format('audit.%I', relname) as name from pg_class
       where relnamespace = 'audit'::regnamespace and relkind in ('r', 'v')`,
    );
    expect(rows.length).toBeGreaterThan(7);
    for (const { name } of rows) {
      const found = [
        await codeOf(reader, `select * from ${name}`),
        await codeOf(reader, `insert into ${name} default values`),
        await codeOf(reader, `delete from ${name}`),
        await codeOf(reader, `truncate ${name}`),
      ];
      expect([name, ...new Set(found)]).toEqual([name, RIGHT_IS_MISSING]);
    }
  });

  test.each([
    ['update events', `update audit.events set message = ''`],
    ['update events through a view', `update bi.events set message = ''`],
    ['delete events through a view', 'delete from bi.events'],
    ['add events through a view', `insert into bi.events (organization) values ('acme')`],
    ['lock events through a view', 'select * from bi.events for update'],
    ['recompute digests', `select audit.content_digest(null, '', '', '', '', null, '')`],
    ['create a view', 'create view bi.mine as select 1'],
    ['become the writer', 'set role audit_writer'],
    ['lock the watermark', 'select from audit.watermarks for key share'],
    ['lock the list of migrations', 'do $$ begin lock table audit.migrations in access share mode; end $$'],
    ['lock the roll-ups', `select audit.lock_roll_ups('acme')`],
    ['end the connection of the worker', 'select pg_terminate_backend(another_connection)'],
    ['cancel a statement of the worker', 'select pg_cancel_backend(another_connection)'],
  ])('cannot %s', async (_, sql) => {
    const { rows } = await admin.query('select pg_backend_pid() as pid');
    expect(await codeOf(reader, sql.replace('another_connection', rows[0].pid))).toBe(RIGHT_IS_MISSING);
  });

  test('cannot lock a view in a mode that blocks a worker or another reader', async () => {
    const modes = ['row share', 'row exclusive', 'share update exclusive', 'share', 'share row exclusive'];
    for (const view of await viewsOfBi()) {
      const codes = [];
      for (const mode of [...modes, 'exclusive', 'access exclusive'])
        codes.push(await codeOf(reader, `do $$ begin lock table ${view} in ${mode} mode; end $$`));
      for (const strength of ['update', 'no key update', 'share', 'key share'])
        codes.push(await codeOf(reader, `select * from ${view} for ${strength}`));
      expect([view, codes.filter((code) => code === 'it was allowed')]).toEqual([view, []]);
    }
  });

  describe('cannot stop the export with', () => {
    const advisoryLocks = ['', ' roll-ups']
      .map((what) => `select pg_advisory_lock(hashtextextended('uipath-audit-export${what} acme', 0));`)
      .join('');
    const readAll = async (isolation: string) =>
      `begin isolation level ${isolation}; ${(await viewsOfBi()).map((view) => `select from ${view}; lock table ${view} in access share mode;`).join('')}`;

    test.each<[string, () => string | Promise<string>]>([
      ['advisory locks', () => advisoryLocks],
      ['the advisory lock of node-pg-migrate', () => 'select pg_advisory_lock(7241865325823964)'],
      ['a transaction that has read all views', () => readAll('read committed')],
      ['an old snapshot of all views', () => readAll('repeatable read')],
      ['a serializable transaction that has read all views', () => readAll('serializable')],
      [
        'the name of a run',
        () =>
          `select set_config('application_name', 'uipath-audit-export run ' || n, false) from generate_series(1, 99) n`,
      ],
      [
        'temporary tables of the same names',
        () => 'create temp table watermarks (); create temp table events ()',
      ],
      ['a channel it listens to', () => 'listen audit; begin; notify audit'],
    ])('%s', async (_, sqlOf) => {
      const simulator = await createSimulator({ events: 20 });
      const { url } = await createLogin('audit_writer');
      const holder = await reader.connect();
      try {
        await holder.query(await sqlOf());
        const environment = {
          ...environmentFor(simulator, url),
          // Each case has another source.
          ...{ UIPATH_ORGANIZATION: 'acme', EXPORT_ACCEPT_SOURCE: simulator.url },
        };
        for (const command of ['run', 'backfill', 'migrate']) {
          const { code, stderr } = await runProgram([command], environment);
          expect([command, code, stderr]).toEqual([command, 0, expect.not.stringMatching(/error/i)]);
        }
      } finally {
        holder.release(true);
        await simulator.close();
      }
    });
  });
});

describe('the commands of docs/roles.md', () => {
  test('create a login for the worker and one for dashboards', async () => {
    const page = readFileSync(new URL('../../../docs/roles.md', import.meta.url), 'utf8');
    const statements = page.match(/create role \w+ login password '[^']+' in role \w+/g)!;
    expect(statements.map((statement) => statement.split(' ').at(-1))).toEqual([
      'audit_writer',
      'audit_reader',
    ]);
    for (const statement of statements) {
      const [, name, password] = /role (\w+) login password '([^']+)'/.exec(statement)!;
      const unique = `audit_test_${process.pid}_${name}`;
      await admin.query(statement.replace(name!, unique));
      closers.push(() => admin.query(`drop role ${unique}`));
      const url = new URL(database.url);
      url.username = unique;
      url.password = password!;
      const pool = connect(url.href);
      expect((await pool.query('select * from bi.export_health')).rows).toHaveLength(1);
      expect(await codeOf(pool, 'delete from audit.events')).toBe(RIGHT_IS_MISSING);
    }
  });
});

describe('tables that are not up to date', () => {
  const owner = () => new URL(database.url).username;

  test('are refused to the writer, and the owner is named', async () => {
    const { name, url } = await createLogin('audit_writer');
    await admin.query(`delete from audit.migrations where name = '0004_roles'`);
    try {
      const simulator = await createSimulator({ events: 1 });
      closers.push(() => simulator.close());
      for (const command of ['start', 'run', 'backfill', 'check']) {
        const { code, stdout, stderr } = await runProgram([command], environmentFor(simulator, url));
        const told = (stdout + stderr).replaceAll(/\s+/g, ' ');
        expect([command, code, told]).toEqual([
          command,
          2,
          expect.stringContaining(
            `The database lacks 0004_roles, and ${name}, the user of DATABASE_URL, may not change its tables. ` +
              `Run \`node dist/main.js migrate\` once with a DATABASE_URL of ${owner()}, who may`,
          ),
        ]);
      }
    } finally {
      await admin.query(
        `insert into audit.migrations (name, run_on) values ('0004_roles', '2026-01-02T03:04:05Z')`,
      );
    }
  });

  test('are refused to a user that may not create them', async () => {
    const empty = await createTestDatabase();
    closers.push(() => empty.drop());
    const { url } = await createLogin('audit_writer', empty);
    await expect(migrate(connect(url))).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining(`with a DATABASE_URL of ${owner()}`),
    });
  });

  test('from before the role existed report that the worker lacks it', async () => {
    const { url } = await createLogin();
    await expect(migrate(connect(url))).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringContaining('the worker needs the role audit_writer'),
    });
  });
});

test('the grants can be made again by hand, where the roles came later', async () => {
  const file = new URL('../../../migrations/0004_roles.sql', import.meta.url);
  const before = await rightsOf('audit_writer');
  await admin.query('revoke all on all tables in schema audit, bi from audit_writer, audit_reader');
  expect(await rightsOf('audit_reader')).toEqual({ bi: 'usage' });
  await admin.query(readFileSync(file, 'utf8'));
  expect(await rightsOf('audit_writer')).toEqual(before);
  expect(before).toMatchObject({ 'audit.watermarks': expect.stringContaining(' resume ') });
  expect(await rightsOf('audit_reader')).toMatchObject({ 'bi.events': 'select' });
});

test('the roles have comments', async () => {
  const { rows } = await admin.query(
    `select rolname as role from pg_roles
     where rolname in ('audit_writer', 'audit_reader') and shobj_description(oid, 'pg_authid') is not null
       and not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication) order by 1`,
  );
  expect(rows).toEqual([{ role: 'audit_reader' }, { role: 'audit_writer' }]);
});
