import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** Every test database's name begins with this and the run's own mark, so that the teardown finds what a crash left. */
const TEST_DATABASE_PREFIX = 'audit_test_';

export type TestDatabase = {
  /** Connects as the server's superuser (or the createdb user of `TEST_DATABASE_URL`). */
  url: string;
  /** Ends whatever is still connected and removes the database. May be called twice. */
  drop(): Promise<void>;
};

/** An empty UTF-8 database of its own on the server that serves this jest run. Call `drop` in `afterAll`. */
export function createTestDatabase(): Promise<TestDatabase> {
  return copyDatabase('template0');
}

/** The same with all migrations applied: a copy of the database that jest's globalSetup migrated once. */
export function createMigratedDatabase(): Promise<TestDatabase> {
  return copyDatabase(migratedTemplateOf(process.env.TEST_RUN!));
}

/** The migrated database that others are copied from. No session may be open to it. */
export function migratedTemplateOf(run: string): string {
  return `${TEST_DATABASE_PREFIX}${run}_template`;
}

/** An empty database called `name` on the server. */
export async function createDatabase(
  serverUrl: string,
  name: string,
  template = 'template0',
): Promise<string> {
  await onServer(serverUrl, (client) =>
    client.query(`create database ${name} encoding 'UTF8' template ${template}`),
  );
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  return url.href;
}

/** Neither template is open to a session, so creations at the same moment do not get in each other's way. */
async function copyDatabase(template: string): Promise<TestDatabase> {
  const serverUrl = process.env.TEST_SERVER_URL;
  if (!serverUrl)
    throw new Error('TEST_SERVER_URL is not set: run the tests by jest, whose globalSetup sets it');
  const name = `${TEST_DATABASE_PREFIX}${process.env.TEST_RUN}_${randomBytes(6).toString('hex')}`;
  const url = await createDatabase(serverUrl, name, template);
  return {
    url,
    drop: () =>
      onServer(serverUrl, async (client) => {
        await untilLeft(client, name);
        await client.query(`drop database if exists ${name} with (force)`);
      }),
  };
}

const LEAVING_MS = 1_000;

/** Waits for sessions whose clients have disconnected: one that is ended by force reports it, as an error that no test expects. */
async function untilLeft(client: pg.Client, database: string): Promise<void> {
  const deadline = performance.now() + LEAVING_MS;
  do {
    const { rows } = await client.query('select from pg_stat_activity where datname = $1', [database]);
    if (rows.length === 0) return;
    await sleep(10);
  } while (performance.now() < deadline);
}

/** The URL with one more parameter: it may have some already. */
export function withParameter(url: string, name: string, value: string): string {
  const changed = new URL(url);
  changed.searchParams.set(name, value);
  return changed.href.replaceAll('+', '%20');
}

export interface TestLogin {
  name: string;
  /** Connects as it to the database it was made for. */
  url: string;
  drop(): Promise<void>;
}

/** A role that may log in, with the rights of `memberOf` and no more. Call `drop` before the database's. */
export async function createTestLogin(database: TestDatabase, memberOf?: string): Promise<TestLogin> {
  const name = `${TEST_DATABASE_PREFIX}${randomBytes(6).toString('hex')}`;
  const membership = memberOf === undefined ? '' : ` in role ${memberOf}`;
  await onServer(database.url, (client) =>
    client.query(`create role ${name} login password 'test-password'${membership}`),
  );
  const url = new URL(database.url);
  url.username = name;
  url.password = 'test-password';
  return {
    name,
    url: url.href,
    drop: () => onServer(database.url, (client) => client.query(`drop owned by ${name}; drop role ${name}`)),
  };
}

/** Removes the databases of this run that no test file dropped. */
export async function dropLeftTestDatabases(serverUrl: string, run: string): Promise<void> {
  await onServer(serverUrl, async (client) => {
    const { rows } = await client.query<{ datname: string }>(
      'select datname from pg_database where starts_with(datname, $1)',
      [`${TEST_DATABASE_PREFIX}${run}_`],
    );
    for (const { datname } of rows) await client.query(`drop database if exists ${datname} with (force)`);
  });
}

async function onServer(serverUrl: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
