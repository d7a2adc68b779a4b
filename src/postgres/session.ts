/**
 * The store's side of one run: the organization's lock, the fence, and one transaction a commit.
 *
 * The lock is a session advisory lock on the connection that also writes, so that losing the connection loses both.
 * The server ends a connection that is silent for the lease, and the lock with it: a worker that is stopped or cut off
 * frees the organization. The fence is the run's own row in `audit.runs`: whoever takes the lock ends the run that was
 * open, and every commit begins by holding its row, if it is still open.
 */
import { ExportError } from '../core/errors.ts';
import type { RejectedRow } from '../core/event.ts';
import {
  addBatch,
  type Batch,
  type CommitResult,
  type RunCounters,
  type RunSession,
} from '../core/export.ts';
import { knownUntil } from '../core/plan.ts';
import { formatMicroseconds } from '../core/ticks.ts';
import { storableText } from './columns.ts';
import { createCopyEncoder } from './copy-format.ts';
import { extendCoverage } from './coverage.ts';
import { translateDatabaseError } from './errors.ts';
import { type Client, withTransaction } from './pool.ts';
import { upsertRejected } from './rejected.ts';
import { END_RUN, HOLD_FENCE, MOVE_WATERMARK, NOTE_SOURCE_TOTAL, UPDATE_RUN } from './sql.ts';
import {
  copyEvents,
  isRefusedCopy,
  type LedgerHead,
  mayCopy,
  restoreEvents,
  type StoredBatch,
  upsertEvents,
} from './store-events.ts';

export interface StoredWatermark {
  ticks: bigint;
  /** When the run began that last read beyond the watermark. */
  readAt: Date;
  /** Offset behind the newest committed event: a hint. */
  skip: number;
}

export type RunKind = 'run' | 'recheck' | 'backfill' | 'verify';
export type Outcome = 'succeeded' | 'failed' | 'interrupted';

export interface SessionFacts {
  client: Client;
  organization: string;
  kind: RunKind;
  /** False: commits before the run's end do not wait for the disk. */
  isSynchronous: boolean;
  runId: string;
  watermark: StoredWatermark | undefined;
  /** Ticks of the newest event that was stored when the run began. */
  newestStored: bigint | undefined;
  /** Set while a statement is under way: the heartbeat need not be sent, and must not come between. */
  lease: { isBusy: boolean };
  /** Stops the heartbeat and gives the connection, and with it the lock, back. */
  release: () => Promise<void>;
}

/** A run under way. Each method throws `ExportError`: `fenced`, `database-away`, `database` or `configuration`. */
export class PostgresSession implements RunSession {
  readonly runId: string;
  readonly stored: StoredWatermark | undefined;
  /** Whether the run's rows reach on from the watermark, so that its commits may move it. */
  movesWatermark = true;
  /** The newest entry that this run appended to the ledger. */
  newestEntry: LedgerHead | undefined;
  private lastWrite: Promise<unknown> = Promise.resolve();
  private readonly encoder = createCopyEncoder();

  constructor(private readonly facts: SessionFacts) {
    this.runId = facts.runId;
    this.stored = facts.watermark;
  }

  get known(): bigint | undefined {
    return this.stored && knownUntil(this.stored);
  }

  async commit(batch: Batch): Promise<CommitResult> {
    const { client, organization, runId, newestStored } = this.facts;
    const { events } = batch;
    if (mayCopy(events, newestStored)) {
      const copy = (nextBatch: string) =>
        copyEvents(client, events, { organization, runId, batch: nextBatch, encoder: this.encoder });
      try {
        return await this.commitStored(batch, copy);
      } catch (error) {
        if (!isRefusedCopy((error as ExportError).cause)) throw error;
      }
    }
    return this.commitStored(batch, () =>
      upsertEvents(client, events, { organization, runId, known: this.known }),
    );
  }

  private async commitStored(
    batch: Batch,
    store: (nextBatch: string) => Promise<StoredBatch>,
  ): Promise<CommitResult> {
    const { entry, ...result } = await this.write(
      `storing ${batch.events.length} events`,
      async (nextBatch) => {
        const stored = await store(nextBatch);
        const newlyRejected = await this.keepAside(batch.rejected);
        await this.extendCoverage(batch);
        await this.moveWatermark(batch);
        await this.updateRun(addBatch(batch.counters, batch, stored), batch);
        return { ...stored, newlyRejected };
      },
    );
    this.newestEntry = entry ?? this.newestEntry;
    return result;
  }

