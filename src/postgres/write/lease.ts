/**
 * The lease of a log: which run may write, and until when.
 *
 * - It is stored in the log's row of `audit.watermarks`, so only a login that may update that row can take it.
 * - Every transaction of a run begins with `hold`, which renews the lease and checks it. A heartbeat renews it while the source is
 *   slow. The database's clock decides when it expires.
 * - It is free when no run holds it, when it has expired, or when the connection of its run is closed. A run writes through one
 *   connection, which has the run's number in its application_name: every login can see it, and a pooler resets it when it passes
 *   the connection to another client.
 * - `hold` also locks the run's own row, which must still be open. A worker that takes the lease ends that run; so does a worker of
 *   version 0.1.0, which knows no lease. This is the fence: a run that lost its lease cannot write, at any time of any clock.
 * - Both the worker that takes the lease and the run that commits lock the row of the watermark before the row of the run.
 * - Operations on the connection run one at a time: transactions wait for each other and for a heartbeat, and no heartbeat is sent
 *   during a transaction, which has renewed the lease and keeps the row locked.
 */
import { ExportError } from '../../core/errors.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Statement } from '../connection/pipeline.ts';
import { APPLICATION_NAME, type Client } from '../connection/pool.ts';
import { HEAD_COLUMNS, NEWEST_ENTRY } from './ledger.ts';

const HEARTBEATS_PER_LEASE = 4;
const SESSION_NAME = `${APPLICATION_NAME} run `;

/** Checks first: `on conflict` alone waits for a transaction that has updated the row. */
const ADD_WATERMARK = `
  insert into audit.watermarks (organization, log)
  select $1, $2 where not exists (select from audit.watermarks where organization = $1 and log = $2) on conflict do nothing`;

/** Skips a locked row: a worker is beginning, committing or ending a run. $1 organization, $2 log, $3 this worker's own runs that ended. */
const LOCK_FREE_LEASE = `
  select from audit.watermarks w
  where organization = $1 and log = $2 and (
    lease_run_id is null or lease_until < clock_timestamp() or lease_run_id = any($3::bigint[]) or not exists (
      select from pg_stat_activity
      where pid = w.lease_pid and datname = current_database() and application_name = '${SESSION_NAME}' || w.lease_run_id
    )
  )
  for update skip locked`;

/** $1 organization, $2 log, $3 run, $4 milliseconds. Sets the name for the session, not for the transaction. */
const TAKE_LEASE = `
  update audit.watermarks set lease_run_id = $3, lease_until = clock_timestamp() + $4 * interval '1 ms',
    lease_pid = pg_backend_pid(), run_id = coalesce(run_id, $3)
  where organization = $1 and log = $2
  returning set_config('application_name', '${SESSION_NAME}' || $3::bigint, false)`;

/** $1 organization, $2 log, $3 run, $4 milliseconds. */
const RENEW_LEASE = `
  update audit.watermarks set lease_until = clock_timestamp() + $4 * interval '1 ms'
  where organization = $1 and log = $2 and lease_run_id = $3`;

/** Returns the head of the ledger, or no row if the lease is lost. Parameters as RENEW_LEASE. */
const HOLD_LEASE = `
  with renewed as (${RENEW_LEASE} returning organization, log), fence as (
    select from renewed join audit.runs using (organization, log) where run_id = $3 and outcome is null for update of runs
  )
  select ${HEAD_COLUMNS} from fence ${NEWEST_ENTRY}`;

const RELEASE_LEASE = `
  update audit.watermarks set lease_run_id = null, lease_until = null, lease_pid = null
  where organization = $1 and log = $2 and lease_run_id = $3`;

const HOLDER = `
  select lease_run_id as run_id, worker, started_at, lease_until from audit.watermarks w
  left join audit.runs r on r.run_id = lease_run_id where w.organization = $1 and w.log = $2`;

interface Holder {
  run_id: string | null;
  worker: string | null;
  started_at: Date | null;
  lease_until: Date | null;
}

/**
 * Locks the lease of a log until the transaction ends, if it is free; call `Lease.take` next. Throws `locked` with the name of the
 * holder, or `database-away` if that is one of `ownRuns`, which ended, but whose connection the server has not closed yet.
 */
