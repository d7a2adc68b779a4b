import { hostname } from 'node:os';
import { ExportError } from '../core/errors.ts';
import type { Json } from '../core/source.ts';
import { storableText } from './columns.ts';
import { translateDatabaseError } from './errors.ts';
import { type Client, type Pool, QUERY_TIMEOUT_MS, withTransaction } from './pool.ts';
import { requireOwnConnection } from './pooling.ts';
import { PostgresSession, type RunKind, type StoredWatermark } from './session.ts';

/** A connection that says nothing for so long is ended by the server, and its lock with it. */
const LEASE_MS = 60_000;
const HEARTBEATS_PER_LEASE = 4;
/** A commit of one page takes milliseconds; so long means that the database is stuck. */
const STATEMENT_TIMEOUT_MS = QUERY_TIMEOUT_MS - 10_000;

/** How a run failed whose end could not be stored, because the database was away. */
export interface UnstoredEnd {
  runId: string;
  error: string;
  endedAt: Date;
}

/**
 * Takes the organization's lock and begins a run, and stores how earlier ones ended. Throws `locked` when another worker
 * holds it, and `superseded` as asked. The caller must `release()` the session, whatever happens.
 */
export async function openSession(
  pool: Pool,
  options: {
    organization: string;
    kind: RunKind;
    leaseMs?: number;
    /** False: commits before the run's end do not wait for the disk. */
    isSynchronous?: boolean;
    unstoredEnds?: readonly UnstoredEnd[] | undefined;
    /** Throws `superseded` where a run of this kind, of whatever worker, has succeeded that began no longer ago. */
    unlessDoneWithinMs?: number | undefined;
  },
): Promise<PostgresSession> {
  const { organization, kind, leaseMs = LEASE_MS, isSynchronous = true, unstoredEnds = [] } = options;
  let client: Client | undefined;
  try {
    client = await pool.connect();
    await requireOwnConnection(pool, client);
    await client.query(
      `select set_config('idle_session_timeout', $1, false), set_config('idle_in_transaction_session_timeout', $1, false),
              set_config('statement_timeout', $2, false)`,
      [String(leaseMs), String(STATEMENT_TIMEOUT_MS)],
    );
    if (!isSynchronous) await client.query('set synchronous_commit = off');
    await takeLock(client, organization, { leaseMs, unstoredEnds });
    // With the lock, so that no other worker is about to succeed.
    if (options.unlessDoneWithinMs !== undefined)
      await assertNotDone(client, { organization, kind, withinMs: options.unlessDoneWithinMs });
    const { runId, watermark, newestStored } = await beginRun(client, organization, kind, unstoredEnds);
    const lease = { isBusy: false };
    const release = keepAlive(client, leaseMs, lease);
    return new PostgresSession({
      client,
      organization,
      kind,
      isSynchronous,
      runId,
      watermark,
      newestStored,
      lease,
      release,
    });
  } catch (error) {
    // Destroyed, not returned: it may hold the lock or changed settings.
    client?.release(true);
    throw translateDatabaseError(error, `beginning a run for ${organization}`);
  }
}

async function takeLock(
  client: Client,
  organization: string,
  { leaseMs, unstoredEnds }: { leaseMs: number; unstoredEnds: readonly UnstoredEnd[] },
): Promise<void> {
  const { rows } = await client.query<{ is_locked: boolean }>(
    `select pg_try_advisory_lock(hashtextextended('uipath-audit-export ' || $1, 0)) as is_locked`,
    [organization],
  );
  if (rows[0]!.is_locked) return;
  const holder = await client.query<{ run_id: string; worker: string | null; started_at: Date }>(
    `select run_id, worker, started_at from audit.runs where organization = $1 and outcome is null
     order by started_at desc limit 1`,
    [organization],
  );
  const { run_id: holdingRun, worker, started_at: startedAt } = holder.rows[0] ?? {};
  if (unstoredEnds.some(({ runId }) => runId === holdingRun)) {
    throw new ExportError(
      'database-away',
      `PostgreSQL keeps the lock of run ${holdingRun}, whose connection this worker lost, for at most ${leaseMs / 1000} s. ` +
        'The next run goes on where that one stopped.',
    );
  }
  const who = worker ? `${worker}, since ${startedAt?.toISOString()}` : 'its run is just beginning or ending';
  throw new ExportError(
    'locked',
    `Another worker exports ${organization} (${who}). Wait for it, or stop it; if it is gone, its lock ends within ` +
      `${leaseMs / 1000} s.`,
  );
}

