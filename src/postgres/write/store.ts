import { hostname } from 'node:os';
import { ExportError } from '../../core/errors.ts';
import { type LedgerSigner, UNSIGNED } from '../../core/ledger/sign.ts';
import type { LogKey } from '../../core/log-key.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Client, type Pool, withTransaction } from '../connection/pool.ts';
import { requireOwnConnection } from '../connection/pooler.ts';
import { storableText } from '../format/columns.ts';
import { toStoredSource } from '../read/source-identity.ts';
import {
  checkStored,
  describeContradiction,
  findContradiction,
  READ_WATERMARK,
  toWatermark,
  type WatermarkState,
} from '../read/watermark.ts';
import { Lease, lockFreeLease } from './lease.ts';
import { EventMonths, type MonthRow, READ_MONTHS } from './partitions.ts';
import { PostgresSession, type RunKind } from './session.ts';
import { StateRecorder } from './state.ts';

const LEASE_MS = 60_000;
const SETTLE_MS = 3_600_000;

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
    /** An event stored more recently is not suspected of being deleted at the source. */
    settleMs?: number;
    unrecordedOutcomes?: readonly UnrecordedOutcome[] | undefined;
    /** Throws `superseded` if a run of this kind, by any worker, began within this time and succeeded. */
    unlessDoneWithinMs?: number | undefined;
    /** Signs the heads of the ledger. */
    signer?: LedgerSigner | undefined;
    /** Resets a watermark that contradicts the stored events: the run reads the whole list. */
    shouldResetWatermark?: boolean | undefined;
  },
): Promise<PostgresSession> {
  const { organization, log, kind, leaseMs = LEASE_MS, isSynchronous = true, settleMs = SETTLE_MS } = options;
  const { signer = UNSIGNED } = options;
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await requireOwnConnection(pool, client);
    // A worker that is suspended in a transaction keeps its rows locked until the server closes the connection.
    await client.query(
      `select set_config('idle_session_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false),
         set_config('jit', 'off', false)`,
      [String(leaseMs)],
    );
    if (!isSynchronous) await client.query('set synchronous_commit = off');
    const begun = await beginRun(client, { ...options, leaseMs });
    begun.lease.startHeartbeat();
    await begun.months.createAhead();
    return new PostgresSession({
      client,
      organization,
      log,
      kind,
      isSynchronous,
      settleMs,
      signer,
      ...begun,
    });
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
    shouldResetWatermark = false,
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
    const state = new StateRecorder(client, { organization, log });
    const run = await client.query<{ run_id: string }>(
      'insert into audit.runs (organization, log, kind, worker) values ($1, $2, $3, $4) returning run_id',
      [organization, log, kind, `${hostname()} process ${process.pid}`],
    );
    const runId = run.rows[0]!.run_id;
    const lease = await Lease.take(client, { organization, log, runId, leaseMs });
    const { rows } = await client.query<WatermarkState & MonthRow>(READ_START, [organization, log]);
    const row = await checkStored(client, { organization, log }, rows[0]!);
    const contradiction = findContradiction(row);
    const mustReset = contradiction !== undefined && shouldResetWatermark;
    if (mustReset) await client.query(RESET_WATERMARK, [organization, log]);
    await state.begin();
    return {
      runId,
      lease,
      state,
      months: new EventMonths(client, row),
      source: toStoredSource(row),
      watermark: contradiction === undefined ? toWatermark(row) : undefined,
      head: row.head_ticks === null || mustReset ? undefined : BigInt(row.head_ticks),
      ranks: mustReset ? null : row.ranks,
      newestStored: row.newest_ticks === null ? undefined : BigInt(row.newest_ticks),
      watermarkReset: mustReset ? contradiction : undefined,
      watermarkFault:
        contradiction === undefined || mustReset
          ? undefined
          : describeContradiction(organization, row, contradiction),
    };
  });
}

/** $1 organization, $2 log. */
const READ_START = `select * from (${READ_WATERMARK}) watermark cross join (${READ_MONTHS}) partitions`;

/** As before the first run. $1 organization, $2 log. */
const RESET_WATERMARK = `
  update audit.watermarks set created_on_ticks = null, created_on_raw = null, created_on = null, read_at = null, resume = null,
    head_ticks = null, head_at = null, ranks = null, completeness = null, completeness_reason = null, missing_events = null,
    assessed_at = null, proven_at = null, updated_at = now()
  where organization = $1 and log = $2`;
