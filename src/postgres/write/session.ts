/**
 * The store's side of one run: one transaction per commit. Each begins with a check of the log's lease.
 */
import type { ExportError } from '../../core/errors.ts';
import type { RejectedRow } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { SourceIdentity } from '../../core/source-identity.ts';
import { knownUntil } from '../../core/start-point.ts';
import {
  addCommitted,
  type Commit,
  type CommitResult,
  type RunCounters,
  type RunSession,
} from '../../core/store.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Plan, type PlanResults, type Statement, transact } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';
import { createCopyEncoder } from '../format/copy-format.ts';
import type { StoredSource } from '../read/source-identity.ts';
import type { StoredWatermark } from '../read/watermark.ts';
import { extendCoverage } from './coverage.ts';
import type { Lease } from './lease.ts';
import { upsertRejected } from './rejected.ts';
import { describeRun, endRun, moveWatermark, updateRun, updateSourceTotal } from './run-rows.ts';
import {
  markFormerSource,
  rememberSource,
  replaceSource,
  type ShownSpan,
  type SliceCursor,
} from './source-identity.ts';
import {
  canCopy,
  copiedBatch,
  copyEvents,
  isRejectedCopy,
  type LedgerHead,
  readStored,
  restoreEvents,
  type StoredBatch,
  upsertEvents,
} from './store-events.ts';

export type RunKind = 'run' | 'recheck' | 'backfill' | 'verify';
export type Outcome = 'succeeded' | 'failed' | 'interrupted';

export interface SessionFacts extends LogKey {
  client: Client;
  kind: RunKind;
  /** False: commits before the run's end do not wait for the disk. */
  isSynchronous: boolean;
  runId: string;
  watermark: StoredWatermark | undefined;
  source: StoredSource;
  /** Ticks of the newest event that was stored when the run began. */
  newestStored: bigint | undefined;
  lease: Lease;
}

/** The result of a commit, with its entry in the ledger. */
type Stored = CommitResult & Pick<StoredBatch, 'entry'>;

/** Builds the plan that ends a transaction, from the ledger's next batch and the rows read with the lease. */
type Work<Read extends Plan, Last extends Plan, T> = (
  nextBatch: string,
  read: PlanResults<Read>,
) => Promise<{ plan: Last; result: (results: PlanResults<Last>) => T }>;

/** A run in progress. Each method throws `ExportError`: `fenced`, `database-away`, `database` or `configuration`. */
export class PostgresSession implements RunSession {
  readonly runId: string;
  /** The watermark at the start of the run. */
  stored: StoredWatermark | undefined;
  /** The source of the stored events. */
  readonly source: StoredSource;
  /** The newest entry that this run appended to the ledger. */
  newestEntry: LedgerHead | undefined;
  private movesWatermark = true;
  private readonly encoder = createCopyEncoder();

  constructor(private readonly facts: SessionFacts) {
    this.runId = facts.runId;
    this.stored = facts.watermark;
    this.source = facts.source;
  }

  get known(): bigint | undefined {
    return this.stored && knownUntil(this.stored);
  }

  async commit(batch: Commit): Promise<CommitResult> {
    const { entry, ...result } = await this.store(batch);
    this.newestEntry = entry ?? this.newestEntry;
    return result;
  }

  private async store(batch: Commit): Promise<Stored> {
    if (!canCopy(batch.events, this.facts.newestStored)) return this.upsert(batch);
    try {
      return await this.copy(batch);
    } catch (error) {
      if (!isRejectedCopy((error as ExportError).cause)) throw error;
      return this.upsert(batch);
    }
  }

  private copy(batch: Commit): Promise<Stored> {
    const { events } = batch;
    const { organization, log, runId } = this.facts;
    return this.write(storing(events), {}, async (nextBatch) => {
      const newlyRejected = await this.keepRejected(batch.rejected);
      const copied = copyEvents(events, {
        organization,
        log,
        runId,
        batch: nextBatch,
        encoder: this.encoder,
      });
      return {
        plan: { ...copied, ...this.closing(batch, copiedBatch(events)) },
        result: ({ ledger }) => ({ ...copiedBatch(events, ledger), newlyRejected }),
      };
    });
  }

  private upsert(batch: Commit): Promise<Stored> {
    const { events } = batch;
    const { client, organization, log, runId } = this.facts;
    const reading = { stored: readStored({ organization, log }, events) };
    return this.write(storing(events), reading, async (_nextBatch, read) => {
      const stored = await upsertEvents(client, events, read.stored, {
        organization,
        log,
        runId,
        known: this.known,
      });
      const newlyRejected = await this.keepRejected(batch.rejected);
      return { plan: this.closing(batch, stored), result: () => ({ ...stored, newlyRejected }) };
    });
  }

