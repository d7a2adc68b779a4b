import type { LogKey } from '../../core/log-key.ts';
import type { RunCounters } from '../../core/store.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Client, type Pool, withTransaction } from '../connection/pool.ts';
import { type MigrationState, readMigrations } from '../schema/migrate.ts';
import {
  type NamesRow,
  READ_GONE_NAMES,
  READ_SCHEMA,
  type SchemaLevel,
  type StatusRow,
  statusQuery,
} from './status-sql.ts';

/** Short: a status request should report a slow database, not wait for it. */
const STATEMENT_TIMEOUT_MS = 15_000;

/** The state of the export in the database. Of events it contains only times and counts, and what names a gone event. */
export interface StatusReport {
  /** By the database's clock, like all ages. */
  readAt: Date;
  migrations: MigrationState;
  /** By name and log; empty before the first run, and where the tables do not exist yet. */
  organizations: OrganizationStatus[];
}

/** One log of one organization. */
export interface OrganizationStatus extends LogKey {
  /** The newest committed event: ticks of 100 ns since 1970, and `createdOn` as sent; `null` before the first. */
  watermark: { ticks: bigint; raw: string } | null;
  newestEventAt: Date | null;
  /** Age of the newest event, 0 at least. Grows on a quiet organization too. */
  newestEventAgeMs: number | null;
  /** When the last run that succeeded ended. */
  lastSuccessAt: Date | null;
  /** `totalCount` as the source last sent it. */
  sourceTotal: number | null;
  /** Events stored, including those that the source has deleted since. */
  stored: number;
  /** Rows kept in `audit.rejected_events`. */
  rejected: number;
  /** When the newest of them was stored. */
  lastRejectedAt: Date | null;
  gapCount: number;
  /** The newest gaps, at most 20. */
  gaps: Gap[];
  /** Is every event stored that the source shows? */
  completeness: Completeness;
  /** When the copy was last verified, and what was found. */
  verification: VerificationStatus;
  /** The newest events that the source deleted behind its head, the one found last first, at most 20. */
  goneEvents: GoneEvent[];
  /** The newest ranges of time that were read without a gap, newest first, at most 20. */
  coverage: Coverage[];
  /** The newest runs, newest first, at most 10. */
  runs: RunRecord[];
}

/** What the last count proved: a row of the view `audit.completeness`. */
export interface Completeness {
  /** `complete`, `not proven`, `complete but for N`, `source changed` or `gap`. */
  state: string;
  /** Why it is not `complete`. */
  reason: string | null;
  /** Events at the source that are not stored; negative: stored events that are not at the source. */
  missing: number | null;
  /** When the source was last requested for its newest event by a run whose count agreed. */
  provenAt: Date | null;
  /** When the last count ended. */
  assessedAt: Date | null;
  /** Stored events that the last run did not find at the source; the next run decides. */
  suspected: number;
  /** Stored events that the source deleted behind its head. */
  gone: number;
  /** Of these, the ones found in the last 7 days. */
  recentlyGone: number;
  lastGoneAt: Date | null;
}

/** The results of `verify`: a row of the view `audit.verification_state`. */
export interface VerificationStatus {
  /** The last one, of any range. `null`: never verified. */
  last: {
    endedAt: Date;
    /** `offline`, `online` or `archive`. */
    scope: string;
    outcome: 'clean' | 'differences' | 'failed';
    /** Why it did not finish. */
    error: string | null;
  } | null;
  /** When a verify of the whole log last found no difference. */
  lastCleanAt: Date | null;
  /** Numbers by kind that no later verify has cleared, and the verify that found them. Only those above 0. */
  differences: Record<string, number>;
  differencesAt: Date | null;
  differencesScope: string | null;
}

/** A stored event that the source deleted. Its names are cut to 200 characters; `null` also where the event is not stored any more. */
export interface GoneEvent {
  createdOn: Date;
  category: string | null;
  action: string | null;
  userName: string | null;
  /** When a run first did not find it. */
  noticedAt: Date;
  /** When a second run agreed. */
  goneAt: Date | null;
}

/** A half-open range of time that was read without a gap. */
export interface Coverage {
  from: Date;
  to: Date;
  /** Every event that the source showed at this time, dated in the range, is stored. `null`: not counted yet. */
  provenAt: Date | null;
  /** When `verify` last found no difference in the range. */
  verifiedAt: Date | null;
}

/** A span between two ranges of coverage: the source may have deleted its events before they were read, or no run requested them. */
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
  /** `null` while the run is in progress, or when its process exited without recording an outcome and no later run has begun. */
  outcome: 'succeeded' | 'failed' | 'interrupted' | 'abandoned' | null;
  error: string | null;
  warnings: string[];
  counters: RunCounters;
  /** The requested range; `null` where it is unbounded. */
  from: Date | null;
  to: Date | null;
  worker: string | null;
}

/**
 * Reads the state of every log, or of the logs of these organizations, in one snapshot. The number of statements does not depend
 * on the number of logs. Works in a database with pending migrations, and lists them. Lags are measured to `now`; default: the
 * database's clock. Throws `database-away`, `database` or `configuration`.
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

/** Reads the names of the organizations for which a run has begun. */
export async function readOrganizationNames(pool: Pool): Promise<string[]> {
  try {
    const { rows } = await pool.query<{ organization: string }>(
      'select organization from audit.watermarks order by organization',
    );
    return rows.map(({ organization }) => organization);
  } catch (error) {
    throw translateDatabaseError(error, 'reading the organizations');
  }
}

