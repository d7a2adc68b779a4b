import { randomBytes } from 'node:crypto';
import { buildDist } from './build.ts';
import { createDatabase, migratedTemplateOf } from './database.ts';
import { migrateDatabase, startTestServer, type TestServer } from './server.ts';

declare global {
  /** Set by globalSetup for globalTeardown; both run in jest's own process. */
  var testServer: TestServer | undefined;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Builds `dist` and starts the run's one PostgreSQL; the test files find it by `createTestDatabase`. */
export default async function setup(config: { rootDir: string }): Promise<void> {
  const complaints = await buildDist(config.rootDir);
  if (complaints) {
    const lines = complaints.trim().split('\n');
    console.log(`dist was built although the compiler complains (${lines.length} lines): ${lines[0]}`);
  }

  process.env.TEST_RUN = randomBytes(4).toString('hex');
  const starting = startTestServer(process.env.TEST_RUN);
  stopOnSignals(starting);
  const server = await starting;
  process.env.TEST_SERVER_URL = server.url;
  globalThis.testServer = server;
  await migrateDatabase(await createDatabase(server.url, migratedTemplateOf(process.env.TEST_RUN)));
  console.log(`The tests' database is ${server.description}.`);
}

/** Jest runs no globalTeardown when a signal ends it, and a server that is still starting would stay, too. */
function stopOnSignals(starting: Promise<TestServer>): void {
  for (const signal of SIGNALS) {
    let isStopping = false;
    // Not `once`: the signal-exit package that testcontainers brings kills a process that has no other listener.
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      isStopping = true;
      starting
        .then((server) => server.stop())
        .catch(() => {})
        .finally(() => process.exit(1));
    });
  }
}
