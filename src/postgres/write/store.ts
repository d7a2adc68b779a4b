import { hostname } from 'node:os';
import { ExportError } from '../../core/errors.ts';
import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Client, type Pool, withTransaction } from '../connection/pool.ts';
import { requireOwnConnection } from '../connection/pooler.ts';
import { storableText } from '../format/columns.ts';
import { SOURCE_COLUMNS, type SourceRow, toStoredSource } from '../read/source-identity.ts';
import { toWatermark, type WatermarkRow } from '../read/watermark.ts';
import { Lease, lockFreeLease } from './lease.ts';
import { PostgresSession, type RunKind } from './session.ts';

const LEASE_MS = 60_000;

/** The outcome of a run that could not be stored, because the database was away. */
export interface UnrecordedOutcome {
  runId: string;
  error: string;
  endedAt: Date;
}

/**
 * Takes the log's lease, begins a run, and stores the unrecorded outcomes of earlier runs. Throws `locked` if another worker
 * holds the lease, and `superseded` by `unlessDoneWithinMs`. The caller must `release()` the session in every case.
 */
export async function openSession(
  pool: Pool,
  options: LogKey & {
    kind: RunKind;
    leaseMs?: number;
    /** False: commits before the run's end do not wait for the disk. */
    isSynchronous?: boolean;
    unrecordedOutcomes?: readonly UnrecordedOutcome[] | undefined;
    /** Throws `superseded` if a run of this kind, by any worker, began within this time and succeeded. */
    unlessDoneWithinMs?: number | undefined;
  },
): Promise<PostgresSession> {
  const { organization, log, kind, leaseMs = LEASE_MS, isSynchronous = true } = options;
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await requireOwnConnection(pool, client);
    // A worker that is suspended in a transaction keeps its rows locked until the server closes the connection.
    await client.query(
      `select set_config('idle_session_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false)`,
      [String(leaseMs)],
    );
    if (!isSynchronous) await client.query('set synchronous_commit = off');
    const begun = await beginRun(client, { ...options, leaseMs });
    begun.lease.startHeartbeat();
    return new PostgresSession({ client, organization, log, kind, isSynchronous, ...begun });
  } catch (error) {
    // Closed, not returned to the pool: its settings have changed.
    client?.release(true);
    throw translateDatabaseError(error, `beginning a run for ${organization}`);
  }
}

async function assertNotSuperseded(
  client: Client,
  { organization, log, kind, withinMs }: LogKey & { kind: RunKind; withinMs: number },
): Promise<void> {
  const { rowCount } = await client.query(
    `select from audit.runs where organization = $1 and log = $4 and kind = $2 and outcome = 'succeeded'
       and started_at >= clock_timestamp() - make_interval(secs => $3) limit 1`,
    [organization, kind, withinMs / 1000, log],
  );
  if (rowCount === 0) return;
  throw new ExportError('superseded', `Another worker has already exported ${organization}.`);
}

async function beginRun(
  client: Client,
  {
    organization,
    log,
    kind,
    leaseMs,
    unrecordedOutcomes = [],
    unlessDoneWithinMs: withinMs,
  }: Parameters<typeof openSession>[1] & { leaseMs: number },
) {
  return withTransaction(client, async () => {
    await lockFreeLease(client, { organization, log, ownRuns: unrecordedOutcomes.map(({ runId }) => runId) });
    // After locking the lease: no other worker can succeed meanwhile.
    if (withinMs !== undefined) await assertNotSuperseded(client, { organization, log, kind, withinMs });
    await client.query(
      `update audit.runs r set outcome = 'failed', error = t.error, ended_at = t.ended_at
       from unnest($2::bigint[], $3::text[], $4::timestamptz[]) as t (run_id, error, ended_at)
       where r.run_id = t.run_id and organization = $1 and log = $5 and outcome is null`,
      [
        organization,
        unrecordedOutcomes.map(({ runId }) => runId),
        unrecordedOutcomes.map(({ error }) => storableText(error)),
        unrecordedOutcomes.map(({ endedAt }) => endedAt),
        log,
      ],
    );
    await client.query(
      `update audit.runs set outcome = 'abandoned', ended_at = now(), error = 'the process exited without recording an outcome'
       where organization = $1 and log = $2 and outcome is null`,
      [organization, log],
    );
    const run = await client.query<{ run_id: string }>(
      'insert into audit.runs (organization, log, kind, worker) values ($1, $2, $3, $4) returning run_id',
      [organization, log, kind, `${hostname()} process ${process.pid}`],
    );
    const runId = run.rows[0]!.run_id;
    const lease = await Lease.take(client, { organization, log, runId, leaseMs });
    const { rows } = await client.query<WatermarkRow & SourceRow>(
      `select created_on_ticks, read_at, resume, ${SOURCE_COLUMNS} from audit.watermarks where organization = $1 and log = $2`,
      [organization, log],
    );
    const newest = await client.query<{ ticks: string }>(
      `select created_on_ticks as ticks from audit.events where organization = $1 and log = $2
       order by created_on desc limit 1`,
      [organization, log],
    );
    const newestStored = newest.rows[0] && BigInt(newest.rows[0].ticks);
    const source = toStoredSource(rows[0]);
    return { runId, lease, watermark: toWatermark(rows[0]!), source, newestStored };
  });
}
