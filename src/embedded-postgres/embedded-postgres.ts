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
 * One server a directory, shared by any number of processes. Each holds a lease: a session whose application_name
 * begins with LEASE. The process that gives up the last lease stops the server. A process that is killed loses its lease with its
 * socket; the server then stays until the next command has come and gone. Finding, starting, counting and stopping happen
 * under the directory's lock, and a lease is taken before the lock is given back, so no server is stopped under a
 * process that has just found it.
 */

const LEASE = 'uipath-audit-export lease';
const DATABASE = 'audit';
const PREFERRED_PORT = 54329;
/** Crash recovery of a large database takes its time; a server that says nothing for longer is stuck. */
const ANSWER_MS = 120_000;
const RETRY_MS = 100;
const REVIVE_MS = 1_000;

export type EmbeddedOptions = {
  /** Holds the database files, the password and the server's log. Created when missing. */
  directory: string;
  /** Shown after the lease's name in `pg_stat_activity`. */
  applicationName?: string;
  /** Told in one sentence about a start, a stop and a server that went away. */
  log?: (message: string) => void;
  /** The port to take when it is free; one of the next nine or any free one otherwise. 0 takes any. Default 54329. */
  port?: number;
  /** More server settings, for a server that this call starts, such as `fsync: 'off'` in tests. */
  settings?: Record<string, string>;
};

type EmbeddedPostgres = {
  /** Superuser of the database `audit` on 127.0.0.1. Holds the password: a secret. */
  connectionString: string;
  /** Gives the server back, and stops it when no other process holds it. Close pools first. May be called twice. */
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
 * Starts the PostgreSQL in `directory`, or joins the one that another process started there, and creates the cluster and
 * the database `audit` when they are missing. Data is kept between runs, and survives `kill -9` and power cuts. Works as
 * root, too: the server then runs as the user `postgres`, or `nobody` where there is none. Should the server go away while
 * it is held, it is started again on the same port where that is free.
 *
 * Throws `ExportError`: `configuration` when it is not installed or cannot run there, with the remedy and the server's
 * last log lines; `database-away` when it does not respond in time.
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
      const lease = await takeLease(server, options.port ?? PREFERRED_PORT);
      await createDatabase(lease.client).catch(async (error) => {
        await giveUpLease(server, lease.client);
        throw error;
      });
      return hold(server, lease);
    });
  });
}

/** Keeps a lease for as long as the process wants it, taking a new one when the server went away. */
function hold(server: Server, first: Lease): EmbeddedPostgres {
  let lease: Lease | undefined;
  let reviving: Promise<void> | undefined;
  let released: Promise<void> | undefined;
  const keep = (taken: Lease) => {
    lease = taken;
    taken.client.once('end', () => {
      lease = undefined;
      if (!released) reviving = revive();
    });
  };
  const revive = async () => {
    server.options.log?.(`The PostgreSQL in ${server.layout.directory} went away; starting it again.`);
    while (!released) {
      try {
        keep(await withDirectoryLock(server.layout.directory, () => takeLease(server, first.port)));
        return;
      } catch (error) {
        server.options.log?.(`The PostgreSQL did not start again: ${(error as Error).message}`);
        await sleep(REVIVE_MS);
      }
    }
  };
  const release = async () => {
    await reviving;
    await withDirectoryLock(server.layout.directory, () => giveUpLease(server, lease?.client));
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

/** Finds or starts the server and opens the session that holds it. The caller holds the directory's lock. */
async function takeLease(server: Server, preferredPort: number): Promise<Lease> {
  const { layout, binaries, account, options } = server;
  const deadline = Date.now() + ANSWER_MS;
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
      // No port yet, or starting, recovering, stopping: all of them pass.
      if (postmaster?.port) return { client: await connect(server, postmaster.port), port: postmaster.port };
    } catch (error) {
      if (!isPassing(error) || Date.now() > deadline) throw unanswered(layout, error as Error);
    }
    if (Date.now() > deadline) throw unanswered(layout, new Error('it did not say its port'));
    await sleep(RETRY_MS);
  }
}

async function giveUpLease(server: Server, held: pg.Client | undefined): Promise<void> {
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
    // The session may linger in pg_stat_activity after its end, where the next to leave would count it.
    await client.query(`set application_name = 'uipath-audit-export leaving'`);
  } finally {
    await client.end();
  }
  if (others > 0) return;
  const isStopped = await stopServer(server.layout, server.binaries, server.account);
  const outcome = isStopped ? 'Stopped' : 'Told to stop, and did not wait longer for,';
  server.options.log?.(`${outcome} the PostgreSQL in ${server.layout.directory}.`);
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
  // A PGSSLMODE meant for other servers must not reach this one, which speaks plain text on the loopback only.
  return `postgres://postgres:${server.password}@127.0.0.1:${port}/${database}?sslmode=disable`;
}

/** SQLSTATE class 57P: shutting down, crashed, starting. A socket that breaks has a code of the system or none. */
function isPassing(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return !code || code.startsWith('57P') || code === 'ECONNREFUSED' || code === 'ECONNRESET';
}

function unanswered(layout: Layout, error: Error): ExportError {
  const isRefused = (error as { code?: string }).code?.startsWith('28');
  return new ExportError(
    isRefused ? 'configuration' : 'database-away',
    isRefused
      ? `The embedded PostgreSQL refused the password in ${layout.passwordFile}: ${error.message}. Restore that file.`
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
