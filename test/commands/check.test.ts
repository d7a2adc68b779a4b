import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { commandLine } from '../../src/terminal/next-steps.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type Ended, environmentFor, errorIn, runProgram } from '../support/program.ts';

const NAMES = ['configuration', 'database', 'migrations', 'writing', 'token', 'list', 'order', 'language'];

let database: TestDatabase;
let simulator: Simulator;
let environment: Record<string, string>;
/** The mark of a database that passes: the tests' own server may lose commits, which is a warning. */
let passed: string;

beforeAll(async () => {
  database = await createTestDatabase();
  const { rows } = await withClient((client) =>
    client.query(`select from pg_settings where name in ('fsync', 'synchronous_commit') and setting = 'off'`),
  );
  passed = rows.length > 0 ? '!' : '✓';
  simulator = await createSimulator({ events: 50 });
  environment = environmentFor(simulator, database.url);
});

afterEach(() => simulator.set({ faults: [], ignoreSortOrder: false }));

afterAll(async () => {
  await simulator.close();
  await database.drop();
});

function check(given: Record<string, string> = {}, args: readonly string[] = []): Promise<Ended> {
  return runProgram(['check', ...args], { ...environment, ...given });
}

/** The mark of each check, and the whole text of one that failed. */
function read({ stdout }: Ended): { marks: Record<string, string>; failed: Record<string, string> } {
  const marks: Record<string, string> = {};
  const failed: Record<string, string> = {};
  for (const [, mark, name, found] of stdout.matchAll(/^([✓!✗-]) (\w+) +([^\n]*(?:\n {17}[^\n]*)*)/gm)) {
    marks[name!] = mark!;
    if (mark === '✗') failed[name!] = found!;
  }
  expect(Object.keys(marks)).toEqual(NAMES);
  return { marks, failed };
}

function marksOf(text: string): Record<string, string> {
  const mark = (name: string, i: number) => (name === 'database' && text[i] === '✓' ? passed : text[i]!);
  return Object.fromEntries(NAMES.map((name, i) => [name, mark(name, i)]));
}

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

