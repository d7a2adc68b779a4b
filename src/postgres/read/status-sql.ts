/** The query for the status of all logs. */
import type { LogKey } from '../../core/log-key.ts';
import { inUtc } from '../format/utc.ts';
import type { GoneEvent, RunRecord } from './status.ts';

const LAST_RUNS = 10;
const NEWEST_GAPS = 20;
const NEWEST_RANGES = 20;
const NEWEST_GONE = 20;
/** Of a category, action or user: an event may hold megabytes there. */
const MAX_NAME_CHARACTERS = 200;
/** Event counts by day: faster than counting rows. */
export const ROLL_UP = 'audit.daily_totals';

/** What exists in the database, by its applied migrations. */
export interface SchemaLevel {
  has_tables: boolean;
  has_coverage: boolean;
  has_roll_up: boolean;
  has_logs: boolean;
  has_completeness: boolean;
  has_verifications: boolean;
}

export const READ_SCHEMA = `
  select coalesce($1::timestamptz, now()) as read_at, to_regclass('audit.watermarks') is not null as has_tables,
    to_regclass('audit.coverage') is not null as has_coverage, to_regclass('${ROLL_UP}') is not null as has_roll_up,
    exists (
      select from pg_attribute where attrelid = to_regclass('audit.watermarks') and attname = 'log' and not attisdropped
    ) as has_logs,
    to_regclass('audit.completeness') is not null as has_completeness,
    to_regclass('audit.verification_state') is not null as has_verifications`;

/** One log, with its newest runs, gaps, ranges and gone events as JSON. */
export interface StatusRow {
  organization: string;
  log: string;
  created_on_ticks: string | null;
  created_on_raw: string | null;
  created_on: Date | null;
  source_total: string | null;
  last_success_at: Date | null;
  stored: string;
  rejected: string;
  last_rejected_at: Date | null;
  gap_count: string;
  gaps: { from: number; to: number; noticedAt: number; runId: string }[];
  coverage: { from: number; to: number; provenAt: number | null; verifiedAt: number | null }[];
  state: string;
  reason: string | null;
  missing_events: string | null;
  proven_at: Date | null;
  assessed_at: Date | null;
  suspected_events: string;
  gone_events: string;
  recently_gone_events: string;
  last_gone_at: Date | null;
  gone: GoneJson[];
  last_verify_at: Date | null;
  last_verify_scope: string | null;
  last_verify_outcome: 'clean' | 'differences' | 'failed' | null;
  last_verify_error: string | null;
  last_clean_verify_at: Date | null;
  differences: Record<string, number>;
  differences_at: Date | null;
  differences_scope: string | null;
  runs: RunJson[];
}

/** JSON has no dates: they are milliseconds since 1970. */
type Json<T> = {
  [N in keyof T]: T[N] extends Date ? number : T[N] extends Date | null ? number | null : T[N];
};
type RunJson = Json<RunRecord>;
/** `at`: the exact time, as `inUtc` writes it. */
type GoneJson = Json<Omit<GoneEvent, keyof GoneNames>> & { eventId: string; at: string };
type GoneNames = Pick<GoneEvent, 'category' | 'action' | 'userName'>;

/** The query for a database at that level. $1 names of organizations; null: all. $2 the time of the report, where the view exists. */
export function statusQuery(level: SchemaLevel): string {
  // Rows stored before the column `log` existed belong to the classic log.
  const table = (name: string) => (level.has_logs ? name : `(select *, text 'classic' as log from ${name})`);
  const stored = level.has_roll_up
    ? `select coalesce(sum(events), 0) from ${table(ROLL_UP)} a where (a.organization, a.log) = (w.organization, w.log)`
    : `select count(*) from ${table('audit.events')} e where (e.organization, e.log) = (w.organization, w.log)`;
  const ranges = level.has_coverage ? rangesOf(table('audit.coverage'), level) : NO_RANGES;
  return `
  select w.organization, w.log, created_on_ticks, created_on_raw, created_on, source_total,
    (select ended_at from ${table('audit.runs')} r
     where (r.organization, r.log) = (w.organization, w.log) and outcome = 'succeeded'
     order by started_at desc limit 1) as last_success_at,
    (${stored}) as stored, rejected.count as rejected, rejected.last_at as last_rejected_at,
    (select count(*) from ${table('audit.gaps')} g where (g.organization, g.log) = (w.organization, w.log)) as gap_count,
    ${listOf(GAP, `${table('audit.gaps')}`, `to_ticks desc limit ${NEWEST_GAPS}`)} as gaps,
    ${listOf(RANGE, ranges, `from_ticks desc limit ${NEWEST_RANGES}`)} as coverage,
    ${listOf(RUN, table('audit.runs'), `started_at desc, run_id desc limit ${LAST_RUNS}`)} as runs,
    ${level.has_completeness ? COMPLETENESS : NO_COMPLETENESS},
    ${level.has_verifications ? VERIFICATION : NO_VERIFICATION}
  from ${table('audit.watermarks')} w
  ${level.has_completeness ? 'join audit.completeness c on (c.organization, c.log) = (w.organization, w.log)' : ''}
  ${level.has_verifications ? 'join audit.verification_state v on (v.organization, v.log) = (w.organization, w.log)' : ''}
  cross join lateral (
    select count(*), max(first_seen_at) as last_at from ${table('audit.rejected_events')} r
    where (r.organization, r.log) = (w.organization, w.log)
  ) rejected
  where $1::text[] is null or w.organization = any ($1)
  order by w.organization, w.log`;
}

