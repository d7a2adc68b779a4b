/**
 * The store's side of one run: one transaction per commit. Each begins with a check of the log's lease.
 */
import type { ExportError } from '../../core/errors.ts';
import type { RejectedRow } from '../../core/event.ts';
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace, placeOfTicks } from '../../core/place.ts';
import type { Proof } from '../../core/prover.ts';
import type { Json } from '../../core/source.ts';
import type { SourceIdentity } from '../../core/source-identity.ts';
import {
  addCommitted,
  type Commit,
  type CommitResult,
  type RankStore,
  type RunCounters,
  type RunSession,
  rejectedOf,
  type Shown,
} from '../../core/store.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Plan, type PlanResults, type Statement, transact } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';
import { createCopyEncoder } from '../format/copy-format.ts';
import type { StoredSource } from '../read/source-identity.ts';
import type { StoredWatermark } from '../read/watermark.ts';
import { RowCounter } from './count-rows.ts';
import { cutCoverage, extendCoverage } from './coverage.ts';
import type { Lease } from './lease.ts';
import { upsertRejected } from './rejected.ts';
import { describeRun, endRun, moveWatermark, recordProof, updateRun, updateSourceTotal } from './run-rows.ts';
import {
  markFormerSource,
  rememberSource,
  replaceSource,
  type ShownSpan,
  type SliceCursor,
} from './source-identity.ts';
import { COUNT_SUSPICIONS, READ_SUSPICIONS } from './span-statements.ts';
import { NOTHING, SpanStore, type StoredShown } from './span-store.ts';
import {
  canCopy,
  copiedBatch,
  copyEvents,
  isRejectedCopy,
  type LedgerHead,
  restoreEvents,
} from './store-events.ts';

export type RunKind = 'run' | 'recheck' | 'backfill' | 'verify';
export type Outcome = 'succeeded' | 'failed' | 'interrupted';

export interface SessionFacts extends LogKey {
  client: Client;
  kind: RunKind;
  /** False: commits before the run's end do not wait for the disk. */
  isSynchronous: boolean;
  runId: string;
  /** `undefined` before the first commit, and if it contradicts the stored events. */
  watermark: StoredWatermark | undefined;
  /** Why the run must not continue from the watermark: an error message with the remedy. */
  watermarkFault: string | undefined;
  /** Why the watermark was reset: completes "the watermark was reset, because …". */
  watermarkReset: string | undefined;
  source: StoredSource;
  /** Ticks of the newest event that was stored when the run began. */
  newestStored: bigint | undefined;
  /** The head instant and the memory of the rank rule, as earlier runs left them. */
  head: bigint | undefined;
  ranks: Json;
  /** EXPORT_SETTLE. */
  settleMs: number;
  lease: Lease;
}

