/**
 * Whether each of our connections has one of the server to itself. A pooler in transaction mode, such as PgBouncer's, hands
 * them round: then the settings of a run, its timeouts and its name among them, reach the sessions of others.
 */
import pg from 'pg';
import { ExportError } from '../../core/errors.ts';
import type { Pool, Queryable } from './pool.ts';

/** Asked once a pool: who stands between does not change. */
const proven = new WeakSet<Pool>();

/** Throws `configuration` when `client`, idle and of `pool`, shares its connection of the server with others. */
export async function requireOwnConnection(pool: Pool, client: Queryable): Promise<void> {
  if (proven.has(pool)) return;
  const mine = await backendOf(client);
  // Not of the pool, whose connections may all be in use; but with its time-outs.
  const other = new pg.Client(pool.options);
  // A connection that breaks fails the query under way; without a listener it would end the process as well.
  other.on('error', () => {});
  try {
    await other.connect();
    // A transaction holds what it was given, be it mine; and if it was another one, I may be given a third next.
    await other.query('begin');
    if ((await backendOf(other)) === mine || (await backendOf(client)) !== mine) throw shared();
  } finally {
    // Not waited for: where the server says nothing any more, that would never end.
    void other.end().catch(() => {});
  }
  proven.add(pool);
}

async function backendOf(client: Queryable): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}

function shared(): ExportError {
  return new ExportError(
    'configuration',
    'DATABASE_URL leads through a pooler in transaction mode, where the settings of a run would reach other sessions. ' +
      'Give the worker a pool of session mode (PgBouncer: pool_mode=session), or connect it to PostgreSQL itself.',
  );
}
