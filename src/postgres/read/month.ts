/** Reads what the tables say about one log in one month. All of it is of one snapshot. */
import type { LogKey } from '../../core/log-key.ts';
import type { Queryable } from '../connection/pool.ts';
import { inUtc } from '../format/utc.ts';

/** At most so many rows are listed; all are counted. */
const MAX_LISTED = 1000;

/** A half-open period: texts of UTC with six fraction digits. */
export interface Period {
  from: string;
  to: string;
}

/** Texts are times in UTC with six fraction digits, unless another meaning is given. */
export interface MonthOfLog {
  /** Events by UTC day, days without events left out. */
  days: { day: string; events: number }[];
  /** Ranges that were read, cut to nothing: as stored. */
  coverage: { from: string; to: string; provenAt: string | null; verifiedAt: string | null }[];
  gaps: { from: string; to: string; noticedAt: string }[];
  completeness: { state: string; reason: string | null; provenAt: string | null };
  gone: {
    events: number;
    listed: {
      createdOn: string;
      eventId: string;
      user: string | null;
      action: string | null;
      state: string;
      noticedAt: string;
    }[];
  };
  rejected: { reason: string; rows: number }[];
  /** Runs that began in the month. */
  runs: {
    succeeded: number;
    late: number;
    failed: { runId: string; kind: string; startedAt: string; outcome: string; error: string | null }[];
  };
  verifications: Verification[];
  /** The newest of any time. */
  lastVerification: Verification | null;
  /** Entries committed in the month. */
  entries: { count: number; first: Entry | null; last: Entry | null };
}

export interface Verification {
  scope: string;
  endedAt: string;
  outcome: string;
  differences: Record<string, number>;
  rows: number;
}

export interface Entry {
  entry: string;
  kind: string;
  committedAt: string;
  digest: string;
  checkpoint: string | null;
}

const DAYS = `
  select to_char(day, 'YYYY-MM-DD') as day, sum(events)::float8 as events from audit.daily_totals
  where organization = $1 and log = $2 and day >= $3::timestamptz at time zone 'UTC' and day < $4::timestamptz at time zone 'UTC'
  group by day having sum(events) > 0 order by day`;

/** Of the rows that entries up to $5 stored, and that no entry up to it has superseded: what DAYS was when $5 was the newest entry. */
const DAYS_AT = `
  select to_char(e.created_on at time zone 'UTC', 'YYYY-MM-DD') as day, count(*)::float8 as events from audit.events e
  where organization = $1 and log = $2 and created_on >= $3::timestamptz and created_on < $4::timestamptz and batch <= $5
    and not coalesce((
      select l.kind = 'superseded' from audit.ledger_changes c join audit.ledger l using (organization, log, batch)
      where c.organization = $1 and c.log = $2 and c.row_batch = e.batch and c.event_id = e.event_id and c.batch <= $5
        and l.kind = 'superseded' and e.superseded_by is not null
      order by c.batch desc limit 1), false)
  group by 1 order by 1`;

const COVERAGE = `
  select ${inUtc('from_at')} as from, ${inUtc('to_at')} as to, ${inUtc('proven_at')} as "provenAt", ${inUtc('verified_at')} as "verifiedAt"
  from audit.coverage where organization = $1 and log = $2 and from_at < $4::timestamptz and to_at > $3::timestamptz order by from_ticks`;

const GAPS = `
  select ${inUtc('from_at')} as from, ${inUtc('to_at')} as to, ${inUtc('noticed_at')} as "noticedAt"
  from audit.gaps where organization = $1 and log = $2 and from_at < $4::timestamptz and to_at > $3::timestamptz order by from_ticks`;

const COMPLETENESS = `
  select state, reason, ${inUtc('proven_at')} as "provenAt" from audit.completeness where organization = $1 and log = $2`;

const GONE = `
  select ${inUtc('g.created_on')} as "createdOn", g.event_id as "eventId", e.user_name as user, e.action, g.state,
    ${inUtc('g.suspected_at')} as "noticedAt", count(*) over ()::float8 as count
  from audit.gone_events g left join audit.events e using (organization, log, created_on, event_id)
  where g.organization = $1 and g.log = $2 and g.created_on >= $3::timestamptz and g.created_on < $4::timestamptz and g.gone_at is not null
    and g.state in ('gone', 'former source')
  order by g.created_on, g.event_id limit ${MAX_LISTED}`;