async function readReport(
  client: Client,
  migrations: MigrationState,
  wanted: readonly string[] | undefined,
  now: Date | undefined,
): Promise<StatusReport> {
  // One snapshot, so that rows, watermark and runs are consistent.
  await client.query('set transaction isolation level repeatable read, read only');
  // JIT compilation of the query takes longer than the query.
  await client.query(
    `select set_config('statement_timeout', '${STATEMENT_TIMEOUT_MS}', true), set_config('jit', 'off', true)`,
  );
  const { rows } = await client.query<SchemaLevel & { read_at: Date }>(READ_SCHEMA, [now ?? null]);
  const { read_at: readAt, ...level } = rows[0]!;
  if (!level.has_tables) return { readAt, migrations, organizations: [] };
  const parameters = level.has_completeness ? [wanted ?? null, readAt] : [wanted ?? null];
  const status = await client.query<StatusRow>(statusQuery(level), parameters);
  const names = await readGoneNames(client, status.rows);
  return { readAt, migrations, organizations: status.rows.map((row) => toOrganization(row, names, readAt)) };
}

/** The names of the listed gone events, by `keyOf`. */
async function readGoneNames(client: Client, rows: readonly StatusRow[]): Promise<Map<string, NamesRow>> {
  const gone = rows.flatMap(({ organization, log, gone: events }) =>
    events.map(({ at, eventId }) => ({ organization, log, at, eventId })),
  );
  if (gone.length === 0) return new Map();
  const times = gone.map(({ at }) => at).sort();
  const names = await client.query<NamesRow>(READ_GONE_NAMES, [
    gone.map(({ organization }) => organization),
    gone.map(({ log }) => log),
    gone.map(({ at }) => at),
    gone.map(({ eventId }) => eventId),
    times[0],
    times.at(-1),
  ]);
  return new Map(names.rows.map((row) => [keyOf(row, row.event_id), row]));
}

/** Events of two logs may have the same id. */
function keyOf({ organization, log }: LogKey, eventId: string): string {
  return JSON.stringify([organization, log, eventId]);
}

function toOrganization(
  row: StatusRow,
  goneNames: ReadonlyMap<string, NamesRow>,
  readAt: Date,
): OrganizationStatus {
  const { created_on_ticks: ticks, created_on_raw: raw } = row;
  return {
    organization: row.organization,
    log: row.log,
    watermark: ticks === null || raw === null ? null : { ticks: BigInt(ticks), raw },
    newestEventAt: row.created_on,
    newestEventAgeMs: row.created_on && Math.max(0, readAt.getTime() - row.created_on.getTime()),
    lastSuccessAt: row.last_success_at,
    sourceTotal: row.source_total === null ? null : Number(row.source_total),
    stored: Number(row.stored),
    rejected: Number(row.rejected),
    lastRejectedAt: row.last_rejected_at,
    gapCount: Number(row.gap_count),
    gaps: row.gaps.map(({ from, to, noticedAt, runId }) => ({
      ...{ from: new Date(from), to: new Date(to), noticedAt: new Date(noticedAt), runId },
    })),
    completeness: toCompleteness(row),
    verification: toVerification(row),
    goneEvents: row.gone.map(({ createdOn, eventId, noticedAt, goneAt }) => {
      const { category = null, action = null, userName = null } = goneNames.get(keyOf(row, eventId)) ?? {};
      const names = { category, action, userName };
      return {
        ...{
          createdOn: new Date(createdOn),
          ...names,
          noticedAt: new Date(noticedAt),
          goneAt: toDate(goneAt),
        },
      };
    }),
    coverage: row.coverage.map(({ from, to, provenAt, verifiedAt }) => ({
      ...{
        from: new Date(from),
        to: new Date(to),
        provenAt: toDate(provenAt),
        verifiedAt: toDate(verifiedAt),
      },
    })),
    runs: row.runs.map(({ startedAt, endedAt, from, to, ...run }) => ({
      ...run,
      startedAt: new Date(startedAt),
      endedAt: toDate(endedAt),
      from: toDate(from),
      to: toDate(to),
    })),
  };
}

function toCompleteness(row: StatusRow): Completeness {
  return {
    state: row.state,
    reason: row.reason,
    missing: row.missing_events === null ? null : Number(row.missing_events),
    provenAt: row.proven_at,
    assessedAt: row.assessed_at,
    suspected: Number(row.suspected_events),
    gone: Number(row.gone_events),
    recentlyGone: Number(row.recently_gone_events),
    lastGoneAt: row.last_gone_at,
  };
}

function toVerification(row: StatusRow): VerificationStatus {
  const { last_verify_at: endedAt, last_verify_scope: scope, last_verify_outcome: outcome } = row;
  const isVerified = endedAt !== null && scope !== null && outcome !== null;
  return {
    last: isVerified ? { endedAt, scope, outcome, error: row.last_verify_error } : null,
    lastCleanAt: row.last_clean_verify_at,
    differences: row.differences,
    differencesAt: row.differences_at,
    differencesScope: row.differences_scope,
  };
}

function toDate(milliseconds: number | null): Date | null {
  return milliseconds === null ? null : new Date(milliseconds);
}
