import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';
import { ROLL_UP } from './status-sql.ts';

/** How many days the chart of the status page shows, today included. */
export const ACTIVITY_DAYS = 90;
/** Lateness is counted over so many of the newest events, so that it costs the same at any size of the table. */
export const LATENESS_EVENTS = 20_000;
/** Upper ends of the lateness counts, in seconds; one more count holds what is beyond. */
export const LATENESS_BOUNDS_S = [300, 900, 3_600, 21_600, 86_400, 172_800, 604_800] as const;

/** When a log's events happened, and how late they came. Numbers alone, nothing of any event. */
export interface Activity {
  /** Each of the last 90 days in UTC, oldest first, today last. */
  days: { day: string; events: number }[];
  lateness: Lateness;
}

/** Of the newest events: how old those were when stored that came after a newer one had been stored by an earlier run. */
export interface Lateness {
  /** How many of the newest events were looked at. */
  events: number;
  /** One count for each of `LATENESS_BOUNDS_S`, of events up to that age, and one for those beyond. */
  counts: number[];
}

/**
 * Takes milliseconds however many events are stored. `now` decides which day is today; the database's clock, when not given.
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

// An event dated in the future would make all that follow look late. What a backfill or a repair stores is not late,
// it was requested late. The bucket is the number of bounds that the age has reached.
const LATENESS = `
  with newest as (
    select created_on, first_seen_at, run_id from audit.events
    where organization = $1 and log = $2 order by created_on desc limit $3
  ), compared as (
    select run_id, extract(epoch from first_seen_at - created_on) as age_s,
      min(run_id) filter (where created_on <= first_seen_at) over (
        order by created_on desc rows between unbounded preceding and 1 preceding
      ) as first_run_with_newer
    from newest
  ), late as (
    select width_bucket(age_s, $4::numeric[]) as bucket, count(*) as late
    from compared join audit.runs using (run_id)
    where first_run_with_newer < run_id and kind in ('run', 'recheck')
    group by bucket
  )
  select (select count(*) from newest) as events, bucket, late from (select 1) as one left join late on true`;
