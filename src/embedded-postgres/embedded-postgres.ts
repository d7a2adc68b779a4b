import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { ExportError } from '../core/errors.ts';
import { chooseAccount, type ServerAccount } from './account.ts';
import { type Binaries, findBinaries } from './binaries.ts';
import { type Layout, layoutOf, prepareCluster } from './cluster.ts';
import { withDirectoryLock } from './lock.ts';
import { findPostmaster, startServer, stopServer } from './server.ts';

/*
 * One server per directory, shared by any number of processes. Each process holds a lease: a session whose application_name starts
 * with LEASE. The process that releases the last lease stops the server. A killed process loses its lease with its socket; the
 * server then runs until the next command releases its lease. Finding, starting, counting and stopping happen under the
 * directory's lock, and a lease is acquired before the lock is released, so no server is stopped after a process has found it.
 */

const LEASE = 'uipath-audit-export lease';
const DATABASE = 'audit';
const PREFERRED_PORT = 54329;
/** Longest time for a server to accept connections. Crash recovery of a large database takes long. */
const START_TIMEOUT_MS = 120_000;
const RETRY_MS = 100;
const RESTART_WAIT_MS = 1_000;

export type EmbeddedOptions = {
  /** Contains the database files, the password and the server's log. Created if missing. */
  directory: string;
  /** Shown after the lease's name in `pg_stat_activity`. */
  applicationName?: string;
  /** Receives one sentence for each start, stop and loss of the server. */
  log?: (message: string) => void;
  /** Preferred port; if it is taken, one of the next nine or any free port. 0: any free port. Default 54329. */
  port?: number;
  /** More settings of a server that this call starts, such as `fsync: 'off'` in tests. */
  settings?: Record<string, string>;
};

type EmbeddedPostgres = {
  /** Connects as superuser to the database `audit` on 127.0.0.1. Secret: contains the password. */
  connectionString: string;
  /** Releases the lease and stops the server if it was the last one. Close pools first. May be called twice. */
  release(): Promise<void>;
};

type Server = {
  layout: Layout;
  binaries: Binaries;
  account: ServerAccount;
  password: string;
  options: EmbeddedOptions;
};

type Lease = { client: pg.Client; port: number };

/**
 * Starts the PostgreSQL in `directory`, or uses the one that another process started there. Creates the cluster and the database
 * `audit` if they are missing. Data is kept between runs and survives `kill -9` and power cuts. Under root the server runs as the
 * user `postgres`, or `nobody` if there is none. If the server is lost during the lease, it is restarted, on the same port if that
 * is free.
 *
 * Throws `ExportError`: `configuration` if it is not installed or cannot run there, with the fix and the server's last log lines;
 * `database-away` if it does not respond in time.
 */
export async function acquireEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const layout = layoutOf(resolve(options.directory));
  const binaries = await findBinaries();
  return translateFileErrors(layout.directory, async () => {
    await mkdir(layout.directory, { recursive: true });
    return withDirectoryLock(layout.directory, async () => {
      const account = await chooseAccount(layout.directory, layout.cluster, binaries.postgres);
      const password = await prepareCluster(layout, binaries, account, options.settings ?? {});
      const server = { layout, binaries, account, password, options };
      const lease = await acquireLease(server, options.port ?? PREFERRED_PORT);
      await createDatabase(lease.client).catch(async (error) => {
        await releaseLease(server, lease.client);
        throw error;
      });
      return hold(server, lease);
    });
  });
}

/** Keeps a lease until it is released, and acquires a new one if the server is lost. */
function hold(server: Server, first: Lease): EmbeddedPostgres {
  let lease: Lease | undefined;
  let restarting: Promise<void> | undefined;
  let released: Promise<void> | undefined;
  const keep = (acquired: Lease) => {
    lease = acquired;
    acquired.client.once('end', () => {
      lease = undefined;
      if (!released) restarting = restart();
    });
  };
  const restart = async () => {
    server.options.log?.(`The PostgreSQL in ${server.layout.directory} is lost; restarting it.`);
    while (!released) {
      try {
        keep(await withDirectoryLock(server.layout.directory, () => acquireLease(server, first.port)));
        return;
      } catch (error) {
        server.options.log?.(`The PostgreSQL could not be restarted: ${(error as Error).message}`);
        await sleep(RESTART_WAIT_MS);
      }
    }
  };
  const release = async () => {
    await restarting;
    await withDirectoryLock(server.layout.directory, () => releaseLease(server, lease?.client));
  };
  keep(first);
  return {
    connectionString: connectionString(server, first.port, DATABASE),
    release: () => {
      released ??= translateFileErrors(server.layout.directory, release);
      return released;
    },
  };
}

