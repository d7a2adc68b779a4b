/**
 * The store's side of one run: one transaction a commit, each of which begins with holding the organization's lease.
 */
import type { ExportError } from '../../core/errors.ts';
import type { RejectedRow } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Json } from '../../core/source.ts';
import { knownUntil } from '../../core/start-point.ts';
import {
  addCommitted,
  type Commit,
  type CommitResult,
  type RunCounters,
  type RunSession,
} from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Plan, type PlanResults, type Statement, transact } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';
import { createCopyEncoder } from '../format/copy-format.ts';
import type { StoredWatermark } from '../read/watermark.ts';
import { extendCoverage } from './coverage.ts';
import type { Lease } from './lease.ts';
import { upsertRejected } from './rejected.ts';
import { DESCRIBE_RANGE, END_RUN, MOVE_WATERMARK, NOTE_SOURCE_TOTAL, UPDATE_RUN } from './statements.ts';
import {
  copiedBatch,
  copyEvents,
  isRefusedCopy,
  type LedgerHead,
  mayCopy,
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
  /** Ticks of the newest event that was stored when the run began. */
  newestStored: bigint | undefined;
  lease: Lease;
}

/** What came of a commit, with its entry in the ledger. */
type Stored = CommitResult & Pick<StoredBatch, 'entry'>;

/** Makes the plan that ends a transaction, of the ledger's next batch and of what was read with the lease. */
type Work<Read extends Plan, Last extends Plan, T> = (
  nextBatch: string,
  read: PlanResults<Read>,
) => Promise<{ plan: Last; result: (results: PlanResults<Last>) => T }>;

/** A run under way. Each method throws `ExportError`: `fenced`, `database-away`, `database` or `configuration`. */
export class PostgresSession implements RunSession {
  readonly runId: string;
  readonly stored: StoredWatermark | undefined;
  /** The newest entry that this run appended to the ledger. */
  newestEntry: LedgerHead | undefined;
  private movesWatermark = true;
  private readonly encoder = createCopyEncoder();

  constructor(private readonly facts: SessionFacts) {
    this.runId = facts.runId;
    this.stored = facts.watermark;
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
    if (!mayCopy(batch.events, this.facts.newestStored)) return this.upsert(batch);
    try {
      return await this.copy(batch);
    } catch (error) {
      if (!isRefusedCopy((error as ExportError).cause)) throw error;
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

  /** What is stored in one transaction with the rows. */
  private closing(batch: Commit, stored: StoredBatch) {
    return {
      coverage: this.extendCoverage(batch),
      watermark: this.moveWatermark(batch),
      run: this.updateRun(addCommitted(batch.counters, batch, stored), batch),
    };
  }

  /** For `verify --repair`: whatever is stored under the id of an event, it is again what the source has. */
  async restore({
    events,
    rejected,
  }: Pick<Commit, 'events' | 'rejected'>): Promise<{ inserted: number; updated: number }> {
    const { entry, ...counts } = await this.write('storing what the source has', {}, async () => {
      const { client, organization, log } = this.facts;
      const options = { organization, log, runId: this.runId, known: this.known };
      const { inserted, updated, entry } = await restoreEvents(client, events, options);
      await this.keepRejected(rejected);
      return { plan: {}, result: () => ({ inserted, updated, entry }) };
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
    const error = end.error === null ? null : storableText(end.error);
    await this.writePlan('storing how the run ended', {
      // Takes all commits before it to the disk as well: what a run says it did, it did.
      toDisk: this.facts.isSynchronous ? undefined : { text: 'set local synchronous_commit = on' },
      run: this.updateRun(end.counters, undefined),
      end: { text: END_RUN, values: [this.runId, end.outcome, error, end.warnings] },
      lease: this.facts.lease.end,
    });
    this.facts.lease.noteEnd();
  }

  /**
   * Records the requested range of the run; call it before the first commit. Without `movesWatermark` its rows do not reach on from the
   * watermark, and its commits leave that where it is.
   */
  async describeRange(range: {
    from: bigint | undefined;
    to: bigint | undefined;
    movesWatermark?: boolean;
  }): Promise<void> {
    const { from, to, movesWatermark = true } = range;
    this.movesWatermark = movesWatermark;
    const values = [
      this.runId,
      from?.toString(),
      to?.toString(),
      from === undefined ? null : formatMicroseconds(from),
      to === undefined ? null : formatMicroseconds(to),
    ];
    await this.writePlan('describing the run', { run: { text: DESCRIBE_RANGE, values } });
  }

  release(): Promise<void> {
    return this.facts.lease.release();
  }

  private writePlan(doing: string, plan: Plan): Promise<void> {
    return this.write(doing, {}, async () => ({ plan, result: () => {} }));
  }

  /** One transaction after another: a run that is ended from outside may still have one under way. */
  private async write<Read extends Plan, Last extends Plan, T>(
    doing: string,
    reading: Read,
    work: Work<Read, Last, T>,
  ): Promise<T> {
    const { client, lease } = this.facts;
    const transaction = () =>
      transact(client, { lease: lease.hold, ...reading }, async (read) => {
        const held = read.lease[0];
        if (!held) throw await lease.lost();
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
    // A run comes every few minutes, and often finds what the one before had found.
    const renewAfterMs = kind === 'run' ? 3_600_000 : 0;
    return extendCoverage({ organization, log, runId, renewAfterMs }, range);
  }

  private moveWatermark(batch: Commit): Statement {
    const { organization, log } = this.facts;
    if (!this.movesWatermark)
      return { text: NOTE_SOURCE_TOTAL, values: [organization, batch.sourceTotal, log] };
    const newest = batch.events.at(-1)?.event;
    const values = [
      organization,
      newest?.createdOnTicks.toString() ?? null,
      newest?.createdOnRaw ?? null,
      newest ? formatMicroseconds(newest.createdOnTicks) : null,
      batch.beganAt,
      jsonOf(batch.resume),
      batch.sourceTotal,
      batch.frontier.toString(),
      batch.isEnd,
      this.runId,
      log,
    ];
    return { name: 'move-watermark', text: MOVE_WATERMARK, values };
  }

  private updateRun(counters: RunCounters, reached: Commit | undefined): Statement {
    const values = [
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
      reached ? jsonOf(reached.resume) : null,
      reached?.sourceTotal ?? null,
    ];
    return { name: 'update-run', text: UPDATE_RUN, values };
  }
}

/** As a parameter; null is no value. */
function jsonOf(value: Json): string | null {
  return value === null ? null : JSON.stringify(value);
}

function storing(events: readonly unknown[]): string {
  return `storing ${events.length} events`;
}