const NO_RANGES = `(
    select null::text as organization, null::text as log, null::bigint as from_ticks, null::timestamptz as from_at,
      null::timestamptz as to_at, null::timestamptz as proven_at, null::timestamptz as verified_at
    where false
  )`;

/** Before 0012 a range was called proven when it had been read once: no count has proven it. */
function rangesOf(coverage: string, { has_completeness }: SchemaLevel): string {
  if (has_completeness) return coverage;
  return `(
    select organization, log, from_ticks, from_at, to_at, null::timestamptz as proven_at, null::timestamptz as verified_at
    from ${coverage} r
  )`;
}

/** SQL for a JSON array with one object per row of the log. */
function listOf(object: string, from: string, order: string): string {
  return `(
      select coalesce(json_agg(${object}), '[]') from (
        select * from ${from} t where (t.organization, t.log) = (w.organization, w.log) order by ${order}
      ) newest
    )`;
}

/** Milliseconds since 1970, cut like pg does for a Date. */
const milliseconds = (time: string) => `floor(extract(epoch from ${time}) * 1000)`;

const RANGE = `json_build_object(
        'from', ${milliseconds('from_at')}, 'to', ${milliseconds('to_at')}, 'provenAt', ${milliseconds('proven_at')},
        'verifiedAt', ${milliseconds('verified_at')})`;

const GAP = `json_build_object(
        'from', ${milliseconds('from_at')}, 'to', ${milliseconds('to_at')},
        'noticedAt', ${milliseconds('noticed_at')}, 'runId', run_id::text)`;

const RUN = `json_build_object(
        'runId', run_id::text, 'kind', kind, 'startedAt', ${milliseconds('started_at')},
        'endedAt', ${milliseconds('ended_at')}, 'outcome', outcome, 'error', error, 'warnings', warnings,
        'counters', json_build_object(
          'pages', pages, 'requests', requests, 'retries', retries, 'rowsRead', rows_read, 'inserted', rows_inserted,
          'updated', rows_updated, 'unchanged', rows_unchanged, 'rejected', rows_rejected, 'late', rows_late,
          'superseded', coalesce((to_jsonb(newest) ->> 'rows_superseded')::bigint, 0)),
        'from', ${milliseconds('from_at')}, 'to', ${milliseconds('to_at')}, 'worker', worker)`;

const name = (column: string) => `left(e.${column}, ${MAX_NAME_CHARACTERS})`;

/** The names of a stored event. */
export interface NamesRow extends GoneNames, LogKey {
  event_id: string;
}

/**
 * The names of gone events. A join with audit.events in the query of the status would plan all of its partitions, and most logs have no
 * gone event. $1 to $4 organizations, logs, times and ids; $5 and $6 the first and the last time.
 */
export const READ_GONE_NAMES = `
  select e.organization, e.log, e.event_id, ${name('category')} as category, ${name('action')} as action, ${name('user_name')} as "userName"
  from unnest($1::text[], $2::text[], $3::timestamptz[], $4::uuid[]) as g (organization, log, created_on, event_id)
  join audit.events e on (e.organization, e.log, e.created_on, e.event_id) = (g.organization, g.log, g.created_on, g.event_id)
  where e.created_on between $5 and $6`;

/** The state as the view says it; how many are recent is counted at the time of the report. */
const COMPLETENESS = `
    c.state, c.reason, c.missing_events, c.proven_at, c.assessed_at, c.suspected_events, c.gone_events, c.last_gone_at,
    (select count(*) from audit.gone_events g where (g.organization, g.log) = (w.organization, w.log) and g.state = 'gone'
       and g.gone_at > $2::timestamptz - interval '7 days') as recently_gone_events,
    (
      select coalesce(json_agg(json_build_object(
        'createdOn', ${milliseconds('g.created_on')}, 'at', ${inUtc('g.created_on')}, 'eventId', g.event_id, 'noticedAt', ${milliseconds('g.suspected_at')},
        'goneAt', ${milliseconds('g.gone_at')}) order by g.gone_at desc, g.created_on desc), '[]')
      from (
        select * from audit.gone_events g where (g.organization, g.log) = (w.organization, w.log) and g.state = 'gone'
        order by g.gone_at desc, g.created_on desc limit ${NEWEST_GONE}
      ) g
    ) as gone`;

const VERIFICATION = `
    v.last_at as last_verify_at, v.last_scope as last_verify_scope, v.last_outcome as last_verify_outcome,
    v.last_error as last_verify_error, v.last_clean_at as last_clean_verify_at, v.differences, v.differences_at, v.differences_scope`;

const NO_VERIFICATION = `
    null::timestamptz as last_verify_at, null as last_verify_scope, null as last_verify_outcome, null as last_verify_error,
    null::timestamptz as last_clean_verify_at, json_build_object() as differences, null::timestamptz as differences_at,
    null as differences_scope`;

const NO_COMPLETENESS = `
    'not proven' as state, 'the database lacks migration 0012' as reason, null::bigint as missing_events,
    null::timestamptz as proven_at, null::timestamptz as assessed_at, 0 as suspected_events, 0 as gone_events,
    null::timestamptz as last_gone_at, 0 as recently_gone_events, json_build_array() as gone`;
