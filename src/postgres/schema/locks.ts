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

/** Share of `deadlock_timeout` that one try takes: after the whole of it, the server would end the query of a reader. */
const SHARE_OF_DEADLOCK_TIMEOUT = 0.4;
const PAUSE_MS = 100;
/** SQLSTATE undefined_table, wrong_object_type: a view was dropped or replaced meanwhile. */
const GONE = /^(42P01|42809)$/;

interface ViewLocks {
  deadlock_timeout_ms: number;
  statements: string[];
}

/**
 * Locks all views that read tables of the schemas audit and bi, in the transaction of `client`, before statements that change the views or the
 * tables. Afterwards a query on a view waits there, and holds no lock that these statements need. Throws lock_not_available after `timeoutMs`.
 *
 * A query on two views may hold the one and wait for the other. Therefore all views are released and tried again, each time before the server
 * looks for deadlocks. Readers that never pause would get in between for ever: the second half of the time is one try, in which a query may fail.
 */
export async function lockViews(client: Queryable, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  await client.query('savepoint views');
  for (;;) {
    const { rows } = await client.query<ViewLocks>(VIEW_LOCKS);
    const { deadlock_timeout_ms: deadlockMs, statements } = rows[0]!;
    const leftMs = deadline - performance.now();
    const isLast = leftMs <= timeoutMs / 2;
    const until = isLast ? deadline : performance.now() + deadlockMs * SHARE_OF_DEADLOCK_TIMEOUT;
    try {
      for (const statement of statements) {
        const waitMs = Math.max(1, Math.ceil(until - performance.now()));
        await client.query(`set local lock_timeout = ${waitMs}; ${statement}`);
      }
      await client.query('release savepoint views');
      return;
    } catch (error) {
      const { code = '' } = error as { code?: string };
      const mayTryAgain =
        code === LOCK_NOT_AVAILABLE || code === DEADLOCK_DETECTED ? !isLast : GONE.test(code);
      if (!mayTryAgain) throw error;
      await client.query('rollback to savepoint views');
      await sleep(PAUSE_MS);
    }
  }
}

/**
 * The outermost view first, as a query locks them. `lock table` would lock the tables of a view as well; a new owner locks it alone. The height is
 * bounded: a view may be replaced by one that reads itself, and PostgreSQL objects only to queries on it.
 */
const VIEW_LOCKS = `
  with recursive ours as (
    select oid from pg_class where relnamespace in (to_regnamespace('audit'), to_regnamespace('bi'))
  ), uses as (
    select distinct ev_class as outer_view, refobjid as used
    from pg_depend join pg_rewrite on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid
    where refclassid = 'pg_class'::regclass and ev_class <> refobjid
  ), views as (
    select outer_view as oid, 0 as height from uses where used in (select oid from ours)
    union select outer_view, height + 1 from views join uses on used = views.oid where height < 100
  )
  select (select setting::integer from pg_settings where name = 'deadlock_timeout') as deadlock_timeout_ms, coalesce(array_agg(
    format('alter view %s owner to %I', oid::regclass, pg_get_userbyid(relowner)) order by height desc, oid desc
  ), '{}') as statements
  from (select oid, max(height) as height from views group by oid) of_views join pg_class using (oid)
  where relkind = 'v' and pg_has_role(relowner, 'usage')`;

function lockTimeoutError(blockers: string, cause: Error): ExportError {
  return new ExportError(
    'database-away',
    `A migration timed out waiting for a lock on a table or view that another session holds: ${blockers || 'it ended meanwhile'}. Wait until that ` +
      'session ends its transaction, or end it (select pg_terminate_backend(PROCESS)), and try again. The ' +
      'migration was rolled back.',
    { cause },
  );
}
