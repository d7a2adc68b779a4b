import type { RunCounters } from '../../core/store.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Client, type Pool, withTransaction } from '../connection/pool.ts';
import { type MigrationState, readMigrations } from '../schema/migrate.ts';

const LAST_RUNS = 10;
const NEWEST_GAPS = 20;
const NEWEST_RANGES = 20;
/** Events by day: what is counted here need not be counted by rows. */
export const ROLL_UP = 'audit.daily_totals';
/** Whoever looks at the state would rather hear that the database is slow than wait for it. */
const STATEMENT_TIMEOUT_MS = 15_000;

/** What the database says of the export. Holds nothing of any event but times and numbers. */
export interface StatusReport {
  /** By the database's clock, as are all ages. */
  readAt: Date;
  migrations: MigrationState;
  /** By name; empty before the first run, and where the tables do not exist yet. */
  organizations: OrganizationStatus[];
}

export interface OrganizationStatus {
  organization: string;
  /** The newest committed event: ticks of 100 ns since 1970, and `createdOn` as sent; `null` before the first. */
  watermark: { ticks: bigint; raw: string } | null;
  newestEventAt: Date | null;
  /** Age of the newest event, 0 at least. Grows on a quiet organization too. */
  lagMs: number | null;
  /** When the last run that succeeded ended. */
  lastSuccessAt: Date | null;
  /** `totalCount` as the source last gave it. */
  sourceTotal: number | null;
  /** Events stored, also those the source has deleted since. */
  stored: number;
  /** Rows kept in `audit.rejected_events`. */
  rejected: number;
  /** When the newest of them was kept. */
  lastRejectedAt: Date | null;
  gapCount: number;
  /** The newest gaps, at most 20. */
  gaps: Gap[];
  /** The newest ranges of time that are known to be complete, newest first, at most 20. */
  coverage: Coverage[];
  /** The newest runs, newest first, at most 10. */
  runs: RunRecord[];
}

/** A half-open range of time in which every event that the source showed is stored. */
export interface Coverage {
  from: Date;
  to: Date;
  /** Each part of it that the source still had was read at this time or later. */
  provenAt: Date;
}

/** A span between two of those: the source may have deleted its events before they were read, or nobody asked for them. */
export interface Gap {
  from: Date;
  to: Date;
  noticedAt: Date;
  runId: string;
}

export interface RunRecord {
  runId: string;
  kind: string;
  startedAt: Date;
  endedAt: Date | null;
  /** `null` while the run goes on, or when its process ended without a word and no other run has noticed yet. */
  outcome: 'succeeded' | 'failed' | 'interrupted' | 'abandoned' | null;
  error: string | null;
  warnings: string[];
  counters: RunCounters;
  /** The range it was asked for; `null` where that is open. */
  from: Date | null;
  to: Date | null;
  worker: string | null;
}

/**
 * The state of every organization in the database, or of those named, as of one instant. Works without tables, and says then which
 * migrations are missing. `now` is the instant that lags are measured to; the database's clock, when not given. Throws `database-away`, `database` or `configuration`.
 */
export async function readStatus(
  pool: Pool,
  organizations?: readonly string[],
  now?: Date,
): Promise<StatusReport> {
  const migrations = await readMigrations(pool);
  let client: Client | undefined;
  try {
    client = await pool.connect();
    return await withTransaction(client, () => readReport(client!, migrations, organizations, now));
  } catch (error) {
    throw translateDatabaseError(error, 'reading the status');
  } finally {
    client?.release();
  }
}

/** Of every organization for which a run has begun. */
export async function readOrganizationNames(pool: Pool): Promise<string[]> {
  try {
    const { rows } = await pool.query<{ organization: string }>(
      'select organization from audit.watermarks order by organization',
    );
    return rows.map(({ organization }) => organization);
  } catch (error) {
    throw translateDatabaseError(error, 'reading which organizations there are');
  }
}

async function readReport(
  client: Client,
  migrations: MigrationState,
  wanted: readonly string[] | undefined,
  now: Date | undefined,
): Promise<StatusReport> {
  // One snapshot, so that the rows, the watermark and the runs belong together.
  await client.query('set transaction isolation level repeatable read, read only');
  await client.query(`set local statement_timeout = ${STATEMENT_TIMEOUT_MS}`);
  const { rows } = await client.query<{ read_at: Date; has_tables: boolean; has_roll_up: boolean }>(
    `select coalesce($1::timestamptz, now()) as read_at, to_regclass('audit.watermarks') is not null as has_tables,
       to_regclass('${ROLL_UP}') is not null as has_roll_up`,
    [now ?? null],
  );
  const { read_at: readAt, has_tables: hasTables, has_roll_up: hasRollUp } = rows[0]!;
  const query = ORGANIZATIONS(hasRollUp ? STORED : COUNTED);
  const organizations = hasTables ? await readOrganizations(client, query, wanted, readAt) : [];
  return { readAt, migrations, organizations };
}

