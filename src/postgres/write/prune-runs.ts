import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

/** Calls per run, of 31 days each. The first run after an upgrade may have years to remove; the next ones continue. */
const MAX_CALLS = 12;

/**
 * Removes runs of the log that are older than `historyMs`, succeeded and stored nothing; audit.prune_runs decides which. Returns their
 * number.
 */
export async function pruneRuns(
  pool: Pool,
  { organization, log }: LogKey,
  historyMs: number,
): Promise<number> {
  let total = 0;
  try {
    for (let call = 1; call <= MAX_CALLS; call += 1) {
      const { rows } = await pool.query<{ removed: string; has_more: boolean }>(
        'select removed, has_more from audit.prune_runs($1, $2, make_interval(secs => $3))',
        [organization, log, historyMs / 1000],
      );
      const { removed, has_more: hasMore } = rows[0]!;
      total += Number(removed);
      if (!hasMore) break;
    }
    return total;
  } catch (error) {
    throw translateDatabaseError(error, 'removing old runs');
  }
}
