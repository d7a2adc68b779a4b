/** A PostgreSQL of the harness's own, which it may stop at any moment. */
import { chmod, mkdir } from 'node:fs/promises';
import pg from 'pg';
import { chooseAccount } from '../../src/embedded-postgres/account.ts';
import { findBinaries } from '../../src/embedded-postgres/binaries.ts';
import { layoutOf, prepareCluster } from '../../src/embedded-postgres/cluster.ts';
import { findPostmaster, startServer, stopServer } from '../../src/embedded-postgres/server.ts';

/** Commits go to the operating system, which no round stops, so nothing waits for the disk. */
const SETTINGS = { fsync: 'off', max_connections: '100' };
/** Small enough for a small file system. */
const SMALL = { max_wal_size: '32MB', min_wal_size: '32MB', shared_buffers: '16MB' };

/** Holds the tables, and is copied for each round. */
const TEMPLATE = 'torture_template';

export interface Cluster {
  version: string;
  /** The superuser's way to a database. */
  urlOf(database: string): string;
  /** Makes a database with the tables in it, or an empty one; gives its address. */
  createDatabase(name: string, options?: { isEmpty?: boolean }): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  /** As a power cut for the server: no checkpoint, every session ends; the next start recovers from the log. */
  stopAtOnce(): Promise<void>;
  /** Starts it on the same port; nothing happens where it runs. */
  ensureStarted(): Promise<void>;
  close(): Promise<void>;
}

/** `migrate` is given the address of the template and creates the tables. */
export async function startCluster(
  directory: string,
  options: { isSmall?: boolean; migrate: (url: string) => Promise<void> },
): Promise<Cluster> {
  const layout = layoutOf(directory);
  const binaries = await findBinaries();
  await mkdir(directory, { recursive: true });
  await chmod(directory, 0o755);
  const account = await chooseAccount(directory, layout.cluster, binaries.postgres);
  const settings: Record<string, string> = { ...SETTINGS, ...(options.isSmall ? SMALL : {}) };
  const password = await prepareCluster(layout, binaries, account, settings);
  let port = 0;
  const ensureStarted = async () => {
    if (await findPostmaster(layout.cluster)) return;
    await startServer(layout, binaries, account, { port, settings });
    port = (await findPostmaster(layout.cluster))?.port ?? port;
  };
  const urlOf = (database: string) =>
    `postgres://postgres:${password}@127.0.0.1:${port}/${database}?sslmode=disable`;
  const onServer = async <T>(work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: urlOf('postgres') });
    client.on('error', () => {});
    await client.connect();
    return work(client).finally(() => client.end());
  };
  const create = (name: string, template: string) =>
    onServer((client) => client.query(`create database ${name} encoding 'UTF8' template ${template}`));

  await ensureStarted();
  const version = await onServer((client) => client.query('show server_version'));
  await create(TEMPLATE, 'template0');
  await options.migrate(urlOf(TEMPLATE));
  return {
    version: version.rows[0].server_version,
    urlOf,
    async createDatabase(name, { isEmpty = false } = {}) {
      await create(name, isEmpty ? 'template0' : TEMPLATE);
      return urlOf(name);
    },
    async dropDatabase(name) {
      await onServer((client) => client.query(`drop database if exists ${name} with (force)`));
    },
    async stopAtOnce() {
      const stop = ['stop', '-m', 'immediate', '-w', '-s', '-t', '20'];
      await account.run(binaries.pgCtl, stop, { cluster: layout.cluster });
    },
    ensureStarted,
    close: async () => {
      await stopServer(layout, binaries, account);
    },
  };
}