  /** The statements that end the transaction of a commit. */
  private closing(batch: Commit, stored: StoredBatch) {
    return {
      coverage: this.extendCoverage(batch),
      watermark: this.movesWatermark
        ? moveWatermark(this.facts, batch)
        : updateSourceTotal(this.facts, batch.sourceTotal),
      run: updateRun(this.runId, addCommitted(batch.counters, batch, stored), batch),
    };
  }

  /** For `verify --repair`: restores the stored rows of these events to the source's values. */
  async restore({
    events,
    rejected,
  }: Pick<Commit, 'events' | 'rejected'>): Promise<{ inserted: number; updated: number }> {
    const { entry, ...counts } = await this.write('storing repaired events', {}, async () => {
      const { client, organization, log } = this.facts;
      const options = { organization, log, runId: this.runId, known: this.known };
      const { inserted, updated, entry } = await restoreEvents(client, events, options);
      await this.keepRejected(rejected);
      return { plan: {}, result: () => ({ inserted, updated, entry }) };
    });
    this.newestEntry = entry ?? this.newestEntry;
    return counts;
  }

  /** Stores the run's outcome and its final counters, and releases the lease. */
  async finish(end: {
    outcome: Outcome;
    error: string | null;
    warnings: string[];
    counters: RunCounters;
  }): Promise<void> {
    const error = end.error === null ? null : storableText(end.error);
    await this.writePlan('storing the outcome of the run', {
      // Flushes all earlier commits to disk as well, so that a recorded outcome is durable.
      toDisk: this.facts.isSynchronous ? undefined : { text: 'set local synchronous_commit = on' },
      run: updateRun(this.runId, end.counters, undefined),
      end: endRun(this.runId, { ...end, error }),
      lease: this.facts.lease.end,
    });
    this.facts.lease.markEnded();
  }

  /**
   * Stores the requested range of the run. Call before the first commit. If `movesWatermark` is false, the commits leave the
   * watermark unchanged: the rows do not extend the exported range.
   */
  async describeRange(range: {
    from: bigint | undefined;
    to: bigint | undefined;
    movesWatermark?: boolean;
  }): Promise<void> {
    this.movesWatermark = range.movesWatermark ?? true;
    await this.writePlan('describing the run', { run: describeRun(this.runId, range) });
  }

  /** Stores where the events come from. Call before the first commit. */
  async rememberSource(identity: SourceIdentity): Promise<void> {
    await this.writePlan('storing the address of the source', {
      source: rememberSource(this.facts, identity),
    });
  }

  /** Marks the stored events of a span that another source does not show. Returns how many. May be repeated. */
  async markFormerSource(span: ShownSpan, onProgress: () => void): Promise<number> {
    let marked = 0;
    for (let cursor: SliceCursor | undefined; ; ) {
      const plan = markFormerSource({ ...this.facts, runId: this.runId }, span, cursor);
      const last = await this.write('marking the events of the former source', {}, async () => ({
        plan,
        result: ({ slice }) => slice[0],
      }));
      onProgress();
      if (!last) return marked;
      marked += Number(last.marked);
      cursor = [last.created_on, last.event_id];
    }
  }

  /** Replaces the source: forgets the watermark and what was proven. The events stay. Call before the first commit. */
  async replaceSource(identity: SourceIdentity): Promise<void> {
    await this.writePlan('accepting another source', replaceSource(this.facts, identity));
    this.stored = undefined;
  }

  release(): Promise<void> {
    return this.facts.lease.release();
  }

  private writePlan(doing: string, plan: Plan): Promise<void> {
    return this.write(doing, {}, async () => ({ plan, result: () => {} }));
  }

  /** Transactions run one at a time: a run that is stopped may still have one in progress. */
  private async write<Read extends Plan, Last extends Plan, T>(
    doing: string,
    reading: Read,
    work: Work<Read, Last, T>,
  ): Promise<T> {
    const { client, lease } = this.facts;
    const transaction = () =>
      transact(client, { lease: lease.hold, ...reading }, async (read) => {
        const held = read.lease[0];
        if (!held) throw await lease.lostError();
        return work(held.next_batch, read);
      });
    try {
      return await lease.exclusively(transaction);
    } catch (error) {
      throw translateDatabaseError(error, doing);
    }
  }

  private keepRejected(rejected: RejectedRow[]): Promise<RejectedRow[]> {
    const { client, organization, log } = this.facts;
    return upsertRejected(client, { organization, log, runId: this.runId, rejected });
  }

  private extendCoverage({ covered, beganAt }: Commit): Statement | undefined {
    if (!covered) return undefined;
    const { organization, log, kind, runId } = this.facts;
    const range = { ...covered, isToEnd: false, readAt: beganAt };
    // A run starts every few minutes, and often finds the same range as the previous one.
    const renewAfterMs = kind === 'run' ? 3_600_000 : 0;
    return extendCoverage({ organization, log, runId, renewAfterMs }, range);
  }
}

function storing(events: readonly unknown[]): string {
  return `storing ${events.length} events`;
}
