import type pg from 'pg';
import { blameAttempt, createClient, TargetPool } from './client.ts';
import type { Environment } from './parameters.ts';
import { requireWantedServer } from './server.ts';
import { applySettings, NO_LIMITS } from './settings.ts';

/** Shown in pg_stat_activity. */
export const APPLICATION_NAME = 'uipath-audit-export';

/** The longest wait for the result of one query. After it the server counts as away, even if the TCP connection is still open. */
const QUERY_TIMEOUT_MS = 130_000;
/** The server's limit for a statement. Shorter, so that the server reports it before the query times out. */
const STATEMENT_TIMEOUT_MS = QUERY_TIMEOUT_MS - 10_000;

export type Pool = pg.Pool;
export type Client = pg.PoolClient;
/** A connection, of the pool or not. */
export type Queryable = Pick<Client, 'query'>;

/** Connections for queries outside of sessions: planning and status. Each run uses one connection from its start to its end. */
const RESERVED_CONNECTIONS = 3;

/**
 * Creates a pool for at most `sessions` sessions at once, with connections in reserve for other queries. `onIdleError` receives
 * the errors of idle connections; the pool replaces these itself. `environment` contains libpq's variables, such as PGSSLMODE.
 * Throws `configuration`, for example for a certificate file that cannot be read.
 */
export function createPool(
  url: string,
  onIdleError: (error: Error) => void,
  { sessions = 1, environment = process.env }: { sessions?: number; environment?: Environment } = {},
): TargetPool {
  const pool = new TargetPool(url, environment, {
    application_name: APPLICATION_NAME,
    max: Math.max(1, sessions) + RESERVED_CONNECTIONS,
    connectionTimeoutMillis: 10_000,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: async (client) => {
      try {
        await requireWantedServer(client, pool.target);
        await applySettings(client, { statement_timeout: String(STATEMENT_TIMEOUT_MS) }, pool);
      } catch (error) {
        throw blameAttempt(error, client);
      }
    },
  });
  pool.on('error', onIdleError);
  pool.on('connect', (client) => {
    // The pool listens only on idle connections. One that breaks in use rejects its query and must not end the process.
    client.on('error', () => {});
    closeOnQueryTimeout(client);
  });
  return pool;
}

/**
 * Closes the connection after a query timeout. pg rejects only the query and keeps the connection open; the rollback, the run's
 * final update and the release of the lease would then each wait for the same timeout.
 */
function closeOnQueryTimeout(client: Client): void {
  const query = client.query.bind(client) as (...args: unknown[]) => Promise<unknown> | undefined;
  const queryAndClose = (...args: unknown[]) => {
    const result = query(...args);
    if (result instanceof Promise) result.catch((error: Error) => closeIfTimedOut(client, error));
    return result;
  };
  client.query = queryAndClose as typeof client.query;
}

/** Closes the connection if `error` is a query timeout. Call it with the error of each query that returns no promise. */
export function closeIfTimedOut(client: Queryable, error: Error): void {
  // pg sets no code on it.
  if (error.message === 'Query read timeout') void (client as unknown as pg.Client).end();
}

/** Opens a connection with the settings of the pool's, but without a timeout for queries or locks. The caller must `end()` it. */
export async function connectWithoutTimeout(pool: Pool): Promise<pg.Client> {
  const client = createClient(pool, { application_name: APPLICATION_NAME });
  // A connection that breaks rejects its query; without a listener it would also end the process.
  client.on('error', () => {});
  await client.connect();
  try {
    await applySettings(client, NO_LIMITS, pool);
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  return client;
}

/** Runs `work` in one transaction: stores all of it or nothing. */
export async function withTransaction<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    // A broken connection cannot roll back; the server does it.
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
