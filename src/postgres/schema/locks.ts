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

function lockTimeoutError(blockers: string, cause: Error): ExportError {
  return new ExportError(
    'database-away',
    `A migration timed out waiting for a lock on a table that another session holds: ${blockers || 'it ended meanwhile'}. Wait until that ` +
      'session ends its transaction, or end it (select pg_terminate_backend(PROCESS)), and try again. The ' +
      'migration was rolled back.',
    { cause },
  );
}