async function readOrganizations(
  client: Client,
  query: string,
  wanted: readonly string[] | undefined,
  readAt: Date,
): Promise<OrganizationStatus[]> {
  const { rows } = await client.query<OrganizationRow>(query, [wanted ?? null]);
  const organizations: OrganizationStatus[] = [];
  for (const row of rows) {
    const runs = await client.query<RunRow>(RUNS, [row.organization, LAST_RUNS]);
    const gaps = await client.query<Gap>(GAPS, [row.organization, NEWEST_GAPS]);
    const coverage = await client.query<Coverage>(COVERAGE, [row.organization, NEWEST_RANGES]);
    organizations.push({
      ...toOrganization(row, readAt),
      gaps: gaps.rows,
      coverage: coverage.rows,
      runs: runs.rows.map(toRun),
    });
  }
  return organizations;
}

/** By the roll-up, which equals the count of the rows and is a fraction as long. */
const STORED = `(select coalesce(sum(events), 0) from ${ROLL_UP} a where a.organization = w.organization)`;
/** In a database that lacks the migration. */
const COUNTED = `(select count(*) from audit.events e where e.organization = w.organization)`;

const ORGANIZATIONS = (stored: string) => `
  select organization, created_on_ticks, created_on_raw, created_on, source_total,
    (select max(ended_at) from audit.runs r
     where r.organization = w.organization and outcome = 'succeeded') as last_success_at,
    ${stored} as stored,
    (select count(*) from audit.rejected_events r where r.organization = w.organization) as rejected,
    (select max(first_seen_at) from audit.rejected_events r where r.organization = w.organization) as last_rejected_at,
    (select count(*) from audit.gaps g where g.organization = w.organization) as gap_count
  from audit.watermarks w
  where $1::text[] is null or organization = any ($1)
  order by organization`;

const RUNS = `
  select run_id, kind, started_at, ended_at, outcome, error, warnings, from_at, to_at, worker, pages, requests, retries,
    rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late
  from audit.runs where organization = $1 order by started_at desc, run_id desc limit $2`;

const GAPS = `
  select from_at as "from", to_at as "to", noticed_at as "noticedAt", run_id as "runId"
  from audit.gaps where organization = $1 order by to_ticks desc limit $2`;

const COVERAGE = `
  select from_at as "from", to_at as "to", proven_at as "provenAt"
  from audit.coverage where organization = $1 order by from_ticks desc limit $2`;

interface OrganizationRow {
  organization: string;
  created_on_ticks: string | null;
  created_on_raw: string | null;
  created_on: Date | null;
  source_total: string | null;
  last_success_at: Date | null;
  stored: string;
  rejected: string;
  last_rejected_at: Date | null;
  gap_count: string;
}

function toOrganization(
  row: OrganizationRow,
  readAt: Date,
): Omit<OrganizationStatus, 'gaps' | 'coverage' | 'runs'> {
  const { created_on_ticks: ticks, created_on_raw: raw } = row;
  return {
    organization: row.organization,
    watermark: ticks === null || raw === null ? null : { ticks: BigInt(ticks), raw },
    newestEventAt: row.created_on,
    lagMs: row.created_on && Math.max(0, readAt.getTime() - row.created_on.getTime()),
    lastSuccessAt: row.last_success_at,
    sourceTotal: row.source_total === null ? null : Number(row.source_total),
    stored: Number(row.stored),
    rejected: Number(row.rejected),
    lastRejectedAt: row.last_rejected_at,
    gapCount: Number(row.gap_count),
  };
}

type CounterColumn =
  | 'pages'
  | 'requests'
  | 'retries'
  | `rows_${'read' | 'inserted' | 'updated' | 'unchanged' | 'rejected' | 'late'}`;

interface RunRow extends Record<CounterColumn, string> {
  run_id: string;
  kind: string;
  started_at: Date;
  ended_at: Date | null;
  outcome: RunRecord['outcome'];
  error: string | null;
  warnings: string[];
  from_at: Date | null;
  to_at: Date | null;
  worker: string | null;
}

function toRun(row: RunRow): RunRecord {
  return {
    runId: row.run_id,
    kind: row.kind,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    outcome: row.outcome,
    error: row.error,
    warnings: row.warnings,
    counters: {
      pages: Number(row.pages),
      requests: Number(row.requests),
      retries: Number(row.retries),
      rowsRead: Number(row.rows_read),
      inserted: Number(row.rows_inserted),
      updated: Number(row.rows_updated),
      unchanged: Number(row.rows_unchanged),
      rejected: Number(row.rows_rejected),
      late: Number(row.rows_late),
    },
    from: row.from_at,
    to: row.to_at,
    worker: row.worker,
  };
}
