/** Writes `audit.coverage`: ranges of time that are known to be complete. */
import type { CoveredRange } from '../../core/coverage.ts';
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Statement, transact } from '../connection/pipeline.ts';
import type { Client, Pool } from '../connection/pool.ts';

/** A range that was read completely. */
export interface ProvenRange extends CoveredRange {
  /** The range was read up to the end of the list: later parts of a stored range need no newer proof. */
  isToEnd: boolean;
  /** When the read began. */
  readAt: Date;
}

/**
 * Stores a range as complete, and merges it with the ranges it touches. Writes nothing if a stored range contains it and was
 * proven less than $10 before. $1 organization, $2 run, $3 and $4 ticks from and to, $5 and $6 the same as times, $7 when it
 * was read, $8 whether it starts at the head (rows before it cannot be read again), $9 whether it was read to the end (rows
 * after it need no newer proof), $11 log.
 */
const EXTEND_COVERAGE = `
  with touched as (
    delete from audit.coverage
    where organization = $1 and log = $11 and from_ticks <= $4::bigint and to_ticks >= $3::bigint and not exists (
      select from audit.coverage c where c.organization = $1 and c.log = $11 and c.from_ticks <= $3 and c.to_ticks >= $4
        and (c.proven_at > $7::timestamptz - $10::interval
          or not ((c.from_ticks = $3 or $8::boolean) and (c.to_ticks = $4 or $9::boolean)))
    )
    returning *
  ), merged as (
    select min(from_ticks) as from_ticks, max(to_ticks) as to_ticks, min(from_at) as from_at, max(to_at) as to_at,
      min(proven_at) as proven_at, min(begun_at) as begun_at, (array_agg(run_id order by from_ticks))[1] as run_id
    from touched
  )
  insert into audit.coverage (organization, log, from_ticks, to_ticks, from_at, to_at, proven_at, begun_at, run_id)
  select $1, $11, least(from_ticks, $3::bigint), greatest(to_ticks, $4::bigint), least(from_at, $5::timestamptz),
    greatest(to_at, $6::timestamptz),
    case when (from_ticks < $3 and not $8) or (to_ticks > $4 and not $9) then least(proven_at, $7::timestamptz) else $7 end,
    coalesce(begun_at, now()), case when from_ticks <= $3 then run_id else $2::bigint end
  from merged
  where from_ticks is not null or not exists (
    select from audit.coverage c where c.organization = $1 and c.log = $11 and c.from_ticks <= $3 and c.to_ticks >= $4
  )`;

/**
 * Builds the statement that stores the range; `undefined` for an empty one. Run it with the lease of the log or with
 * LOCK_COVERAGE, because it merges ranges. A stored range proven less than `renewAfterMs` before stays unchanged.
 */
export function extendCoverage(
  { organization, log, runId, renewAfterMs }: LogKey & { runId: string | null; renewAfterMs: number },
  { from, to, isFromHead, isToEnd, readAt }: ProvenRange,
): Statement | undefined {
  if (from >= to) return undefined;
  const values = [
    organization,
    runId,
    from.toString(),
    to.toString(),
    formatMicroseconds(from),
    formatMicroseconds(to),
    readAt,
    isFromHead,
    isToEnd,
    `${renewAfterMs} milliseconds`,
    log,
  ];
  return { name: 'extend-coverage', text: EXTEND_COVERAGE, values };
}

/** Waits for all transactions that have written to the table, and blocks writes until this one ends. */
const LOCK_COVERAGE = 'lock table audit.coverage in share row exclusive mode';

/** Records that a range was read again and found complete. Safe while a run is in progress. */
export async function recordProof(
  pool: Pool,
  { organization, log }: LogKey,
  range: ProvenRange,
): Promise<void> {
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await transact(client, { lock: { text: LOCK_COVERAGE } }, async () => ({
      plan: { coverage: extendCoverage({ organization, log, runId: null, renewAfterMs: 0 }, range) },
      result: () => {},
    }));
  } catch (error) {
    throw translateDatabaseError(error, 'recording that the range is complete');
  } finally {
    client?.release();
  }
}
