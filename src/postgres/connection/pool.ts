import pg from 'pg';
import { applySettings, NO_LIMITS } from './settings.ts';

/** Shown in pg_stat_activity. */
export const APPLICATION_NAME = 'uipath-audit-export';

/** Timeout of one query: a server that does not respond for this long counts as down, even if TCP keeps the connection. */
export const QUERY_TIMEOUT_MS = 130_000;
/** The server's own limit for a statement, which it reports before the query timeout. */
export const STATEMENT_TIMEOUT_MS = QUERY_TIMEOUT_MS - 10_000;

export type Pool = pg.Pool;
export type Client = pg.PoolClient;
/** A connection, wherever it came from. */
export type Queryable = Pick<Client, 'query'>;

/** For whatever asks beside the runs: planning, the status. Each run keeps a connection from its begin to its end. */
const RESERVED_CONNECTIONS = 3;

/**
 * `onIdleError` receives the error of an idle connection that breaks; the pool replaces it. This many `sessions`
 * can be open at once, and never all connections are theirs.
 */
export function createPool(
  url: string,
  onIdleError: (error: Error) => void,
  { sessions = 1 }: { sessions?: number } = {},
): Pool {
  const pool: Pool = new pg.Pool({
    connectionString: url,
    application_name: APPLICATION_NAME,
    max: Math.max(1, sessions) + RESERVED_CONNECTIONS,
    connectionTimeoutMillis: 10_000,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: (client) => applySettings(client, { statement_timeout: String(STATEMENT_TIMEOUT_MS) }, pool),
  });
  pool.on('error', onIdleError);
  pool.on('connect', (client) => {
    // The pool listens only while nobody uses a connection. One that breaks in use fails its query and must not end the process.
    client.on('error', () => {});
    closeOnQueryTimeout(client);
  });
  return pool;
}

/**
 * Closes a connection after a query timeout. pg rejects only the query and keeps the connection open; the rollback and the run's
 * final update would then each wait for the same timeout.
 */
function closeOnQueryTimeout(client: Client): void {
  const query = client.query.bind(client) as (...given: unknown[]) => Promise<unknown> | undefined;
  const pass = (...given: unknown[]) => {
    const result = query(...given);
    if (result instanceof Promise) result.catch((error: Error) => closeIfTimedOut(client, error));
    return result;
  };
  client.query = pass as typeof client.query;
}

/** For the error of a query that returns no promise. */
export function closeIfTimedOut(client: Queryable, error: Error): void {
  // pg gives it no code.
  if (error.message === 'Query read timeout') void (client as unknown as pg.Client).end();
}

/** A connection like the pool's, whose queries may take as long as they need. The caller must `end()` it. */
export async function connectWithoutTimeout(pool: Pool): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: pool.options.connectionString,
    application_name: APPLICATION_NAME,
  });
  return connectWithSettings(client, pool);
}

/** Opens the connection, with the settings that results depend on and no limit of time. */
async function connectWithSettings(client: pg.Client, pool?: Pool): Promise<pg.Client> {
  // A connection that breaks fails the query under way; without a listener it would end the process as well.
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

/** Runs `work` in one transaction: all of it is stored, or nothing. */
export async function withTransaction<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await work();
    await client.query('commit');
    return result;
  } catch (error) {
    // A broken connection cannot roll back, and need not: the server does.
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
