/** The SQL that compares a response of the source with what is stored in its span, and that counts stored rows. */
import { CONTENT_TEXT, DIGEST_OF_TEXTS } from '../format/span-digest.ts';
import { RETURN_GONE } from '../format/state-records.ts';

/** States of audit.gone_events that a count leaves out. */
const ABSENT = `state in ('suspected', 'gone', 'former source')`;

/**
 * One digest of the current rows of a span, and whether something in it needs a closer look: most responses show what is stored, and then
 * no row is read. $1 organization, $2 log, $3 and $4 times from and to (`infinity`: open), $5 limit, $6 and $7 the same as ticks,
 * $8 and $9 times and ids of other events, $10 and $11 the first and the last of
 * these times. Not named: a plan for any values, which the server tries for a named statement, covers all partitions.
 */
export const DIGEST_SPAN = {
  text: `
  select (
    select ${DIGEST_OF_TEXTS}
    from (
      select created_on, event_id,
        case when extra is null and raw is null
          then ${CONTENT_TEXT}
          else array_to_json(array[event_id::text])
        end::text as text
      from audit.events
      where organization = $1 and log = $2 and created_on >= $3::timestamptz and created_on < $4::timestamptz
        and superseded_by is null
      order by created_on, event_id limit $5
    ) stored
  ) as digest, exists (
    select from audit.gone_events
    where organization = $1 and log = $2 and created_on >= $3 and created_on < $4 and ${ABSENT}
  ) as has_absent, (
    select string_agg(created_on_ticks || ' ' || encode(content_hash, 'hex') || ' ' || times_shown, ',' order by created_on_ticks, content_hash)
    from audit.rejected_places
    where organization = $1 and log = $2 and created_on_ticks >= $6::bigint and created_on_ticks < $7::bigint
  ) as rejected, (
    select count(*) from unnest($8::timestamptz[], $9::uuid[]) as other (created_on, event_id)
    where exists (
      select from audit.events e
      where e.organization = $1 and e.log = $2 and e.created_on = other.created_on and e.event_id = other.event_id
        and e.created_on between $10 and $11 and e.superseded_by is null
    ) and not exists (
      select from audit.gone_events g
      where g.organization = $1 and g.log = $2 and g.created_on = other.created_on and g.event_id = other.event_id and ${ABSENT}
    )
  ) as others`,
};

/**
 * The stored rows of a span, and those at the times of the shown events. Rows that are gone or superseded are read only at these times,
 * and details only if the response does not show the id.
 * $1 organization, $2 log, $3 and $4 times from and to, $5 limit, $6 run, $7 milliseconds of EXPORT_SETTLE, $8 times of the shown events,
 * $9 their ids, $10 those of the times that are outside of the span.
 */
export const READ_SPAN = `
  select e.event_id, e.created_on_ticks, e.ordinal, created_on_raw, category, action, source, user_name, email, message, details_version,
    case when e.event_id <> all ($9::uuid[]) then details_raw end as details_raw, extra::text as extra, raw, e.batch, superseded_by,
    case when g.state in ('suspected', 'gone', 'former source') then g.state end as absence,
    coalesce(g.state = 'suspected' and g.suspected_run_id = $6::bigint, false) as is_suspected_now,
    case when first_seen_at > now() - $7 * interval '1 ms'
      then extract(epoch from first_seen_at) * 1000 + $7 end as settles_at
  from (
    select * from audit.events where organization = $1 and log = $2 and created_on >= $3::timestamptz and created_on < $4::timestamptz
    union all
    select * from audit.events where organization = $1 and log = $2 and created_on = any ($10::timestamptz[])
      and not (created_on >= $3 and created_on < $4)
  ) e
  left join audit.gone_events g using (organization, log, created_on, event_id)
  where (superseded_by is null and (g.state is null or g.state in ('suspected', 'dismissed', 'shown again')))
    or e.created_on = any ($8::timestamptz[])
  order by e.created_on_ticks, e.event_id
  limit $5`;

/**
 * Marks rows as superseded by others, or as current again. The one statement that changes the column.
 * $1 organization, $2 log, $3 times, $4 ids, $5 ids of the rows that replace them (null: the row is current), $6 and $7 the first and the last
 * time.
 */
export const SUPERSEDE = `
  update audit.events e set superseded_by = t.superseded_by
  from unnest($3::timestamptz[], $4::uuid[], $5::uuid[]) as t (created_on, event_id, superseded_by)
  where e.organization = $1 and e.log = $2 and e.created_on = t.created_on and e.event_id = t.event_id
    and e.created_on between $6 and $7`;

/** $1 organization, $2 log, $3 run, $4 times, $5 ids, $6 ticks. Returns the rows as records, as the next statements do. */
export const SUSPECT = `
  insert into audit.gone_events as g (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id)
  select $1, $2, created_on, event_id, created_on_ticks, 'suspected', $3::bigint
  from unnest($4::timestamptz[], $5::uuid[], $6::bigint[]) as t (created_on, event_id, created_on_ticks)
  on conflict (organization, log, created_on, event_id) do update set state = 'suspected', suspected_at = now(),
    suspected_run_id = excluded.suspected_run_id, gone_at = null, gone_run_id = null
  returning ${RETURN_GONE}`;

