/** Reads the backfill that a new one of the same range could resume. */
import type { LogKey } from '../../core/log-key.ts';
import type { Json } from '../../core/source.ts';
import { TICKS_PER_SECOND } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

const TICKS_PER_DAY = 86_400n * TICKS_PER_SECOND;

/** The progress of a backfill that did not succeed. */
export interface UnfinishedBackfill {
  kind: 'resume';
  runId: string;
  startedAt: Date;
  frontier: bigint;
  /** Only the source reads it. */
  resume: Json;
}

/** An unfinished backfill that is too old to resume: events may have come late, or have been lost, before its frontier. */
export interface OutdatedBackfill {
  kind: 'restart';
  runId: string;
  /** Completes "not resumed, because …". */
  because: string;
}

/**
 * $1 organization, $2 from, $3 to, $4 log. The last activity is known from the run's end (not from when it was found to be abandoned),
 * from its lease if it was killed, and from its newest ledger entry. A later backfill of the same range that committed nothing is no reason to start anew.
 */
const LAST_BACKFILL = `
  select r.run_id, r.started_at, r.outcome, r.frontier_ticks, r.resume, active.at as active_at,
    active.at < clock_timestamp() - interval '1 day' as is_old, later.run_id as later_run_id, later.kind as later_kind
  from (
    select * from audit.runs
    where organization = $1 and log = $4 and kind = 'backfill' and from_ticks is not distinct from $2
      and to_ticks is not distinct from $3 and (frontier_ticks is not null or outcome = 'succeeded')
    order by started_at desc, run_id desc limit 1
  ) r
  cross join lateral (
    select greatest(
      r.started_at, case when r.outcome <> 'abandoned' then r.ended_at end,
      (select lease_until from audit.watermarks where organization = $1 and log = $4 and lease_run_id = r.run_id),
      (select l.committed_at from (
        select run_id, committed_at from audit.ledger where organization = $1 and log = $4 order by batch desc limit 1
      ) l where l.run_id = r.run_id)
    ) as at
  ) active
  left join lateral (
    select n.run_id, n.kind from audit.runs n
    where n.organization = $1 and n.log = $4 and n.run_id > r.run_id and not (
      n.kind = 'backfill' and n.from_ticks is not distinct from $2 and n.to_ticks is not distinct from $3
    )
    order by n.run_id limit 1
  ) later on true`;

interface LastBackfill {
  run_id: string;
  started_at: Date;
  outcome: string | null;
  frontier_ticks: string | null;
  resume: Json;
  active_at: Date;
  is_old: boolean;
  later_run_id: string | null;
  later_kind: string | null;
}

/**
 * Reads the newest backfill of exactly this range, if it did not succeed and has a frontier, and decides whether to resume it: not
 * after a day, by the clock of the database, and not after another run of the log.
 */
export async function readUnfinishedBackfill(
  pool: Pool,
  { organization, log }: LogKey,
  range: { from: bigint | undefined; to: bigint | undefined },
): Promise<UnfinishedBackfill | OutdatedBackfill | undefined> {
  try {
    const { rows } = await pool.query<LastBackfill>(LAST_BACKFILL, [
      organization,
      range.from?.toString() ?? null,
      range.to?.toString() ?? null,
      log,
    ]);
    const last = rows[0];
    if (!last || last.outcome === 'succeeded' || last.frontier_ticks === null) return undefined;
    const because = reasonToRestart(last);
    if (because !== undefined) return { kind: 'restart', runId: last.run_id, because };
    return {
      kind: 'resume',
      runId: last.run_id,
      startedAt: last.started_at,
      frontier: BigInt(last.frontier_ticks),
      resume: last.resume,
    };
  } catch (error) {
    throw translateDatabaseError(error, 'reading the last backfill');
  }
}

/** The start of the newest backfill to the same end that began within a day before `from`. $1 to $4 as LAST_BACKFILL, $5 a day earlier. */
const EARLIER_START = `
  select from_ticks, outcome from audit.runs
  where organization = $1 and log = $4 and kind = 'backfill' and from_ticks between $5 and $2 and to_ticks is not distinct from $3
  order by started_at desc, run_id desc limit 1`;

/** For a start that is relative to now: returns that of the unfinished backfill which a call with the same words began, else `from`. */
export async function readEarlierStart(
  pool: Pool,
  { organization, log }: LogKey,
  { from, to }: { from?: bigint | undefined; to?: bigint | undefined },
): Promise<bigint | undefined> {
  if (from === undefined) return undefined;
  try {
    const { rows } = await pool.query<{ from_ticks: string; outcome: string | null }>(EARLIER_START, [
      organization,
      from.toString(),
      to?.toString() ?? null,
      log,
      (from - TICKS_PER_DAY).toString(),
    ]);
    const earlier = rows[0];
    return earlier && earlier.outcome !== 'succeeded' ? BigInt(earlier.from_ticks) : from;
  } catch (error) {
    throw translateDatabaseError(error, 'reading the last backfill');
  }
}

function reasonToRestart(last: LastBackfill): string | undefined {
  if (last.later_run_id !== null) return `run ${last.later_run_id} (${last.later_kind}) followed it`;
  return last.is_old ? `it stopped more than a day ago, at ${last.active_at.toISOString()}` : undefined;
}
