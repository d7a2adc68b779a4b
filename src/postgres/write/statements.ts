/** The SQL of one run's commits. Statements of every page have a name, so that the server prepares them once. */
import { CLASSIC_LOG } from '../../core/log-key.ts';
import { COPIED_COLUMNS } from '../format/copy-format.ts';
import { inUtc } from '../format/utc.ts';

/** Columns that a re-read may find changed. `event_id` covers the others, or they derive from it. */
const CHANGEABLE = ['user_name', 'email', 'message', 'extra', 'raw', 'created_on_raw'];
const FIXED = [
  'created_on_ticks',
  'category',
  'action',
  'source',
  'details_version',
  'details_raw',
  'details',
  'ordinal',
];

const contentDigestOf = (row: string) =>
  `audit.content_digest(${['event_id', 'created_on_raw', 'user_name', 'email', 'message', 'extra', 'raw'].map((column) => `${row}.${column}`).join(', ')})`;

/** The newest entry of the ledger. The run holds the lease, so no other run appends. */
const HEAD = `
  head as materialized (
    select coalesce(newest.batch, 0) as batch, newest.digest
    from (select) one left join lateral (
      select batch, digest from audit.ledger where organization = $1 and log = $2 order by batch desc limit 1
    ) newest on true
  )`;

/** Appends the row of `entry` to the ledger; returns its counts and the new entry's batch and digest. */
const APPEND_ENTRY = `
  appended as (
    insert into audit.ledger (
      organization, log, batch, run_id, from_at, to_at, rows_inserted, rows_changed, inserted, previous_digest, digest
    )
    select $1, $2, head.batch + 1, $3, from_at, to_at, rows_inserted, rows_changed, inserted, head.digest,
      sha256(convert_to(array_to_json(array[$1::text] || case $2 when '${CLASSIC_LOG}' then '{}' else array[$2::text] end || array[
        (head.batch + 1)::text, $3::bigint::text, ${inUtc('now()')}, ${inUtc('from_at')}, ${inUtc('to_at')},
        encode(sha256(inserted), 'hex'), encode(sha256(coalesce(changes, '')), 'hex'), encode(head.digest, 'hex')
      ])::text, 'UTF8'))
    from entry, head where rows_inserted + rows_changed > 0
    returning batch, digest
  )
  select rows_inserted as inserted, rows_changed as updated, late_ticks, appended.batch, encode(appended.digest, 'hex') as digest
  from entry left join appended on true`;

/**
 * Upserts events, and appends the inserted and changed ones to the ledger. Updates stored rows that differ in
 * `comparedColumns`; unchanged rows are not written, so a re-read leaves no dead tuples.
 * $1 organization, $2 log, $3 run, $4 ticks before which a new event is late, then columnsOf().
 */
const storeEvents = (name: string, comparedColumns: readonly string[]) => ({
  name,
  text: `
  with incoming as (
    select * from unnest(
      $5::timestamptz[], $6::uuid[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
      $13::text[], $14::text[], $15::text[], $16::text[], $17::boolean[], $18::text[], $19::boolean[], $20::text[],
      $21::integer[]
    ) as t (
      created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
      details_version, details_raw, is_parsable, extra, is_extra_exact, raw, ordinal
    )
  ), ${HEAD}, written as (
    insert into audit.events as stored (
      organization, log, run_id, batch, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
      user_name, email, message, details_version, details_raw, details, extra, raw, ordinal
    )
    select
      $1, $2, $3, head.batch + 1, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
      user_name, email, message, details_version, details_raw,
      case when is_parsable and pg_input_is_valid(details_raw, 'jsonb') then details_raw::jsonb end,
      case when is_extra_exact or pg_input_is_valid(extra, 'jsonb') then extra::jsonb end,
      raw, ordinal
    from incoming, head
    on conflict (organization, created_on, event_id) do update set
      ${comparedColumns.map((column) => `${column} = excluded.${column}`).join(', ')}, updated_at = now()
    where (${comparedColumns.map((column) => `stored.${column}`).join(', ')})
      is distinct from
      (${comparedColumns.map((column) => `excluded.${column}`).join(', ')})
    -- A row stored before keeps its batch. A row inserted by hand may have this batch, but not this first_seen_at.
    returning batch = (select head.batch + 1 from head) and first_seen_at = now() as is_inserted, created_on, created_on_ticks, event_id, batch, ${contentDigestOf('stored')} as digest
  ), changed as (
    insert into audit.ledger_changes (organization, log, row_batch, event_id, batch, old_digest, new_digest)
    select $1, $2, written.batch, written.event_id, head.batch + 1, before.digest, written.digest
    from head, written cross join lateral (
      -- Reads the statement's snapshot: the row before the update. The limit makes the plan an index lookup per row.
      select ${contentDigestOf('e')} as digest from audit.events e
      where e.organization = $1 and e.log = $2 and e.created_on = written.created_on and e.event_id = written.event_id limit 1
    ) before
    where not is_inserted
    returning event_id, old_digest, new_digest
  ), entry as (
    select
      (select string_agg(uuid_send(event_id) || old_digest || new_digest, ''::bytea order by event_id) from changed) as changes,
      coalesce(string_agg(uuid_send(event_id) || digest, ''::bytea) filter (where is_inserted), '') as inserted,
      count(*) filter (where is_inserted) as rows_inserted,
      count(*) filter (where not is_inserted) as rows_changed,
      min(created_on) filter (where is_inserted) as from_at,
      max(created_on) filter (where is_inserted) as to_at,
      array_agg(created_on_ticks) filter (where is_inserted and created_on_ticks < $4) as late_ticks
    from written
  ), ${APPEND_ENTRY}`,
});

