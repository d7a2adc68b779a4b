/** Reads what is stored about the source of a log, and the stored events that identify it. */
import type { LogKey } from '../../core/log-key.ts';
import type { Place, SourceIdentity } from '../../core/source-identity.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

/** What is remembered of the source that the stored events came from. */
export interface StoredSource {
  /** `undefined` before the first run, and after an upgrade from a version that did not store it. */
  identity: SourceIdentity | undefined;
  /** The last count found that the source shows other events than before, at the same address. */
  hasChanged: boolean;
}

/** The columns of `audit.watermarks` for `toStoredSource`. */
export const SOURCE_COLUMNS = 'source_url, source_path, source_partition, completeness';

export interface SourceRow {
  source_url: string | null;
  source_path: string | null;
  source_partition: string | null;
  completeness: string | null;
}

export function toStoredSource(row: SourceRow | undefined): StoredSource {
  const { source_url: url = null, source_path: path = null, source_partition: partition = null } = row ?? {};
  const identity = url === null || path === null ? undefined : { url, path, partition };
  return { identity, hasChanged: row?.completeness === 'source changed' };
}

export async function readStoredSource(pool: Pool, { organization, log }: LogKey): Promise<StoredSource> {
  try {
    const { rows } = await pool.query<SourceRow>(
      `select ${SOURCE_COLUMNS} from audit.watermarks where organization = $1 and log = $2`,
      [organization, log],
    );
    return toStoredSource(rows[0]);
  } catch (error) {
    throw translateDatabaseError(error, 'reading the source of the stored events');
  }
}

/**
 * Up to three events that the source is expected to show: the oldest, one from the middle, and the newest that is older than
 * the time to settle, or just the newest. The middle: the day that has the half of the events, and there the middle of the
 * time. $1 organization, $2 log, $3 and $4 from as time and ticks, $5 time to settle.
 */
const PLACES = `
  with candidates as not materialized (
    select created_on, event_id, created_on_ticks from audit.events e
    where organization = $1 and log = $2 and created_on >= $3 and (created_on, created_on_ticks) >= ($3::timestamptz, $4::bigint)
      -- The ordinal of a twin depends on those that the source shows.
      and ordinal = 0 and superseded_by is null
      and not exists (
        select from audit.gone_events g
        where (g.organization, g.log, g.created_on, g.event_id) = (e.organization, e.log, e.created_on, e.event_id)
          and g.state not in ('shown again', 'dismissed')
      )
  ), oldest as materialized (
    select * from candidates order by created_on, event_id limit 1
  ), newest as materialized (
    (select * from candidates where created_on <= now() - $5::interval order by created_on desc, event_id desc limit 1)
    union all
    (select * from candidates order by created_on desc, event_id desc limit 1)
    limit 1
  ), days as (
    select day, sum(sum(events)) over (order by day) as reached, sum(sum(events)) over () as total
    from audit.daily_totals t, oldest, newest
    where organization = $1 and log = $2
      and day between (oldest.created_on at time zone 'UTC')::date and (newest.created_on at time zone 'UTC')::date
    group by day
  ), pivot as materialized (
    select start + (stop - start) / 2 as at
    from (
      select greatest(oldest.created_on, day::timestamp at time zone 'UTC') as start,
        least(newest.created_on, (day + 1)::timestamp at time zone 'UTC') as stop
      from oldest, newest, (select day from days where reached * 2 >= total order by day limit 1) half
    ) spans
  ), between_both as not materialized (
    select * from candidates
    where (created_on, event_id) > (select created_on, event_id from oldest)
      and (created_on, event_id) < (select created_on, event_id from newest)
  ), middle as (
    -- Subqueries, not joins: with a join it would sort half of the table.
    (select * from between_both where created_on >= (select at from pivot) order by created_on, event_id limit 1)
    union all
    (select * from between_both where created_on < (select at from pivot) order by created_on desc, event_id desc limit 1)
    limit 1
  )
  select distinct event_id, created_on_ticks from (
    select * from oldest union all select * from middle union all select * from newest
  ) places
  order by created_on_ticks, event_id`;

/** Reads up to three events from `from` on that were not gone at the last count, oldest first. */
export async function readPlaces(
  pool: Pool,
  { organization, log }: LogKey,
  { from, settleMs }: { from: bigint; settleMs: number },
): Promise<Place[]> {
  try {
    const { rows } = await pool.query<{ event_id: string; created_on_ticks: string }>(PLACES, [
      organization,
      log,
      formatMicroseconds(from),
      from.toString(),
      `${settleMs} milliseconds`,
    ]);
    return rows.map((row) => ({ eventId: row.event_id, ticks: BigInt(row.created_on_ticks) }));
  } catch (error) {
    throw translateDatabaseError(error, 'reading the events that identify the source');
  }
}
