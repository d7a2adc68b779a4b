/** Writes `audit.coverage`: ranges of time that are known to be complete. */
import type { CoveredRange } from '../../core/coverage.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Span } from '../../core/missing-spans.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Statement, transact } from '../connection/pipeline.ts';
import type { Client, Pool } from '../connection/pool.ts';
import type { StateRow } from '../read/state.ts';

/** A range that was read completely. */
export interface ReadRange extends CoveredRange {
  /** The range was read up to the end of the list: later parts of a stored range need no newer proof. */
  isToEnd: boolean;
  /** When a count of the range agreed; `undefined`: it was only read. */
  provenAt?: Date | undefined;
  /** When the range was compared with the source in every field. */
  verifiedAt?: Date | undefined;
}

/**
 * Stores a range as read, and merges it with the ranges it touches. $1 organization, $2 log, $3 and $4 ticks from and to, $5 and $6 the same
 * as times, $7 run, $8 whether it starts at the head (rows before it cannot be read again), $9 whether it was read to the end (rows after it
 * need no newer proof), $10 when it was proven, $11 when it was verified; null: it was not.
 *
 * A stored range keeps the time of its proof when a later range is added to it: what the source showed then is stored. It loses it when an
 * earlier range is added. A proof of a part does not prove the whole.
 */
const mergedTime = (stored: string, now: string) => `case
      when ${now} is null then case when m.from_ticks <= $3 then ${stored} end
      when (m.from_ticks >= $3 or $8::boolean) and (m.to_ticks <= $4 or $9::boolean) then ${now}
      when ${stored} is not null then least(${stored}, ${now}) end`;
const EXTEND_COVERAGE = `
  with merged as (
    select min(from_ticks) as from_ticks, max(to_ticks) as to_ticks, min(from_at) as from_at, max(to_at) as to_at,
      case when bool_and(proven_at is not null) then min(proven_at) end as proven_at,
      case when bool_and(verified_at is not null) then min(verified_at) end as verified_at,
      min(begun_at) as begun_at, (array_agg(run_id order by from_ticks))[1] as run_id, count(*) as ranges
    from audit.coverage
    where organization = $1 and log = $2 and from_ticks <= $4::bigint and to_ticks >= $3::bigint
  ), timed as (
    select *,
      case when ranges = 0 then $10::timestamptz else ${mergedTime('m.proven_at', '$10::timestamptz')} end as new_proven_at,
      case when ranges = 0 then $11::timestamptz else ${mergedTime('m.verified_at', '$11::timestamptz')} end as new_verified_at
    from merged m
  ), changed as (
    select * from timed
    where ranges <> 1 or from_ticks > $3 or to_ticks < $4
      or (new_proven_at, new_verified_at) is distinct from (proven_at, verified_at)
  ), replaced as (
    delete from audit.coverage c using changed
    where c.organization = $1 and c.log = $2 and c.from_ticks <= $4 and c.to_ticks >= $3
    returning 1
  )
  insert into audit.coverage (organization, log, from_ticks, to_ticks, from_at, to_at, proven_at, verified_at, begun_at, run_id)
  select $1, $2, least(from_ticks, $3::bigint), greatest(to_ticks, $4::bigint), least(from_at, $5::timestamptz),
    greatest(to_at, $6::timestamptz), new_proven_at, new_verified_at, coalesce(begun_at, now()),
    case when from_ticks <= $3 then run_id else $7::bigint end
  from changed
  -- After the ranges that it replaces are deleted. The worker may not update a range in place.
  where (select count(*) from replaced) >= 0`;

/**
 * Builds the statement that stores the range; `undefined` for an empty one. Run it with the lease of the log or with LOCK_COVERAGE, because
 * it merges ranges.
 */
export function extendCoverage(
  { organization, log, runId }: LogKey & { runId: string | null },
  { from, to, isFromHead, isToEnd, provenAt, verifiedAt }: ReadRange,
): Statement | undefined {
  if (from >= to) return undefined;
  const values = [
    organization,
    log,
    from.toString(),
    to.toString(),
    formatMicroseconds(from),
    formatMicroseconds(to),
    runId,
    isFromHead,
    isToEnd,
    provenAt ?? null,
    verifiedAt ?? null,
  ];
  return { name: 'extend-coverage', text: EXTEND_COVERAGE, values };
}