/** Parameters as SUSPECT. */
export const CONFIRM_GONE = `
  update audit.gone_events g set state = 'gone', gone_at = now(), gone_run_id = $3::bigint
  from unnest($4::timestamptz[], $5::uuid[], $6::bigint[]) as t (created_on, event_id, created_on_ticks)
  where organization = $1 and log = $2 and g.created_on = t.created_on and g.event_id = t.event_id
  returning ${RETURN_GONE}`;

/** A suspicion that was wrong is dismissed; an event that was gone is noted as shown again. Parameters as SUSPECT. */
export const SHOW_AGAIN = `
  update audit.gone_events g set state = case state when 'suspected' then 'dismissed' else 'shown again' end,
    shown_again_at = now(), shown_again_run_id = $3::bigint
  from unnest($4::timestamptz[], $5::uuid[], $6::bigint[]) as shown (created_on, event_id, created_on_ticks)
  where organization = $1 and log = $2 and g.created_on = shown.created_on and g.event_id = shown.event_id and ${ABSENT}
  returning ${RETURN_GONE}`;

/** $1 organization, $2 log, $3 run. */
export const DISMISS_SUSPICIONS = `
  update audit.gone_events g set state = 'dismissed'
  where organization = $1 and log = $2 and state = 'suspected' and suspected_run_id = $3
  returning ${RETURN_GONE}`;

/** Numbers of events by day. $1 organization, $2 log. */
export const COUNT_DAYS = `
  select (day - date '1970-01-01') as day, sum(events)::bigint as events from audit.daily_totals
  where organization = $1 and log = $2 group by day order by day`;

/**
 * Numbers of rows between places. $1 organization, $2 log, $3 start of the day of the first place, $4 places as times in order, $5 the last
 * of them, $6 places as ticks. Bucket 0 lies before the first place: of events since $3, of the others since ever.
 */
export const COUNT_BUCKETS = `
  select bucket, sum(rows)::bigint as rows from (
    select width_bucket(created_on, $4::timestamptz[]) as bucket, count(*) as rows from audit.events
    where organization = $1 and log = $2 and created_on >= $3::timestamptz and created_on < $5::timestamptz and superseded_by is null
    group by 1
    union all
    select width_bucket(created_on, $4::timestamptz[]), -count(*) from audit.gone_events
    where organization = $1 and log = $2 and created_on < $5 and ${ABSENT} group by 1
    union all
    select width_bucket(created_on_ticks, $6::bigint[]), sum(times_shown) from audit.rejected_places
    where organization = $1 and log = $2 and created_on_ticks < ($6::bigint[])[cardinality($6::bigint[])] group by 1
  ) counted group by bucket order by bucket`;

/** $1 organization, $2 log, $3 the head instant, $4 limit. */
export const READ_SUSPICIONS = `
  select created_on_ticks as ticks from audit.gone_events
  where organization = $1 and log = $2 and state = 'suspected' and ($3::bigint is null or created_on_ticks > $3)
  order by created_on_ticks limit $4`;

/** $1 organization, $2 log, $3 the head instant. */
export const COUNT_SUSPICIONS = `
  select count(*) as events from audit.gone_events
  where organization = $1 and log = $2 and state = 'suspected' and ($3::bigint is null or created_on_ticks > $3)`;

/**
 * Sets how often a row is listed at each place of a span to what the response shows. $1 organization, $2 log, $3 and $4 ticks from and to
 * (null: no span), $5 ticks, $6 hashes, $7 numbers, of the span; $8 to $10 the same of other rows, which only grow.
 */
export const PLACE_REJECTED = `
  with shown as (
    select * from unnest($5::bigint[], $6::bytea[], $7::integer[]) as t (ticks, hash, times)
  ), removed as (
    delete from audit.rejected_places p
    where organization = $1 and log = $2 and created_on_ticks >= $3::bigint and created_on_ticks < $4::bigint
      and not exists (select from shown where ticks = created_on_ticks and hash = content_hash)
  )
  insert into audit.rejected_places as stored (organization, log, created_on_ticks, content_hash, times_shown)
  select $1, $2, ticks, hash, times from shown
  union all
  select $1, $2, ticks, hash, times from unnest($8::bigint[], $9::bytea[], $10::integer[]) as other (ticks, hash, times)
  where not exists (select from shown where shown.ticks = other.ticks and shown.hash = other.hash)
  on conflict (organization, log, created_on_ticks, content_hash) do update set times_shown = case
    when excluded.created_on_ticks >= $3 and excluded.created_on_ticks < $4 then excluded.times_shown
    else greatest(stored.times_shown, excluded.times_shown)
  end
  where stored.times_shown is distinct from excluded.times_shown`;

/** Which of these rows are not counted at their places yet. $1 organization, $2 log, $3 ticks, $4 hashes, $5 numbers. Returns the oldest place. */
export const FIND_UNPLACED = `
  select min(ticks) as ticks, count(*) as rows from unnest($3::bigint[], $4::bytea[], $5::integer[]) as t (ticks, hash, times)
  where not exists (
    select from audit.rejected_places
    where organization = $1 and log = $2 and created_on_ticks = ticks and content_hash = hash and times_shown >= times
  )`;