/** What a run proved, and what the next run's prover needs. */
export interface Conclusion {
  proof: Proof;
  ranks: Json;
}

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
  private readonly spans: SpanStore;
  private readonly counter: RowCounter;
  private newestStored: bigint | undefined;
  private ranks: Json;

  readonly watermarkFault: string | undefined;
  readonly watermarkReset: string | undefined;

  constructor(private readonly facts: SessionFacts) {
    const { client, organization, log, runId, head, settleMs } = facts;
    this.runId = runId;
    this.stored = facts.watermark;
    this.newestStored = facts.newestStored;
    this.ranks = facts.ranks;
    const { hasChanged } = facts.source;
    this.spans = new SpanStore(client, { organization, log, runId }, { head, settleMs, hasChanged });
    this.counter = new RowCounter(client, { organization, log });
    this.watermarkFault = facts.watermarkFault;
    this.watermarkReset = facts.watermarkReset;
    this.source = facts.source;
  }

  get known(): bigint | undefined {
    return this.stored?.ticks;
  }

  /** Whether events were stored when the run began. */
  get hasEvents(): boolean {
    return this.facts.newestStored !== undefined;
  }

  async commit(batch: Commit): Promise<CommitResult> {
    const stored = await this.store(batch);
    this.noteStored(batch, stored);
    return stored;
  }

  /** The store as a prover sees it. `counters` of the run are updated with each comparison. */
  rankStore(counters: RunCounters): RankStore {
    const { client, organization, log } = this.facts;
    const headNow = () => this.spans.head;
    const read = async <Row extends object>(text: string, values: unknown[]) =>
      (await this.reading(() => client.query<Row>(text, [organization, log, ...values]))).rows;
    return {
      ranks: this.ranks,
      get head() {
        return headNow();
      },
      compare: async (shown, options) => {
        const stored = await this.compare(shown, { ...options, counters });
        this.noteStored(shown, stored);
        return stored;
      },
      countRows: (after, places) => this.reading(() => this.counter.countRows(after, places)),
      readSuspicions: async (limit) => {
        const rows = await read<{ ticks: string }>(READ_SUSPICIONS, [lastOf(headNow()), limit]);
        return [...new Set(rows.map(({ ticks }) => placeOfTicks(BigInt(ticks))))];
      },
      countSuspicions: async () => {
        const rows = await read<{ events: string }>(COUNT_SUSPICIONS, [lastOf(headNow())]);
        return Number(rows[0]!.events);
      },
      hasEvents: async () => {
        const [events] = await this.reading(() =>
          this.counter.countRows(BEFORE_EVERY_PLACE, [AFTER_EVERY_PLACE]),
        );
        return events! > 0;
      },
    };
  }

  private noteStored(shown: Shown, stored: StoredShown): void {
    this.newestEntry = stored.entry ?? this.newestEntry;
    const isNew = stored.inserted + stored.shownAgain + stored.suspected + stored.newlyRejected.length > 0;
    if (isNew || stored.oldestChange !== undefined) this.counter.forget();
    for (const { event } of [shown.events.at(-1), shown.others.events.at(-1)].filter(
      (last) => last !== undefined,
    )) {
      if (this.newestStored === undefined || event.createdOnTicks > this.newestStored)
        this.newestStored = event.createdOnTicks;
    }
  }

  private async store(batch: Commit): Promise<StoredShown> {
    if (!canCopy(batch, this.newestStored)) return this.compareAndCommit(batch);
    try {
      return await this.copy(batch);
    } catch (error) {
      if (!isRejectedCopy((error as ExportError).cause)) throw error;
      return this.compareAndCommit(batch);
    }
  }

  private copy(batch: Commit): Promise<StoredShown> {
    const { events } = batch;
    const { organization, log, runId } = this.facts;
    return this.write(storing(events), {}, async (nextBatch) => {
      const newlyRejected = await this.spans.storeRejected(batch);
      const copied = copyEvents(events, {
        organization,
        log,
        runId,
        batch: nextBatch,
        encoder: this.encoder,
      });
      return {
        plan: { ...copied, ...this.closing(batch, copiedBatch(events)) },
        result: ({ ledger }) => {
          this.spans.moveHead(batch.oldest);
          const oldestChange = placeOfTicks(events[0]!.event.createdOnTicks);
          const insertedIds = events.map(({ eventId }) => eventId);
          return { ...NOTHING, ...copiedBatch(events, ledger), insertedIds, newlyRejected, oldestChange };
        },
      };
    });
  }

  private compareAndCommit(batch: Commit): Promise<StoredShown> {
    const reading = { stored: this.spans.digest(batch) };
    return this.write(storing(batch.events), reading, async (_nextBatch, read) => {
      const stored =
        this.spans.unchanged(batch, read.stored) ?? (await this.spans.store(batch, { known: this.known }));
      return { plan: this.closing(batch, stored), result: () => stored };
    });
  }

  /** Compares a response that moves neither watermark nor coverage. Writes nothing if it shows what is stored. */
  private async compare(
    shown: Shown,
    { ignored, counters }: { ignored?: ReadonlySet<string> | undefined; counters: RunCounters },
  ): Promise<StoredShown> {
    const { client } = this.facts;
    const { rows } = await this.reading(() => client.query(this.spans.digest(shown)));
    const same = this.spans.unchanged(shown, rows);
    if (same) return same;
    // Events that are read again only to compare them are not counted.
    const countOf = (result: StoredShown) =>
      addCommitted(counters, { rejected: result.newlyRejected }, { ...result, unchanged: 0 });
    const stored = await this.write(storing(shown.events), {}, async () => {
      const result = await this.spans.store(shown, { known: this.known, ignored });
      return { plan: { run: updateRun(this.runId, countOf(result), undefined) }, result: () => result };
    });
    // The meter may have counted requests meanwhile.
    Object.assign(counters, countOf(stored));
    return stored;
  }

  /** The statements that end the transaction of a commit. */
  private closing(batch: Commit, stored: Parameters<typeof addCommitted>[2]) {
    return {
      gap: batch.gap && cutCoverage(this.facts, batch.gap),
      coverage: this.extendCoverage(batch),
      watermark: this.movesWatermark
        ? moveWatermark(this.facts, batch)
        : updateSourceTotal(this.facts, batch.sourceTotal),
      run: updateRun(
        this.runId,
        addCommitted(batch.counters, { rejected: rejectedOf(batch) }, stored),
        batch,
      ),
    };
  }

  /** For `verify --repair`: restores the stored rows of these events to the source's values. */
  async restore({
    events,
    rejected,
  }: {
    events: Commit['events'];
    rejected: readonly RejectedRow[];
  }): Promise<{ inserted: number; updated: number }> {
    const { entry, ...counts } = await this.write('storing repaired events', {}, async () => {
      const { client, organization, log } = this.facts;
      const options = { organization, log, runId: this.runId, known: this.known };
      const { inserted, updated, entry } = await restoreEvents(client, events, options);
      await upsertRejected(client, { organization, log, runId: this.runId, rejected });
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
    /** `undefined`: the run did not count. */
    conclusion?: Conclusion | undefined;
  }): Promise<void> {
    const { conclusion } = end;
    const error = end.error === null ? null : storableText(end.error);
    await this.writePlan('storing the outcome of the run', {
      // Flushes all earlier commits to disk as well, so that a recorded outcome is durable.
      toDisk: this.facts.isSynchronous ? undefined : { text: 'set local synchronous_commit = on' },
      run: updateRun(this.runId, end.counters, undefined),
      end: endRun(this.runId, { ...end, error }, conclusion?.proof),
      proof: conclusion && recordProof(this.facts, { ...conclusion, head: this.spans.head }),
      coverage: conclusion && this.coverProven(conclusion.proof),
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
    this.ranks = null;
    this.spans.forget();
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

  /** A query that needs no lease, on the run's connection. */
  private async reading<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.facts.lease.exclusively(work);
    } catch (error) {
      throw translateDatabaseError(error, 'comparing the source with what is stored');
    }
  }

  private extendCoverage({ covered }: Commit): Statement | undefined {
    return covered && extendCoverage(this.facts, { ...covered, isToEnd: false });
  }

  /** The coverage that a count has proven: from the head of the source's list to when its end was requested. */
  private coverProven(proof: Proof): Statement | undefined {
    if (proof.state !== 'complete') return undefined;
    const { from, to, provenAt } = proof;
    return extendCoverage(this.facts, {
      from: afterPlace(from),
      to,
      isFromHead: true,
      isToEnd: true,
      provenAt,
    });
  }
}

const BEFORE_EVERY_PLACE = -(10n ** 18n);
const AFTER_EVERY_PLACE = 10n ** 19n;

/** The last ticks of a place. */
function lastOf(place: bigint | undefined): string | null {
  return place === undefined ? null : (afterPlace(place) - 1n).toString();
}

function storing(events: readonly unknown[]): string {
  return `storing ${events.length} events`;
}
