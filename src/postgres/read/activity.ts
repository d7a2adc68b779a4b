import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';
import { ROLL_UP } from './status-sql.ts';

/** How many days the chart of the status page shows, today included. */
export const ACTIVITY_DAYS = 90;
/** Lateness is computed over this many of the newest events, so the cost does not depend on the size of the table. */
export const LATENESS_EVENTS = 20_000;
/** Upper bounds of the lateness buckets, in seconds; a last bucket has no upper bound. */
export const LATENESS_BOUNDS_S = [300, 900, 3_600, 21_600, 86_400, 172_800, 604_800] as const;

/** Events by day and their lateness, of one log. Only counts, no content of an event. */
export interface Activity {
  /** Each of the last 90 days in UTC, oldest first, today last. */
  days: { day: string; events: number }[];
  lateness: Lateness;
}

/** Late ones among the newest events, by their age when stored. Late: an earlier run had stored a newer event. */
export interface Lateness {
  /** How many of the newest events were examined. */
  events: number;
  /** One count for each of `LATENESS_BOUNDS_S`, of events up to that age, and one for older events. */
  counts: number[];
}

/**
 * Reads the activity in milliseconds, at any size of the table. `now` sets which day is today; default: the database's clock.
 * Throws `database-away` or `database`.
 */
export async function readActivity(pool: Pool, { organization, log }: LogKey, now?: Date): Promise<Activity> {
  try {
    const days = await pool.query<{ day: string; events: string }>(DAYS, [
      organization,
      log,
      ACTIVITY_DAYS,
      now ?? null,
    ]);
    const late = await pool.query<{ events: string; bucket: number | null; late: string }>(LATENESS, [
      organization,
      log,
      LATENESS_EVENTS,
      LATENESS_BOUNDS_S,
      startOfNewest(days.rows),
    ]);
    const counts: number[] = Array(LATENESS_BOUNDS_S.length + 1).fill(0);
    for (const row of late.rows) if (row.bucket !== null) counts[row.bucket] = Number(row.late);
    return {
      days: days.rows.map(({ day, events }) => ({ day, events: Number(events) })),
      lateness: { events: Number(late.rows[0]?.events ?? 0), counts },
    };
  } catch (error) {
    throw translateDatabaseError(error, 'reading the activity');
  }
}

/**
 * The day since which there are enough of the newest events, so that only its and later partitions are planned; null if the
 * days of the chart hold fewer. The roll-up also counts months that were dropped: then fewer events are examined.
 */
function startOfNewest(days: readonly { day: string; events: string }[]): string | null {
  let events = 0;
  const oldest = days.findLast((day) => {
    events += Number(day.events);
    return events >= LATENESS_EVENTS;
  });
  return oldest ? `${oldest.day}T00:00:00Z` : null;
}

const DAYS = `
  with today as (
    select (coalesce($4::timestamptz, now()) at time zone 'UTC')::date as today
  ), counted as (
    select day, sum(events) as events from ${ROLL_UP}, today
    where organization = $1 and log = $2 and day > today - $3::int and day <= today group by day
  )
  select (today - n)::text as day, coalesce(events, 0) as events
  from today cross join generate_series($3::int - 1, 0, -1) as n left join counted on day = today - n
  order by today - n`;

// Events dated in the future are ignored: they would make all following ones look late. Events that a backfill or a repair stored
// are not late; they were requested late. Nor are events that replaced another rendering. The bucket is the number of bounds that the age has reached.
const LATENESS = `
  with newest as (
    select created_on, first_seen_at, run_id, exists (
      select from audit.events old
      where old.organization = $1 and old.log = $2 and old.created_on = e.created_on and old.superseded_by = e.event_id
        and old.created_on >= coalesce($5::timestamptz, '-infinity')
    ) as is_rerendered
    from audit.events e
    where organization = $1 and log = $2 and superseded_by is null and created_on >= coalesce($5::timestamptz, '-infinity')
    order by created_on desc limit $3
  ), compared as (
    select run_id, is_rerendered, extract(epoch from first_seen_at - created_on) as age_s,
      min(run_id) filter (where created_on <= first_seen_at) over (
        order by created_on desc rows between unbounded preceding and 1 preceding
      ) as first_run_with_newer
    from newest
  ), late as (
    select width_bucket(age_s, $4::numeric[]) as bucket, count(*) as late
    from compared join audit.runs using (run_id)
    where first_run_with_newer < run_id and kind in ('run', 'recheck') and not is_rerendered
    group by bucket
  )
  select (select count(*) from newest) as events, bucket, late from (select 1) as one left join late on true`;
