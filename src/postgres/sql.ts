/** The statements of one run's commits. */

/** Refuses a worker that was overtaken: only the run that the watermark row names may write. $1 organization, $2 run. */
export const HOLD_FENCE = `
  select 1 from audit.watermarks where organization = $1 and run_id = $2 for update`;

/**
 * Stores events once. Rows that are stored already and differ in what may change are rewritten; the others are not
 * touched, so that a re-read leaves no dead tuples. $1 organization, $2 run, $3 ticks before which
 * a new event came late, then columnsOf().
 */
export const UPSERT_EVENTS = `
  with incoming as (
    select * from unnest(
      $4::timestamptz[], $5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
      $12::text[], $13::text[], $14::text[], $15::text[], $16::boolean[], $17::text[], $18::boolean[], $19::text[],
      $20::integer[]
    ) as t (
      created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
      details_version, details_raw, is_parsable, extra, is_extra_exact, raw, ordinal
    )
  ), written as (
    insert into audit.events as stored (
      organization, run_id, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
      email, message, details_version, details_raw, details, extra, raw, ordinal
    )
    select
      $1, $2, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
      email, message, details_version, details_raw,
      case when is_parsable and pg_input_is_valid(details_raw, 'jsonb') then details_raw::jsonb end,
      case when is_extra_exact or pg_input_is_valid(extra, 'jsonb') then extra::jsonb end,
      raw, ordinal
    from incoming
    on conflict (organization, created_on, event_id) do update set
      user_name = excluded.user_name, email = excluded.email, message = excluded.message, extra = excluded.extra,
      raw = excluded.raw, created_on_raw = excluded.created_on_raw, updated_at = now()
    where (stored.user_name, stored.email, stored.message, stored.extra, stored.raw, stored.created_on_raw)
      is distinct from
      (excluded.user_name, excluded.email, excluded.message, excluded.extra, excluded.raw, excluded.created_on_raw)
    returning xmax = 0 as is_inserted, created_on_ticks
  )
  select
    count(*) filter (where is_inserted) as inserted,
    count(*) filter (where not is_inserted) as updated,
    array_agg(created_on_ticks) filter (where is_inserted and created_on_ticks < $3) as late_ticks
  from written`;

/** $1 organization, $2 run, then hashes (no two alike), texts, bytes, reasons. Gives the hashes that are new. */
export const UPSERT_REJECTED = `
  insert into audit.rejected_events as kept (organization, run_id, content_hash, source_text, source_bytes, reason)
  select $1, $2::bigint, content_hash, source_text, source_bytes, reason
  from unnest($3::bytea[], $4::text[], $5::bytea[], $6::text[]) as t (content_hash, source_text, source_bytes, reason)
  on conflict (organization, content_hash) do update set last_seen_at = now()
  returning xmax = 0 as is_inserted, content_hash`;

export const INSERT_GAP = `
  insert into audit.gaps (organization, run_id, from_ticks, to_ticks, from_at, to_at)
  values ($1, $2, $3, $4, $5, $6)
  on conflict (organization, from_ticks) do update set to_ticks = excluded.to_ticks, to_at = excluded.to_at
  where gaps.to_ticks < excluded.to_ticks`;

/**
 * Moves the watermark forward only. `read_at` and `next_skip` belong to it, so they change only once the run has read
 * beyond it: were they written sooner, an event dated in the future would hide what a cut-short run did not read.
 * $1 organization, $2 ticks, $3 raw, $4 time, $5 read_at, $6 skip, $7 total, $8 frontier, $9 whether the list ends here.
 */
export const MOVE_WATERMARK = `
  update audit.watermarks set
    created_on_raw = case when created_on_ticks >= $2::bigint then created_on_raw else coalesce($3::text, created_on_raw) end,
    created_on = case when created_on_ticks >= $2::bigint then created_on else coalesce($4::timestamptz, created_on) end,
    created_on_ticks = greatest(created_on_ticks, $2::bigint),
    read_at = case when $9::boolean or $8::bigint > coalesce(created_on_ticks, $8::bigint - 1) then $5 else read_at end,
    next_skip = case when $9::boolean or $8::bigint > coalesce(created_on_ticks, $8::bigint - 1) then $6 else next_skip end,
    source_total = $7, updated_at = now()
  where organization = $1`;

/** For a run that does not reach on from the watermark: only what it learnt of the source. */
export const NOTE_SOURCE_TOTAL = `
  update audit.watermarks set source_total = $2, updated_at = now() where organization = $1`;

export const UPDATE_RUN = `
  update audit.runs set
    pages = $2, requests = $3, retries = $4, rows_read = $5, rows_inserted = $6, rows_updated = $7, rows_unchanged = $8,
    rows_rejected = $9, rows_late = $10, frontier_ticks = coalesce($11, frontier_ticks),
    next_skip = coalesce($12, next_skip), source_total = coalesce($13, source_total)
  where run_id = $1`;

export const END_RUN = `
  update audit.runs set ended_at = now(), outcome = $2, error = $3, warnings = $4 where run_id = $1`;
