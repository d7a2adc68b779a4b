/** Runs statements that need a lock which other sessions may hold. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ExportError } from '../../core/errors.ts';
import type { Pool, Queryable } from '../connection/pool.ts';
import { watchBlockers } from './blockers.ts';

/** SQLSTATE lock_not_available. */
export const LOCK_NOT_AVAILABLE = '55P03';
const DEADLOCK_DETECTED = '40P01';

export interface LockOptions {
  /** How long a statement waits for a lock. Statements of other sessions queue behind it meanwhile. */
  lockTimeoutMs?: number;
  attempts?: number;
}

/**
 * Runs `work` on `client`, again if it fails because a lock was not available in time. `work` gets the time limit and must set it in its
 * transaction. Throws `database-away`, with the sessions that hold the lock, after the last attempt.
 */
export async function withLockRetries<T>(
  pool: Pool,
  client: Queryable,
  { lockTimeoutMs = 5_000, attempts = 3 }: LockOptions,
  work: (lockTimeoutMs: number) => Promise<T>,
): Promise<T> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const intervalMs = lockTimeoutMs / 5;
  const blockers = watchBlockers(pool, { pid: rows[0]!.pid, intervalMs });
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work(Math.ceil(lockTimeoutMs));
      } catch (error) {
        const { code } = error as { code?: string };
        if (code !== LOCK_NOT_AVAILABLE && code !== DEADLOCK_DETECTED) throw error;
        if (attempt === attempts) throw lockTimeoutError(blockers.describe(), error as Error);
        await sleep(intervalMs);
      }
    }
  } finally {
    blockers.stop();
  }
}

/** Below `deadlock_timeout` (1 s by default), after which the server would end the query of a reader. */
const VIEWS_TIMEOUT_MS = 400;
const VIEWS_PAUSE_MS = 100;

/**
 * Locks the views of the schemas audit and bi, in the transaction of `client`, before statements that change them or their tables. A query locks
 * a view before the tables behind it, so afterwards readers wait at a view and hold no lock that the statements need. Throws
 * lock_not_available after `timeoutMs`. A query on two views may hold the one and wait for the other: therefore all views are released and
 * tried again in short intervals.
 */
export async function lockViews(client: Queryable, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  const { rows } = await client.query<{ statement: string }>(LOCKS_OF_VIEWS);
  if (rows.length === 0) return;
  const statements = rows.map(({ statement }) => statement).join('; ');
  await client.query('savepoint views');
  for (;;) {
    const left = Math.ceil(deadline - performance.now());
    try {
      await client.query(`set local lock_timeout = ${Math.max(1, Math.min(VIEWS_TIMEOUT_MS, left))}`);
      await client.query(statements);
      await client.query(`release savepoint views; set local lock_timeout = ${timeoutMs}`);
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code !== LOCK_NOT_AVAILABLE && code !== DEADLOCK_DETECTED) throw error;
      if (left <= VIEWS_TIMEOUT_MS) throw error;
      await client.query('rollback to savepoint views');
      await sleep(VIEWS_PAUSE_MS);
    }
  }
}

/** The outermost view first, as a query locks them. `lock table` would lock the tables of a view as well; a new owner locks it alone. */
const LOCKS_OF_VIEWS = `
  with recursive views as (
    select oid, relowner from pg_class
    where relkind = 'v' and relnamespace in (to_regnamespace('audit'), to_regnamespace('bi')) and pg_has_role(relowner, 'usage')
  ), uses as (
    select distinct ev_class as outer_view, refobjid as inner_view
    from pg_depend join pg_rewrite on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
    where refclassid = 'pg_class'::regclass and ev_class <> refobjid and ev_class in (select oid from views)
  ), depths as (
    select oid, 0 as depth from views
    union select inner_view, depth + 1 from depths join uses on outer_view = oid
    -- A view may be replaced by one that reads itself: PostgreSQL objects only to queries on it.
    where inner_view in (select oid from views) and depth < (select count(*) from views)
  )
  select format('alter view %s owner to %I', oid::regclass, pg_get_userbyid(relowner)) as statement
  from views join (select oid, max(depth) as depth from depths group by oid) as d using (oid) order by depth, oid`;

function lockTimeoutError(blockers: string, cause: Error): ExportError {
  return new ExportError(
    'database-away',
    `A migration timed out waiting for a lock on a table that another session holds: ${blockers || 'it ended meanwhile'}. Wait until that ` +
      'session ends its transaction, or end it (select pg_terminate_backend(PROCESS)), and try again. The ' +
      'migration was rolled back.',
    { cause },
  );
}