export async function lockFreeLease(
  client: Client,
  { organization, log, ownRuns }: LogKey & { ownRuns: readonly string[] },
): Promise<void> {
  await client.query(ADD_WATERMARK, [organization, log]);
  const { rowCount } = await client.query(LOCK_FREE_LEASE, [organization, log, ownRuns]);
  if (rowCount !== 0) return;
  const holder = await readHolder(client, { organization, log });
  if (holder?.run_id && ownRuns.includes(holder.run_id)) {
    throw new ExportError(
      'database-away',
      `PostgreSQL has not yet ended a transaction of run ${holder.run_id}, whose connection this worker lost. It does so by ` +
        `${holder.lease_until?.toISOString()} at the latest. The next run continues where that one stopped.`,
    );
  }
  throw new ExportError('locked', `Another worker exports ${organization} (${describeHolder(holder)}).`);
}

/** The lease of one run, on the connection that the run writes through. */
export class Lease {
  private timer: NodeJS.Timeout | undefined;
  private isHeld = true;
  private isReleased = false;
  /** Transactions and heartbeats that have not ended. */
  private pending = 0;
  private last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly client: Client,
    private readonly key: LogKey,
    private readonly runId: string,
    private readonly leaseMs: number,
  ) {}

  /** Call in the transaction of `lockFreeLease`, after inserting the row of the run. */
  static async take(
    client: Client,
    { organization, log, runId, leaseMs }: LogKey & { runId: string; leaseMs: number },
  ): Promise<Lease> {
    const lease = new Lease(client, { organization, log }, runId, leaseMs);
    await client.query(TAKE_LEASE, lease.renewal);
    return lease;
  }

  /** Renews the lease while the source is slow. Call after the lease is committed. */
  startHeartbeat(): void {
    this.timer = setInterval(() => this.beat(), this.leaseMs / HEARTBEATS_PER_LEASE);
    this.timer.unref();
  }

  /** Calls `work` after all earlier calls have ended: one operation at a time on the connection. */
  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    this.pending += 1;
    const done = this.last.then(work);
    this.last = done.catch(() => {});
    try {
      return await done;
    } finally {
      this.pending -= 1;
    }
  }

  /** The first statement of each transaction: renews the lease. Returns a `HeadRow`, or no row if the lease is lost. */
  get hold(): Statement {
    return { name: 'hold-lease', text: HOLD_LEASE, values: this.renewal };
  }

  /** Releases the lease in the transaction that ends the run. */
  get end(): Statement {
    return { text: RELEASE_LEASE, values: [this.key.organization, this.key.log, this.runId] };
  }

  /** The error of a transaction whose `hold` returned no row. */
  async lostError(): Promise<ExportError> {
    const holder = await readHolder(this.client, this.key);
    const now = holder?.run_id && holder.run_id !== this.runId ? ` (${describeHolder(holder)})` : '';
    return new ExportError(
      'fenced',
      `Run ${this.runId} may not write to ${this.key.organization} any more: another worker took over${now}, because this one ` +
        'did not renew its lease within EXPORT_LEASE. Nothing was stored partially, and the other worker continues.',
    );
  }

  /** Releases the lease, unless the run's end did, and closes the connection. May be called twice. */
  async release(): Promise<void> {
    if (this.isReleased) return;
    this.isReleased = true;
    clearInterval(this.timer);
    // Not possible on a broken or busy connection: the lease then ends with the connection.
    if (this.isHeld && this.pending === 0) await this.client.query(this.end).catch(() => {});
    // Closed, not returned to the pool: its settings have changed.
    this.client.release(true);
  }

  /** Call after the run's end is committed, which released the lease. */
  markEnded(): void {
    this.isHeld = false;
    clearInterval(this.timer);
  }

  private beat(): void {
    if (this.pending > 0) return;
    // The next commit reports a broken connection.
    this.exclusively(() => this.client.query(RENEW_LEASE, this.renewal)).catch(() => {});
  }

  private get renewal(): unknown[] {
    return [this.key.organization, this.key.log, this.runId, this.leaseMs];
  }
}

async function readHolder(client: Client, { organization, log }: LogKey): Promise<Holder | undefined> {
  const { rows } = await client.query<Holder>(HOLDER, [organization, log]);
  return rows[0];
}

function describeHolder(holder: Holder | undefined): string {
  if (!holder?.run_id) return 'its run is beginning or ending';
  const { run_id: runId, worker, started_at: startedAt, lease_until: until } = holder;
  return `${worker ?? 'unknown'}, since ${startedAt?.toISOString()}, run ${runId}, with a lease until ${until?.toISOString()}`;
}