  /** For `verify --repair`: whatever is stored under the id of an event, it is again what the source has. */
  async restore({
    events,
    rejected,
  }: Pick<Batch, 'events' | 'rejected'>): Promise<{ inserted: number; updated: number }> {
    const { entry, ...counts } = await this.write('storing what the source has', async () => {
      const { client, organization } = this.facts;
      const options = { organization, runId: this.runId, known: this.known };
      const { inserted, updated, entry } = await restoreEvents(client, events, options);
      await this.keepAside(rejected);
      return { inserted, updated, entry };
    });
    this.newestEntry = entry ?? this.newestEntry;
    return counts;
  }

  /** Stores how the run ended, with its last counters. */
  async finish(end: {
    outcome: Outcome;
    error: string | null;
    warnings: string[];
    counters: RunCounters;
  }): Promise<void> {
    await this.write('storing how the run ended', async () => {
      // Takes all commits before it to the disk as well: what a run says it did, it did.
      if (!this.facts.isSynchronous) await this.facts.client.query('set local synchronous_commit = on');
      await this.updateRun(end.counters, undefined);
      const error = end.error === null ? null : storableText(end.error);
      await this.facts.client.query(END_RUN, [this.runId, end.outcome, error, end.warnings]);
    });
  }

  /** Notes what range the run was asked for; before the first commit. */
  async describeRange(range: { from: bigint | undefined; to: bigint | undefined }): Promise<void> {
    const { from, to } = range;
    await this.write('describing the run', () =>
      this.facts.client.query(
        'update audit.runs set from_ticks = $2, to_ticks = $3, from_at = $4, to_at = $5 where run_id = $1',
        [
          this.runId,
          from?.toString(),
          to?.toString(),
          from === undefined ? null : formatMicroseconds(from),
          to === undefined ? null : formatMicroseconds(to),
        ],
      ),
    );
  }

  release(): Promise<void> {
    return this.facts.release();
  }

  /** One transaction after another: a run that is ended from outside may still have one under way. */
  private write<T>(doing: string, work: (nextBatch: string) => Promise<T>): Promise<T> {
    const written = this.lastWrite.then(() => this.writeNow(doing, work));
    this.lastWrite = written.catch(() => {});
    return written;
  }

  private async writeNow<T>(doing: string, work: (nextBatch: string) => Promise<T>): Promise<T> {
    const { client, organization, lease } = this.facts;
    lease.isBusy = true;
    try {
      return await withTransaction(client, async () => {
        const { rows } = await client.query<{ next_batch: string }>({
          name: 'hold-fence',
          text: HOLD_FENCE,
          values: [organization, this.runId],
        });
        if (!rows[0]) throw fenced(organization, this.runId);
        return work(rows[0].next_batch);
      });
    } catch (error) {
      throw translateDatabaseError(error, doing);
    } finally {
      lease.isBusy = false;
    }
  }

  private keepAside(rejected: RejectedRow[]): Promise<RejectedRow[]> {
    const { client, organization } = this.facts;
    return upsertRejected(client, { organization, runId: this.runId, rejected });
  }

  private async extendCoverage({ covered, beganAt }: Batch): Promise<void> {
    if (!covered) return;
    const { client, organization, kind } = this.facts;
    const range = { ...covered, isToEnd: false, readAt: beganAt };
    // A run comes every few minutes, and often finds what the one before had found.
    const renewAfterMs = kind === 'run' ? 3_600_000 : 0;
    await extendCoverage(client, { organization, runId: this.runId, renewAfterMs }, range);
  }

  private async moveWatermark(batch: Batch): Promise<void> {
    const { organization, client } = this.facts;
    if (!this.movesWatermark) {
      await client.query(NOTE_SOURCE_TOTAL, [organization, batch.totalCount]);
      return;
    }
    const newest = batch.events.at(-1)?.event;
    await client.query({
      name: 'move-watermark',
      text: MOVE_WATERMARK,
      values: [
        organization,
        newest?.createdOnTicks.toString() ?? null,
        newest?.createdOnRaw ?? null,
        newest ? formatMicroseconds(newest.createdOnTicks) : null,
        batch.beganAt,
        batch.skip,
        batch.totalCount,
        batch.frontier.toString(),
        batch.isEnd,
        this.runId,
      ],
    });
  }

  private async updateRun(counters: RunCounters, reached: Batch | undefined): Promise<void> {
    await this.facts.client.query({
      name: 'update-run',
      text: UPDATE_RUN,
      values: [
        this.runId,
        counters.pages,
        counters.requests,
        counters.retries,
        counters.rowsRead,
        counters.inserted,
        counters.updated,
        counters.unchanged,
        counters.rejected,
        counters.late,
        reached?.frontier.toString() ?? null,
        reached?.skip ?? null,
        reached?.totalCount ?? null,
      ],
    });
  }
}

function fenced(organization: string, runId: string): ExportError {
  return new ExportError(
    'fenced',
    `Run ${runId} may not write to ${organization} any more: another worker took over, because this one was silent for ` +
      'too long. Nothing was half stored, and the other worker goes on.',
  );
}