describe('with everything in order', () => {
  test('an empty database passes, stays empty, and the next command is named', async () => {
    const ended = await check();
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    expect(read(ended).marks).toEqual(marksOf('✓✓✓✓✓✓✓✓'));
    expect(ended.stdout).toMatch(/ order +oldest first: from 2023-01-01 .* UTC to 2023-/);
    expect(ended.stdout).toContain(' 50 events at ');
    expect(ended.stdout).toMatch(/All checks passed\. Next:\n {2}node dist\/main\.js run /);
    const schemas = await withClient((client) =>
      client.query(`select from information_schema.schemata where schema_name = 'audit'`),
    );
    expect(schemas.rowCount).toBe(0);
  });

  test('a migrated database passes, and nothing is left in it', async () => {
    await runProgram(['migrate'], environment);
    const ended = await check();
    expect(read(ended).marks).toEqual(marksOf('✓✓✓✓✓✓✓✓'));
    const rows = await withClient((client) => client.query('select from audit.watermarks'));
    expect(rows.rowCount).toBe(0);
  });

  test('--json prints one object', async () => {
    const { code, stdout } = await check({}, ['--json']);
    expect(code).toBe(0);
    const { ok, checks, next } = JSON.parse(stdout);
    expect(ok).toBe(true);
    expect(checks.map(({ name }: { name: string }) => name)).toEqual(NAMES);
    expect(next.length).toBeGreaterThan(0);
  });

  test('an unknown variable is a warning', async () => {
    const ended = await check({ UIPATH_CLIENTID: 'x' });
    expect(ended.code).toBe(0);
    expect(read(ended).marks).toEqual(marksOf('!✓✓✓✓✓✓✓'));
    expect(ended.stdout).toContain('The nearest known variable is UIPATH_CLIENT_ID.');
  });

  test('without DATABASE_URL the embedded database is created and passes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'audit-check-postgres-'));
    try {
      const given = { DATABASE_URL: '', EMBEDDED_POSTGRES_DIR: join(directory, 'new') };
      const ended = await check(given);
      expect(read(ended).marks).toEqual(marksOf('✓!✓✓✓✓✓✓'));
      expect(ended.stdout).toContain(`embedded in ${given.EMBEDDED_POSTGRES_DIR}`);
      expect(ended.stdout).toContain('DATABASE_URL is not set, so the events go there.');
      expect([ended.code, ended.stderr]).toEqual([0, '']);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

describe('a failure', () => {
  test('of the configuration is a line with every problem, and the database is checked all the same', async () => {
    const ended = await check({ UIPATH_ORGANIZATION: '', EXPORT_PAGE_SIZE: '0' });
    // EXPORT_PAGE_SIZE is wrong for the database's part too.
    expect(read(ended).marks).toEqual(marksOf('✗-------'));
    const { failed, marks } = read(await check({ UIPATH_ORGANIZATION: '', UIPATH_SCOPE: ' a  b ' }));
    expect(marks).toEqual(marksOf('✗✓✓✓----'));
    expect(failed.configuration).toMatch(/UIPATH_SCOPE: expected .*\n.*UIPATH_ORGANIZATION: expected /s);
    expect(ended.code).toBe(2);
    expect(errorIn(ended.stderr)).toBe('1 of 8 checks failed: configuration.');
  });

  test('of the configuration is part of --json, too', async () => {
    const { code, stdout } = await check({ UIPATH_ORGANIZATION: '' }, ['--json']);
    expect(code).toBe(2);
    const { ok, checks } = JSON.parse(stdout);
    expect(ok).toBe(false);
    expect(checks[0]).toMatchObject({ name: 'configuration', outcome: 'failed', code: 'configuration' });
    expect(checks[4]).toEqual({ name: 'token', outcome: 'skipped', found: 'skipped: needs configuration' });
  });

  test('of the file of variables skips what depends on it', async () => {
    const ended = await check({}, ['--env-file', '/nowhere/.env']);
    expect(read(ended).marks).toEqual(marksOf('✗-------'));
    expect(ended.code).toBe(2);
    expect(ended.stdout).toMatch(
      /Then run:\n {2}node -- dist\/main\.js check --env-file \/nowhere\/\.env\n$/,
    );
  });

  test('of the database does not skip the checks of the source, and is temporary', async () => {
    const ended = await check({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' });
    expect(read(ended).marks).toEqual(marksOf('✓✗--✓✓✓✓'));
    expect(read(ended).failed.database).toContain('ECONNREFUSED');
    expect(ended.code).toBe(75);
  });

  test('to write for lack of rights names them', async () => {
    const role = `audit_test_reader_${process.pid}`;
    const { host, pathname } = new URL(database.url);
    await withClient(async (client) => {
      await client.query(`create role ${role} login password 'only-for-this-test'`);
      await client.query(`grant usage on schema audit to ${role}`);
      await client.query(`grant select on all tables in schema audit to ${role}`);
      await client.query(`grant insert on audit.runs to ${role}`);
    });
    try {
      const given = {
        DATABASE_URL: `postgres://${role}:only-for-this-test@${host}${pathname}`,
        LOG_LEVEL: 'trace',
      };
      const ended = await check(given);
      expect(ended.stdout + ended.stderr).not.toMatch(/only-for-this-test|simulated-secret/);
      expect(read(ended).marks).toEqual(marksOf('✓✓✓✗✓✓✓✓'));
      expect(read(ended).failed.writing).toContain('lacks insert on audit.events, update on audit.events,');
      expect(read(ended).failed.writing).not.toContain('insert on audit.runs');
      expect(ended.code).toBe(2);
    } finally {
      await withClient(async (client) => {
        await client.query(`drop owned by ${role}`);
        await client.query(`drop role ${role}`);
      });
    }
  });

  test('to write to a read-only server says so', async () => {
    const url = new URL(database.url);
    url.searchParams.set('options', '-c default_transaction_read_only=on');
    const { failed } = read(await check({ DATABASE_URL: url.href }));
    expect(failed.writing).toMatch(/^The database is read-only/);
  });

  test('of the token names the secret, without showing it', async () => {
    const ended = await check({ UIPATH_CLIENT_SECRET: 'not-the-right-one' });
    expect(read(ended).marks).toEqual(marksOf('✓✓✓✓✗---'));
    expect(read(ended).failed.token).toMatch(/invalid_client.*UIPATH_CLIENT_SECRET/);
    expect(ended.stdout + ended.stderr).not.toContain('not-the-right-one');
    expect(ended.code).toBe(2);
  });

  test('of the path says that HTML came, and from where', async () => {
    const ended = await check({ UIPATH_AUDIT_PATH: '/{organization}/no/such/path' });
    expect(read(ended).failed.list).toMatch(/acme\/no\/such\/path.*HTML page.*UIPATH_AUDIT_PATH/);
    expect(read(ended).marks).toEqual(marksOf('✓✓✓✓✓✗--'));
  });

  test('of the source for a while is temporary, and is attempted only twice', async () => {
    simulator.set({ faults: [{ fault: 503 }] });
    simulator.clearRequests();
    const ended = await check({ RETRY_MAX_DELAY: '10ms' });
    expect(read(ended).failed.list).toContain('HTTP 503');
    expect(ended.code).toBe(75);
    expect(simulator.counts.list).toBe(2);
  });

  test('to sort is a check apart from the list', async () => {
    simulator.set({ ignoreSortOrder: true });
    const ended = await check();
    expect(read(ended).marks).toEqual(marksOf('✓✓✓✓✓✓✗✓'));
    expect(read(ended).failed.order).toContain('ignored sortOrder=asc');
    expect(ended.code).toBe(1);
  });

  test('that is the most severe decides the exit code', async () => {
    simulator.set({ ignoreSortOrder: true });
    const ended = await check({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' });
    expect([ended.code, errorIn(ended.stderr)]).toEqual([1, '2 of 8 checks failed: database, order.']);
    expect(ended.stdout).toMatch(
      /\nFix the database check first, then order: .*\n {2}node dist\/main\.js check\n$/,
    );
    const mostSevere = await check({
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x',
      UIPATH_CLIENT_SECRET: 'not-the-right-one',
    });
    expect(mostSevere.code).toBe(2);
  });
});

describe('the source', () => {
  test.each([
    ['de', '✓', 'messages are in de'],
    ['tr', '!', 'the messages are in English'],
  ])('with messages requested in %s is checked by the messages it returns', async (language, mark, words) => {
    const ended = await check({ UIPATH_LANGUAGE: language });
    expect(read(ended).marks.language).toBe(mark);
    expect(ended.stdout).toContain(words);
    expect(ended.code).toBe(0);
  });

  test.each([0, 1, 6])('with %d events is in order', async (events) => {
    const small = await createSimulator({ events });
    try {
      const ended = await check({ ...environmentFor(small, database.url) });
      expect(ended.code).toBe(0);
      expect(read(ended).marks.order).toBe(events === 0 ? '!' : '✓');
    } finally {
      await small.close();
    }
  });
});

test.each([
  [{}, 'node dist/main.js run'],
  [{ envFile: 'a b.env' }, "node -- dist/main.js run --env-file 'a b.env'"],
  [{ organization: 'acme' }, 'node dist/main.js run --organization acme'],
])('with %j the next command is named as it has to be typed', (options, line) => {
  expect(commandLine('run', options)).toBe(line);
});