async function assertNotDone(
  client: Client,
  { organization, kind, withinMs }: { organization: string; kind: RunKind; withinMs: number },
): Promise<void> {
  const { rowCount } = await client.query(
    `select from audit.runs where organization = $1 and kind = $2 and outcome = 'succeeded'
       and started_at >= clock_timestamp() - make_interval(secs => $3) limit 1`,
    [organization, kind, withinMs / 1000],
  );
  if (rowCount === 0) return;
  throw new ExportError('superseded', `Another worker has exported ${organization} meanwhile.`);
}

async function beginRun(
  client: Client,
  organization: string,
  kind: RunKind,
  unstoredEnds: readonly UnstoredEnd[],
) {
  return withTransaction(client, async () => {
    await client.query(
      `update audit.runs r set outcome = 'failed', error = t.error, ended_at = t.ended_at
       from unnest($2::bigint[], $3::text[], $4::timestamptz[]) as t (run_id, error, ended_at)
       where r.run_id = t.run_id and organization = $1 and outcome is null`,
      [
        organization,
        unstoredEnds.map(({ runId }) => runId),
        unstoredEnds.map(({ error }) => storableText(error)),
        unstoredEnds.map(({ endedAt }) => endedAt),
      ],
    );
    await client.query(
      `update audit.runs set outcome = 'abandoned', ended_at = now(), error = 'the process ended without a word'
       where organization = $1 and outcome is null`,
      [organization],
    );
    const run = await client.query<{ run_id: string }>(
      'insert into audit.runs (organization, kind, worker) values ($1, $2, $3) returning run_id',
      [organization, kind, `${hostname()} process ${process.pid}`],
    );
    const runId = run.rows[0]!.run_id;
    await client.query(
      'insert into audit.watermarks (organization, run_id) values ($1, $2) on conflict do nothing',
      [organization, runId],
    );
    const { rows } = await client.query<WatermarkRow>(
      'select created_on_ticks, read_at, resume from audit.watermarks where organization = $1',
      [organization],
    );
    const newest = await client.query<{ ticks: string }>(
      'select created_on_ticks as ticks from audit.events where organization = $1 order by created_on desc limit 1',
      [organization],
    );
    const newestStored = newest.rows[0] && BigInt(newest.rows[0].ticks);
    return { runId, watermark: toWatermark(rows[0]!), newestStored };
  });
}

export interface WatermarkRow {
  created_on_ticks: string | null;
  read_at: Date;
  resume: Json;
}

export function toWatermark(row: WatermarkRow): StoredWatermark | undefined {
  if (row.created_on_ticks === null) return undefined;
  return {
    ticks: BigInt(row.created_on_ticks),
    readAt: row.read_at,
    resume: row.resume,
  };
}

/** Keeps the lease while the source is slow; gives back how to end it, and the lock with it. */
function keepAlive(client: Client, leaseMs: number, lease: { isBusy: boolean }): () => Promise<void> {
  // A broken connection shows in the next commit.
  const ignore = () => {};
  const beat = () => {
    if (!lease.isBusy) client.query('select 1').catch(ignore);
  };
  const timer = setInterval(beat, leaseMs / HEARTBEATS_PER_LEASE);
  timer.unref();
  let isReleased = false;
  return async () => {
    if (isReleased) return;
    isReleased = true;
    clearInterval(timer);
    // Said and answered, because the server notices the end of a connection only some time after.
    await client.query('select pg_advisory_unlock_all()').catch(ignore);
    // Ended, and not given back with its settings.
    client.release(true);
  };
}