const REJECTED = `
  select reason, count(*)::float8 as rows from audit.rejected_events
  where organization = $1 and log = $2 and first_seen_at >= $3::timestamptz and first_seen_at < $4::timestamptz group by reason order by reason`;

const RUNS = `
  select count(*) filter (where outcome = 'succeeded')::float8 as succeeded, coalesce(sum(rows_late), 0)::float8 as late from audit.runs
  where organization = $1 and log = $2 and started_at >= $3::timestamptz and started_at < $4::timestamptz`;

const FAILED = `
  select run_id as "runId", kind, ${inUtc('started_at')} as "startedAt", outcome, error from audit.runs
  where organization = $1 and log = $2 and started_at >= $3::timestamptz and started_at < $4::timestamptz
    and outcome in ('failed', 'abandoned') order by run_id limit ${MAX_LISTED}`;

const verification = (condition: string, order: string) => `
  select scope, ${inUtc('ended_at')} as "endedAt", outcome, differences, rows::float8 as rows from audit.verifications
  where organization = $1 and log = $2 and ${condition} order by ${order}`;

const VERIFICATIONS = verification(
  'ended_at >= $3::timestamptz and ended_at < $4::timestamptz',
  `ended_at, verification_id limit ${MAX_LISTED}`,
);
const LAST_VERIFICATION = verification('true', 'ended_at desc, verification_id desc limit 1');

const entry = (order: string) => `
  select batch as entry, kind, ${inUtc('committed_at')} as "committedAt", encode(digest, 'hex') as digest, checkpoint from audit.ledger
  where organization = $1 and log = $2 and committed_at >= $3::timestamptz and committed_at < $4::timestamptz order by batch ${order} limit 1`;

const COUNT_ENTRIES = `
  select count(*)::float8 as count from audit.ledger
  where organization = $1 and log = $2 and committed_at >= $3::timestamptz and committed_at < $4::timestamptz`;

export async function readMonth(
  client: Queryable,
  { organization, log }: LogKey,
  { from, to }: Period,
): Promise<MonthOfLog> {
  const read = async <Row extends object>(text: string, values: unknown[] = [from, to]) =>
    (await client.query<Row>(text, [organization, log, ...values])).rows;
  const gone = await read<MonthOfLog['gone']['listed'][number] & { count: number }>(GONE);
  const [runs] = await read<{ succeeded: number; late: number }>(RUNS);
  const [completeness] = await read<MonthOfLog['completeness']>(COMPLETENESS, []);
  const [entries] = await read<{ count: number }>(COUNT_ENTRIES);
  return {
    days: await read(DAYS),
    coverage: await read(COVERAGE),
    gaps: await read(GAPS),
    completeness: completeness ?? {
      state: 'not proven',
      reason: 'no run has counted the events yet',
      provenAt: null,
    },
    gone: { events: gone[0]?.count ?? 0, listed: gone.map(({ count: _count, ...event }) => event) },
    rejected: await read(REJECTED),
    runs: { ...runs!, failed: await read(FAILED) },
    verifications: await read(VERIFICATIONS),
    lastVerification: (await read<Verification>(LAST_VERIFICATION, []))[0] ?? null,
    entries: {
      count: entries!.count,
      first: (await read<Entry>(entry('asc')))[0] ?? null,
      last: (await read<Entry>(entry('desc')))[0] ?? null,
    },
  };
}

/** The events by day as they were when `batch` was the newest entry. */
export async function readDaysAt(
  client: Queryable,
  { organization, log }: LogKey,
  { from, to }: Period,
  batch: bigint,
): Promise<MonthOfLog['days']> {
  const { rows } = await client.query<MonthOfLog['days'][number]>(DAYS_AT, [
    organization,
    log,
    from,
    to,
    batch.toString(),
  ]);
  return rows;
}

/** Versions of the server and of the tables. */
export async function readVersions(
  client: Queryable,
): Promise<{ postgresql: string; migration: string | null }> {
  const { rows } = await client.query<{ postgresql: string; migration: string | null }>(
    `select current_setting('server_version') as postgresql, (select name from audit.migrations order by id desc limit 1) as migration`,
  );
  return rows[0]!;
}