/** Finds or starts the server and opens the lease's session. The caller must hold the directory's lock. */
async function acquireLease(server: Server, preferredPort: number): Promise<Lease> {
  const { layout, binaries, account, options } = server;
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    let postmaster = await findPostmaster(layout.cluster);
    if (!postmaster) {
      await startServer(layout, binaries, account, {
        port: preferredPort,
        settings: options.settings ?? {},
      });
      postmaster = await findPostmaster(layout.cluster);
      options.log?.(`Started PostgreSQL in ${layout.directory} on 127.0.0.1:${postmaster?.port}.`);
    }
    try {
      // No port yet, starting, recovering or stopping: all are temporary.
      if (postmaster?.port) return { client: await connect(server, postmaster.port), port: postmaster.port };
    } catch (error) {
      if (!isTemporary(error) || Date.now() > deadline) throw unavailable(layout, error as Error);
    }
    if (Date.now() > deadline) throw unavailable(layout, new Error('its port is not known'));
    await sleep(RETRY_MS);
  }
}

async function releaseLease(server: Server, held: pg.Client | undefined): Promise<void> {
  const postmaster = await findPostmaster(server.layout.cluster);
  if (!postmaster) return;
  const client = held ?? (await connect(server, postmaster.port ?? PREFERRED_PORT).catch(() => undefined));
  if (!client) return;
  let others = 1;
  try {
    const { rows } = await client.query<{ leases: number }>(
      `select count(*)::int as leases from pg_stat_activity
       where starts_with(application_name, $1) and pid <> pg_backend_pid()`,
      [LEASE],
    );
    others = rows[0]!.leases;
    // The session may stay in pg_stat_activity for a moment after its end; the next process to leave must not count it.
    await client.query(`set application_name = 'uipath-audit-export leaving'`);
  } finally {
    await client.end();
  }
  if (others > 0) return;
  const isStopped = await stopServer(server.layout, server.binaries, server.account);
  const name = `the PostgreSQL in ${server.layout.directory}`;
  server.options.log?.(
    isStopped ? `Stopped ${name}.` : `Requested the stop of ${name}, which is still in progress.`,
  );
}

async function connect(server: Server, port: number): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: connectionString(server, port, 'postgres'),
    application_name: [LEASE, server.options.applicationName].filter(Boolean).join(' '),
  });
  // The user of the client notices a loss by its query or by "end". Without a listener, "error" would end the process.
  client.on('error', () => {});
  // No result here depends on a setting of the session.
  await client.connect();
  return client;
}

async function createDatabase(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
  if (!rowCount) await client.query(`create database ${DATABASE}`);
}

function connectionString(server: Server, port: number, database: string): string {
  // Overrides a PGSSLMODE that is meant for other servers: this one has no TLS and listens on the loopback only.
  return `postgres://postgres:${server.password}@127.0.0.1:${port}/${database}?sslmode=disable`;
}

/** SQLSTATE class 57P: shutting down, crashed or starting. A broken socket has a system error code or none. */
function isTemporary(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return !code || code.startsWith('57P') || code === 'ECONNREFUSED' || code === 'ECONNRESET';
}

function unavailable(layout: Layout, error: Error): ExportError {
  const isRefused = (error as { code?: string }).code?.startsWith('28');
  return new ExportError(
    isRefused ? 'configuration' : 'database-away',
    isRefused
      ? `The embedded PostgreSQL rejected the password in ${layout.passwordFile}: ${error.message}. Restore that file.`
      : `The PostgreSQL in ${layout.directory} runs but does not respond: ${error.message}. See ${layout.logFile}.`,
    { cause: error },
  );
}

async function translateFileErrors<Result>(directory: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ExportError || (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    throw new ExportError(
      'configuration',
      `The embedded PostgreSQL cannot use ${directory}: ${(error as Error).message}. Make it a directory that this ` +
        'user may write to, choose another with EMBEDDED_POSTGRES_DIR, or set DATABASE_URL.',
      { cause: error },
    );
  }
}
