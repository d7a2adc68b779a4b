/** The SQL of one run's commits. Statements of every page have a name, so that the server prepares them once. */
import { COPIED_COLUMNS } from '../format/copy-format.ts';
import { RECORD_COLUMNS, type RecordColumn } from '../format/record.ts';

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

/** Events as parameters, from $4 on: the order of columnsOf(). */
const INCOMING = `
  incoming as (
    select created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
      details_version, details_raw,
      case when is_parsable and pg_input_is_valid(details_raw, 'jsonb') then details_raw::jsonb end as details,
      case when is_extra_exact or pg_input_is_valid(extra, 'jsonb') then extra::jsonb end as extra,
      raw, ordinal
    from unnest(
      $4::timestamptz[], $5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
      $12::text[], $13::text[], $14::text[], $15::text[], $16::boolean[], $17::text[], $18::boolean[], $19::text[],
      $20::integer[]
    ) as t (
      created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
      details_version, details_raw, is_parsable, extra, is_extra_exact, raw, ordinal
    )
  )`;

/** Of a row with `raw`, `extra` is what jsonb could store of it. */
const returned = (table: string) =>
  `${table}.event_id, case when ${table}.raw is not null then ${table}.extra::text end as extra`;

/** $1 organization, $2 log, $3 run, then columnsOf(), $21 batch. */
export const INSERT_EVENTS = {
  name: 'insert-events',
  text: `
  with ${INCOMING}
  insert into audit.events as e (
    organization, log, run_id, batch, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
    user_name, email, message, details_version, details_raw, details, extra, raw, ordinal
  )
  select $1, $2, $3::bigint, $21::bigint, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
    user_name, email, message, details_version, details_raw, details, extra, raw, ordinal
  from incoming
  -- Stored meanwhile, not by the worker: the number of returned rows shows it. Before the table is partitioned, its key has no log.
  on conflict do nothing
  returning ${returned('e')}`,
};

/** Not named: a plan for any values, which the server tries for a named statement, covers all partitions. */
const updateEvents = (columns: readonly string[], updatedAt = 'now()') => ({
  text: `
  with ${INCOMING}
  update audit.events e set ${columns.map((column) => `${column} = i.${column}`).join(', ')}, updated_at = ${updatedAt}
  from incoming i
  where e.organization = $1 and e.log = $2 and e.created_on = i.created_on and e.event_id = i.event_id and $3::bigint is not null
    and e.created_on between $21 and $22
  returning ${returned('e')}`,
});

/**
 * Updates what the source may change. $1 organization, $2 log, $3 run, then columnsOf(), $21 and $22 the first and the last time, by which
 * the planner leaves out the other partitions.
 */
export const UPDATE_EVENTS = updateEvents(CHANGEABLE);
/**
 * The same for `verify --repair`: restores every column to the source's value. Where the record differs in nothing, only `details` was wrong:
 * `updated_at` stays.
 */
const RECORDED = [...FIXED.filter((column) => column !== 'details'), ...CHANGEABLE];
const isChanged = `(${RECORDED.map((column) => `e.${column}`).join(', ')}) is distinct from (${RECORDED.map((column) => `i.${column}`).join(', ')})`;
export const RESTORE_EVENTS = updateEvents(
  [...FIXED, ...CHANGEABLE],
  `case when ${isChanged} then now() else e.updated_at end`,
);

const POSTGRES_EPOCH = `timestamptz '2000-01-01 00:00:00Z'`;

/** A column of `audit.events e` as `toRecord` reads it. */
function selectColumn([name, type]: (typeof RECORD_COLUMNS)[number]): string {
  if (type === 'time')
    return `(extract(epoch from e.${name} - ${POSTGRES_EPOCH}) * 1000000)::bigint as ${name}`;
  return name === 'extra' ? 'e.extra::text as extra' : `e.${name}`;
}

/** The records of stored events. $1 organization, $2 log, $3 times, $4 ids, $5 and $6 the first and the last time. */
export const READ_RECORDS = `
  select ${RECORD_COLUMNS.map(selectColumn).join(', ')}
  from unnest($3::timestamptz[], $4::uuid[]) as k (created_on, event_id)
  join audit.events e on e.organization = $1 and e.log = $2 and e.created_on = k.created_on and e.event_id = k.event_id
    and e.created_on between $5 and $6`;

/** A row of READ_RECORDS: pg returns bigint as text. */
export type RecordRow = Record<RecordColumn, string | number | null>;

/**
 * Fails (division by zero) if a COPY did not store its rows, and no others carry their batch: the events are then upserted, which finds the reason.
 * $1 organization, $2 log, $3 batch, $4 and $5 times of the first and the last row, $6 number of rows.
 * Not named: a plan for any values, which the server tries for a named statement, covers all partitions.
 */
export const COUNT_COPIED = {
  text: `
  select 1 / (count(*) = $6::bigint)::integer from audit.events
  where organization = $1 and log = $2 and created_on between $4 and $5 and batch = $3`,
};

export const COPY_EVENTS = `copy audit.events (${COPIED_COLUMNS.join(', ')}) from stdin (format binary)`;

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
    resume = coalesce($12::jsonb, resume), source_total = coalesce($13, source_total), rows_superseded = $14
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
