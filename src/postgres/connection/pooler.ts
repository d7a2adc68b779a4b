/**
 * Detects a pooler in transaction mode, such as PgBouncer. It shares server connections between clients, so the settings of a
 * run, such as its timeouts and its name, would reach other sessions.
 */
import { ExportError } from '../../core/errors.ts';
import { createClient } from './client.ts';
import type { Pool, Queryable } from './pool.ts';

/** Checked once per pool: the pooler does not change. */
const checkedPools = new WeakSet<Pool>();

/** Throws `configuration` if `client`, an idle connection of `pool`, shares its server connection with others. */
export async function requireOwnConnection(pool: Pool, client: Queryable): Promise<void> {
  if (checkedPools.has(pool)) return;
  const backend = await backendOf(client);
  // Not taken from the pool, whose connections may all be in use; but with its timeouts.
  const { query_timeout, connectionTimeoutMillis } = pool.options;
  const other = createClient(pool, { query_timeout, connectionTimeoutMillis });
  // A connection that breaks rejects its query; without a listener it would also end the process.
  other.on('error', () => {});
  try {
    await other.connect();
    // The transaction keeps its server connection: `client`'s own, or another one, and then `client` may get a third one next.
    await other.query('begin');
    if ((await backendOf(other)) === backend || (await backendOf(client)) !== backend)
      throw sharedConnectionError();
  } finally {
    // Not awaited: it would never settle if the server no longer responds.
    void other.end().catch(() => {});
  }
  checkedPools.add(pool);
}

async function backendOf(client: Queryable): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}

function sharedConnectionError(): ExportError {
  return new ExportError(
    'configuration',
    'DATABASE_URL leads through a pooler in transaction mode, where the settings of a run would reach other sessions. ' +
      'Use session mode for the worker (PgBouncer: pool_mode=session), or connect it to PostgreSQL directly.',
  );
}
