import pg from 'pg';
import { applySettings, NO_LIMITS } from './settings.ts';

/** Seen in pg_stat_activity by whoever looks after the database. */
export const APPLICATION_NAME = 'uipath-audit-export';

/** For the answer to one query: a server that says nothing for so long is away, whatever TCP thinks of it. */
export const QUERY_TIMEOUT_MS = 130_000;
/** The server's own limit for a statement, which it reports before the query finds no answer. */
export const STATEMENT_TIMEOUT_MS = QUERY_TIMEOUT_MS - 10_000;

export type Pool = pg.Pool;
export type Client = pg.PoolClient;
/** A connection, wherever it came from. */
export type Queryable = Pick<Client, 'query'>;

/** For whatever asks beside the runs: planning, the status. Each run keeps a connection from its begin to its end. */
const BESIDE_RUNS = 3;

/**
 * `onIdleError` hears of connections that break while nobody uses them; the pool replaces those by itself. So many `sessions`
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
    max: Math.max(1, sessions) + BESIDE_RUNS,
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
    endWhenSilent(client);
  });
  return pool;
}

/**
 * Ends a connection on which a query found no answer in time. pg fails that query alone and leaves the connection open, so
 * that the rollback, the run's last words and the unlocking would each wait as long behind it.
 */
function endWhenSilent(client: Client): void {
  const query = client.query.bind(client) as (...given: unknown[]) => Promise<unknown> | undefined;
  const pass = (...given: unknown[]) => {
    const result = query(...given);
    if (result instanceof Promise) result.catch((error: Error) => endIfSilent(client, error));
    return result;
  };
  client.query = pass as typeof client.query;
}

/** To be told of what any query failed with that gives no promise. */
export function endIfSilent(client: Queryable, error: Error): void {
  // pg gives it no code.
  if (error.message === 'Query read timeout') void (client as unknown as pg.Client).end();
}

/** A connection like the pool's, whose queries may take as long as they need. The caller must `end()` it. */
export async function connectPatientClient(pool: Pool): Promise<pg.Client> {
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
