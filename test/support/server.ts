import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dropLeftTestDatabases } from './database.ts';

/** The one PostgreSQL server of a jest run. `stop` leaves no process, container, database or directory behind. */
export type TestServer = { url: string; description: string; stop(): Promise<void> };

const IMAGE = 'postgres:18-alpine';

/** Nothing a test stores must outlive the run, so nothing waits for the disk. */
const FAST_SETTINGS = {
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  max_connections: '300',
};

/**
 * Starts the server of a run: `TEST_DATABASE_URL`, else a container where a Docker engine answers, else the embedded one.
 * `TEST_DATABASE=container` or `embedded` forces one of the last two, and then its failure is the run's failure.
 */
export async function startTestServer(run: string): Promise<TestServer> {
  const forced = process.env.TEST_DATABASE;
  if (forced && forced !== 'container' && forced !== 'embedded') {
    throw new Error(`TEST_DATABASE is "${forced}"; it may be "container", "embedded" or unset`);
  }
  const given = process.env.TEST_DATABASE_URL;
  if (given && !forced) {
    return {
      url: given,
      description: 'the server of TEST_DATABASE_URL',
      stop: () => dropLeftTestDatabases(given, run),
    };
  }
  if (forced === 'embedded') return startEmbedded();
  if (forced === 'container') return startContainer();
  return startContainer().catch((error: Error) => {
    const reason = error.message.split('\n')[0];
    console.log(`No ${IMAGE} container (${reason}); the embedded PostgreSQL takes its place.`);
    return startEmbedded();
  });
}

async function startContainer(): Promise<TestServer> {
  // Ryuk, which reaps containers of runs that died, needs one more image; stop() and the signal handlers do its work.
  process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true';
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const settings = Object.entries(FAST_SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const container = await new PostgreSqlContainer(IMAGE)
    .withCommand(['postgres', ...settings])
    .withStartupTimeout(60_000)
    .start();
  const url = new URL(container.getConnectionUri());
  // "localhost" may mean ::1 first, where Docker does not always listen.
  if (url.hostname === 'localhost') url.hostname = '127.0.0.1';
  return {
    url: url.href,
    description: `a ${IMAGE} container`,
    stop: async () => {
      await container.stop({ remove: true, removeVolumes: true });
    },
  };
}

/** Applies all migrations to the database at `url`, by the built program's own code. */
export async function migrateDatabase(url: string): Promise<void> {
  const { createPool, migrate } = await loadBuilt();
  const pool = createPool(url, () => {});
  try {
    await migrate(pool);
  } finally {
    await pool.end();
  }
}

async function startEmbedded(): Promise<TestServer> {
  const { acquireEmbeddedPostgres } = await loadBuilt();
  const directory = await mkdtemp(join(tmpdir(), 'audit-test-postgres-'));
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    const server = await acquireEmbeddedPostgres({ directory, port: 0, settings: FAST_SETTINGS });
    return {
      url: server.connectionString,
      description: 'the embedded PostgreSQL',
      stop: async () => {
        await server.release();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** The built program, because jest turns this file into CommonJS. Variables, because dist is not there to be checked. */
async function loadBuilt() {
  const paths = [
    'embedded-postgres/embedded-postgres',
    'postgres/connection/pool',
    'postgres/schema/migrate',
  ].map((name) => `../../dist/${name}.js`);
  const [embedded, pool, migrate] = await Promise.all(paths.map((path) => import(path)));
  return {
    ...embedded,
    ...pool,
    ...migrate,
  } as typeof import('../../src/embedded-postgres/embedded-postgres.ts') &
    typeof import('../../src/postgres/connection/pool.ts') &
    typeof import('../../src/postgres/schema/migrate.ts');
}