export const UPSERT_EVENTS = storeEvents('upsert-events', CHANGEABLE);
/** The same for `verify --repair`: restores every column to the source's value. */
export const RESTORE_EVENTS = storeEvents('restore-events', [...FIXED, ...CHANGEABLE]);

export const COPY_EVENTS = `copy audit.events (${COPIED_COLUMNS.join(', ')}) from stdin (format binary)`;

/** Appends the copied rows to the ledger. $1 organization, $2 log, $3 run, $4 batch, $5 and $6 times of the first and the last row. */
export const APPEND_COPIED = {
  name: 'append-copied',
  text: `
  with ${HEAD}, entry as (
    select null::bytea as changes, string_agg(uuid_send(event_id) || ${contentDigestOf('e')}, ''::bytea) as inserted,
      count(*) as rows_inserted, 0 as rows_changed, min(created_on) as from_at, max(created_on) as to_at,
      null::bigint[] as late_ticks
    from audit.events e
    where organization = $1 and log = $2 and created_on between $5 and $6 and batch = $4
  ), ${APPEND_ENTRY}`,
};

/** The run has read beyond the watermark. */
const EXTENDS_WATERMARK = `($9::boolean or $8::bigint > coalesce(created_on_ticks, $8::bigint - 1))`;

/**
 * Moves the watermark, only forward. `read_at` and `resume` belong to it, so they change only after the run has read beyond it.
 * Writes nothing if the run found nothing new.
 * $1 organization, $2 ticks, $3 raw, $4 time, $5 read_at, $6 resume, $7 total, $8 frontier, $9 whether the list ends here,
 * $10 run, $11 log.
 */
export const MOVE_WATERMARK = `
  update audit.watermarks set
    created_on_raw = case when created_on_ticks >= $2::bigint then created_on_raw else coalesce($3::text, created_on_raw) end,
    created_on = case when created_on_ticks >= $2::bigint then created_on else coalesce($4::timestamptz, created_on) end,
    created_on_ticks = greatest(created_on_ticks, $2::bigint),
    read_at = case when ${EXTENDS_WATERMARK} then $5::timestamptz else read_at end,
    resume = case when ${EXTENDS_WATERMARK} then $6::jsonb else resume end,
    source_total = $7::bigint, run_id = $10, updated_at = now()
  where organization = $1 and log = $11 and (
    source_total is distinct from $7 or greatest(created_on_ticks, $2::bigint) is distinct from created_on_ticks
    or (${EXTENDS_WATERMARK} and (resume is distinct from $6 or created_on is null))
  )`;

/** For a run that does not extend the watermark: only the source's total. */
export const UPDATE_SOURCE_TOTAL = `
  update audit.watermarks set source_total = $2, updated_at = now()
  where organization = $1 and log = $3 and source_total is distinct from $2::bigint`;

export const UPDATE_RUN = `
  update audit.runs set
    pages = $2, requests = $3, retries = $4, rows_read = $5, rows_inserted = $6, rows_updated = $7, rows_unchanged = $8,
    rows_rejected = $9, rows_late = $10, frontier_ticks = coalesce($11, frontier_ticks),
    resume = coalesce($12::jsonb, resume), source_total = coalesce($13, source_total)
  where run_id = $1`;

export const DESCRIBE_RANGE =
  'update audit.runs set from_ticks = $2, to_ticks = $3, from_at = $4, to_at = $5 where run_id = $1';

export const END_RUN = `
  update audit.runs set ended_at = now(), outcome = $2, error = $3, warnings = $4, completeness = $5, completeness_reason = $6,
    missing_events = $7::bigint, proven_at = $8::timestamptz
  where run_id = $1`;

/**
 * Stores what a run proved. $1 organization, $2 log, $3 state, $4 reason, $5 missing, $6 when it was proven, $7 and $8 the head instant as
 * ticks and time, $9 what the next prover needs. $6 null leaves the last proof.
 */
export const RECORD_PROOF = `
  update audit.watermarks set completeness = $3, completeness_reason = $4, missing_events = $5::bigint, assessed_at = now(),
    proven_at = coalesce($6::timestamptz, proven_at), head_ticks = $7::bigint, head_at = $8::timestamptz, ranks = $9::jsonb
  where organization = $1 and log = $2`;