/** Earlier ranges end where the gap starts: what they claim behind it was not read before the source deleted it. */
export function cutCoverage({ organization, log }: LogKey, { from }: { from: bigint }): Statement {
  const end = from + 1n;
  return { text: CUT_COVERAGE, values: [organization, log, end.toString(), formatMicroseconds(end)] };
}

/** The worker may not update a range in place. $1 organization, $2 log, $3 and $4 the end as ticks and time. */
const CUT_COVERAGE = `
  with cut as (
    delete from audit.coverage
    where organization = $1 and log = $2 and from_ticks < $3::bigint and to_ticks > $3::bigint returning *
  )
  insert into audit.coverage (organization, log, from_ticks, to_ticks, from_at, to_at, proven_at, verified_at, begun_at, run_id)
  select $1, $2, from_ticks, $3, from_at, $4::timestamptz, proven_at, verified_at, begun_at, run_id from cut`;

/** What was compared with the source, up to `to`. `isToEnd`: up to the end of the list. */
export type VerifiedRange = CoveredRange & { isToEnd: boolean };

/**
 * Records that a range was compared with the source in every field, for the stored ranges that lie in it. The ranges stay as they are: the
 * ledger records them. Safe while a run is in progress.
 */
export async function recordVerified(
  pool: Pool,
  { organization, log }: LogKey,
  { from, to, isFromHead, isToEnd, verifiedAt }: VerifiedRange & { verifiedAt: Date },
): Promise<void> {
  const values = [organization, log, from.toString(), to.toString(), isFromHead, isToEnd, verifiedAt];
  await rewriteCoverage(pool, 'recording that the range was verified', { text: RECORD_VERIFIED, values });
}

/**
 * Ends the claim of the stored ranges in which events are missing: they are not proven until a run counts them again. Safe while a run is
 * in progress.
 */
export async function endClaims(
  pool: Pool,
  { organization, log }: LogKey,
  spans: readonly Span[],
): Promise<void> {
  const bounds = [spans.map(({ from }) => from.toString()), spans.map(({ to }) => to.toString())];
  const statement = { text: END_CLAIMS, values: [organization, log, ...bounds] };
  await rewriteCoverage(pool, 'recording where events are missing', statement);
}

/** The worker may not update a range in place. */
const rewrite = (condition: string, provenAt: string, verifiedAt: string) => `
  with replaced as (
    delete from audit.coverage where organization = $1 and log = $2 and ${condition} returning *
  )
  insert into audit.coverage (organization, log, from_ticks, to_ticks, from_at, to_at, proven_at, verified_at, begun_at, run_id)
  select organization, log, from_ticks, to_ticks, from_at, to_at, ${provenAt}, ${verifiedAt}, begun_at, run_id from replaced`;

/** $1 organization, $2 log, $3 and $4 ticks from and to, $5 whether from the head, $6 whether to the end, $7 when. */
const RECORD_VERIFIED = rewrite(
  `(from_ticks >= $3::bigint or $5::boolean) and (to_ticks <= $4::bigint or $6::boolean) and from_ticks < $4 and to_ticks > $3`,
  'proven_at',
  '$7::timestamptz',
);

/** $1 organization, $2 log, $3 and $4 ticks from and to of each span. */
const END_CLAIMS = rewrite(
  `proven_at is not null and exists (
    select from unnest($3::bigint[], $4::bigint[]) as span (from_ticks, to_ticks)
    where span.from_ticks < coverage.to_ticks and span.to_ticks > coverage.from_ticks
  )`,
  'null',
  'verified_at',
);

/** Waits for all transactions that have written to the table, and blocks writes until this one ends. */
export const LOCK_COVERAGE = 'lock table audit.coverage in share row exclusive mode';

async function rewriteCoverage(pool: Pool, doing: string, statement: Statement): Promise<void> {
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await transact(client, { lock: { text: LOCK_COVERAGE } }, async () => ({
      plan: { statement },
      result: () => {},
    }));
  } catch (error) {
    throw translateDatabaseError(error, doing);
  } finally {
    client?.release();
  }
}

/** Whether a range that was read only moves the end of the newest stored range. */
export function isNewestExtended(
  state: StateRow | undefined,
  range: { from: bigint; to: bigint } | undefined,
): boolean {
  if (!range || range.from >= range.to) return true;
  const newest = state?.ranges.at(-1);
  return newest !== undefined && range.from >= BigInt(newest[0]) && range.from <= BigInt(newest[1]!);
}
