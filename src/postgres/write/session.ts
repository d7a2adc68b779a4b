/**
 * The store's side of one run: one transaction per commit. Each begins with a check of the log's lease.
 */
import type { ExportError } from '../../core/errors.ts';
import type { RejectedRow } from '../../core/event.ts';
import type { Superseded } from '../../core/judge.ts';
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LedgerSigner } from '../../core/ledger/sign.ts';
import type { LogKey } from '../../core/log-key.ts';
import { charactersOf } from '../../core/pending-commit.ts';
import { placeOfTicks } from '../../core/place.ts';
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
import { type Plan, pipeline, type ResultRows, type Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { type CopyEncoder, createCopyEncoder, type EncodedRows } from '../format/copy-format.ts';
import type { KeyedRecord } from '../format/list-records.ts';
import type { StoredSource } from '../read/source-identity.ts';
import type { StoredWatermark } from '../read/watermark.ts';
import { RowCounter } from './count-rows.ts';
import { cutCoverage, extendCoverage, isNewestExtended } from './coverage.ts';
import type { Lease } from './lease.ts';
import { draftRecords, LedgerWriter, type NotedEntry } from './ledger.ts';
import type { EventMonths } from './partitions.ts';
import { createRankStore } from './rank-store.ts';
import { upsertRejected } from './rejected.ts';
import { finishRun, type RunEnd } from './run-end.ts';
import { describeRun, moveWatermark, updateRun, updateSourceTotal } from './run-rows.ts';
import {
  markFormerSource,
  rememberSource,
  replaceSource,
  type ShownSpan,
  type SliceCursor,
} from './source-identity.ts';
import { NOTHING, SpanStore, type StoredShown } from './span-store.ts';
import type { StateRecorder } from './state.ts';
import { canCopy, copyEvents, isRejectedCopy, restoreEvents } from './store-events.ts';
import { type Purpose, RunTransactions } from './transactions.ts';

const MAX_PREPARED_CHARACTERS = 2 * 1024 * 1024;

export type RunKind = 'run' | 'recheck' | 'backfill' | 'verify';

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
  months: EventMonths;
  signer: LedgerSigner;
  state: StateRecorder;
}

/** A run in progress. Each method throws `ExportError`: `fenced`, `database-away`, `database` or `configuration`. */
export class PostgresSession implements RunSession {
  readonly runId: string;
  /** The watermark at the start of the run. */
  stored: StoredWatermark | undefined;
  /** The source of the stored events. */
  readonly source: StoredSource;
  private readonly ledger: LedgerWriter;
  private readonly transactions: RunTransactions;
  private movesWatermark = true;
  private readonly encoder: CopyEncoder;
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
    this.ledger = new LedgerWriter(client, { organization, log, runId }, facts.signer);
    this.transactions = new RunTransactions(client, facts.lease, this.ledger, facts.state);
    this.spans = new SpanStore(client, { organization, log, runId }, { head, settleMs, hasChanged });
    this.counter = new RowCounter(client, { organization, log });
    this.encoder = createCopyEncoder({ organization, log, runId });
    this.watermarkFault = facts.watermarkFault;
    this.watermarkReset = facts.watermarkReset;
    this.source = facts.source;
  }

  get known(): bigint | undefined {
    return this.stored?.ticks;
  }

  /** The newest entry that this run appended to the ledger. */
  get newestEntry(): NotedEntry | undefined {
    return this.ledger.newest;
  }

  /** Whether events were stored when the run began. */
  get hasEvents(): boolean {
    return this.facts.newestStored !== undefined;
  }

  /** Encodes the events for COPY. Events with long details take more memory than the time of encoding them is worth. */
  prepare(shown: Shown): EncodedRows | undefined {
    if (!canCopy(shown, this.newestStored) || charactersOf(shown.events) > MAX_PREPARED_CHARACTERS)
      return undefined;
    return this.encoder.encodeRows(shown.events);
  }

  async commit(batch: Commit): Promise<CommitResult> {
    const stored = await this.store(batch);
    this.noteStored(batch, stored);
    return stored;
  }

  /** The store as a prover sees it. `counters` of the run are updated with each comparison. */
  rankStore(counters: RunCounters): RankStore {
    return createRankStore({
      ...{ client: this.facts.client, organization: this.facts.organization, log: this.facts.log },
      ...{ ranks: this.ranks, known: this.known, spans: this.spans },
      ...{ counter: this.counter, transactions: this.transactions },
      compare: async (shown, options) => {
        const stored = await this.compare(shown, { ...options, counters });
        this.noteStored(shown, stored);
        return stored;
      },
    });
  }

  private noteStored(shown: Shown, stored: StoredShown): void {
    const { inserted, superseded, shownAgain, suspected, newlyRejected } = stored;
    const isNew = inserted + superseded + shownAgain + suspected + newlyRejected.length > 0;
    if (isNew || stored.oldestChange !== undefined) this.counter.forget();
    for (const { event } of [shown.events.at(-1), shown.others.events.at(-1)].filter(
      (last) => last !== undefined,
    )) {
      if (this.newestStored === undefined || event.createdOnTicks > this.newestStored)
        this.newestStored = event.createdOnTicks;
    }
  }

  /** Storing events: before it, the partitions that they need are created, if one is missing. */
  private storing({ events, others }: Pick<Shown, 'events'> & Partial<Pick<Shown, 'others'>>): Purpose {
    const { months } = this.facts;
    const all = others ? [...events, ...others.events] : events;
    const prepare = months.lacks(all) ? () => months.createFor(all) : undefined;
    return { doing: `storing ${events.length} events`, prepare };
  }

  private async store(batch: Commit): Promise<StoredShown> {
    return (await this.tryCopy(batch)) ?? (await this.compareAndCommit(batch));
  }

  /** `undefined` if the events must be compared with what is stored, because some are older, or PostgreSQL cannot copy one. */
  private async tryCopy(batch: Commit): Promise<StoredShown | undefined> {
    const prepared = batch.prepared as readonly EncodedRows[] | undefined;
    if (!canCopy(batch, this.newestStored)) {
      this.encoder.release(prepared ?? []);
      return undefined;
    }
    const isWhole = rowsIn(prepared ?? []) === batch.events.length;
    const rows = prepared && isWhole ? prepared : [this.encoder.encodeRows(batch.events)];
    try {
      return await this.copy(batch, rows);
    } catch (error) {
      if (!isRejectedCopy((error as ExportError).cause)) throw error;
      return undefined;
    } finally {
      this.encoder.release(rows);
    }
  }

  private copy(batch: Commit, rows: readonly EncodedRows[]): Promise<StoredShown> {
    const { events } = batch;
    const { organization, log, runId } = this.facts;
    return this.transactions.write(this.storing(batch), this.stateFor(batch), async (head, { state }) => {
      const rejected = await this.spans.storeRejected(batch);
      const { copy, count, stored } = copyEvents(rows, {
        ...{ organization, log, runId, head },
        encoder: this.encoder,
      });
      const closing = await this.closing(batch, stored, state);
      return {
        plan: { copy, count, ...closing.plan },
        drafts: [...stored.drafts, ...draftRecords('rejected', rejected.records), ...closing.drafts],
        result: () => {
          this.spans.moveHead(batch.oldest);
          const oldestChange = placeOfTicks(events[0]!.event.createdOnTicks);
          const insertedIds = events.map(({ eventId }) => eventId);
          return { ...NOTHING, ...stored, insertedIds, newlyRejected: rejected.rows, oldestChange };
        },
      };
    });
  }

  private compareAndCommit(batch: Commit): Promise<StoredShown> {
    const reading = { ...this.stateFor(batch), stored: this.spans.digest(batch) };
    return this.transactions.write(this.storing(batch), reading, async (head, read) => {
      const stored =
        this.spans.unchanged(batch, read.stored) ??
        (await this.spans.store(batch, { head, known: this.known }));
      const closing = await this.closing(batch, stored, read.state);
      return { plan: closing.plan, drafts: [...stored.drafts, ...closing.drafts], result: () => stored };
    });
  }

  /** Compares a response that moves neither watermark nor coverage. Writes nothing if it shows what is stored. */
  private async compare(
    shown: Shown,
    { ignored, counters }: { ignored?: ReadonlySet<string> | undefined; counters: RunCounters },
  ): Promise<StoredShown> {
    const { client } = this.facts;
    const { rows } = await this.transactions.read(() => client.query(this.spans.digest(shown)));
    const same = this.spans.unchanged(shown, rows);
    if (same) return same;
    // Events that are read again only to compare them are not counted.
    const countOf = (result: StoredShown) =>
      addCommitted(counters, { rejected: result.newlyRejected }, { ...result, unchanged: 0 });
    const stored = await this.transactions.write(this.storing(shown), {}, async (head) => {
      const result = await this.spans.store(shown, { head, known: this.known, ignored });
      const plan = { run: updateRun(this.runId, countOf(result), undefined) };
      return { plan, drafts: result.drafts, result: () => result };
    });
    // The meter may have counted requests meanwhile.
    Object.assign(counters, countOf(stored));
    return stored;
  }

  /** The state that `closing` needs, if the commit changes the coverage. */
  private stateFor({ gap, covered }: Commit): { state: Statement | undefined } {
    return { state: gap || covered ? this.facts.state.statement : undefined };
  }

  /** The statements that end the transaction of a commit, and the entry for what they change beside the rows. */
  private async closing(
    batch: Commit,
    stored: Parameters<typeof addCommitted>[2],
    [state]: ResultRows,
  ): Promise<{ plan: Plan; drafts: EntryDraft[] }> {
    const plan = {
      watermark: this.movesWatermark
        ? moveWatermark(this.facts, batch)
        : updateSourceTotal(this.facts, batch.sourceTotal),
      run: updateRun(
        this.runId,
        addCommitted(batch.counters, { rejected: rejectedOf(batch) }, stored),
        batch,
      ),
    };
    const coverage = {
      gap: batch.gap && cutCoverage(this.facts, batch.gap),
      coverage: this.extendCoverage(batch),
    };
    // The usual case: the end of the newest range moves, which no entry records.
    if (!batch.gap && isNewestExtended(state, batch.covered))
      return { plan: { ...coverage, ...plan }, drafts: [] };
    await this.facts.state.lock();
    await pipeline(this.facts.client, coverage);
    return { plan, drafts: await this.facts.state.draft() };
  }

  /** For `verify --repair`: restores the stored rows of these events to the source's values. */
  async restore({
    events,
    superseded = [],
    rejected,
  }: {
    events: Commit['events'];
    superseded?: readonly Superseded[];
    rejected: readonly RejectedRow[];
  }): Promise<{ inserted: number; updated: number }> {
    return this.transactions.write(this.storing({ events }), {}, async (head) => {
      const { client, organization, log } = this.facts;
      const options = { organization, log, runId: this.runId, head, known: this.known };
      const { inserted, updated, drafts } = await restoreEvents(client, events, options);
      const replaced = await this.spans.supersede(superseded);
      const { records } = await upsertRejected(client, { organization, log, runId: this.runId, rejected });
      return {
        plan: {},
        drafts: [...drafts, ...replaced, ...draftRecords('rejected', records)],
        result: () => ({ inserted, updated }),
      };
    });
  }

  /** Stores the run's outcome and its final counters, and releases the lease. */
  finish(end: RunEnd): Promise<void> {
    const isQuiet = this.newestEntry === undefined && end.outcome === 'succeeded';
    return finishRun(this.transactions, end, { ...this.facts, head: this.spans.head, isQuiet });
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
    await this.writeState('storing the address of the source', {
      source: rememberSource(this.facts, identity),
    });
  }

  /** Marks the stored events of a span that another source does not show. Returns how many. May be repeated. */
  async markFormerSource(span: ShownSpan, onProgress: () => void): Promise<number> {
    let marked = 0;
    for (let cursor: SliceCursor | undefined; ; ) {
      const plan = markFormerSource({ ...this.facts, runId: this.runId }, span, cursor);
      const last = await this.transactions.write('marking the events of the former source', {}, async () => {
        const { unmark, slice } = await pipeline(this.facts.client, plan);
        const found = slice[0] as FormerSlice | undefined;
        const drafts = draftRecords('gone', [...unmark, ...(found?.marked ?? [])]);
        return { plan: {}, drafts, result: () => found };
      });
      onProgress();
      if (!last) return marked;
      marked += last.marked.length;
      cursor = [last.created_on, last.event_id];
    }
  }

  /** Replaces the source: forgets the watermark and what was proven. The events stay. Call before the first commit. */
  async replaceSource(identity: SourceIdentity): Promise<void> {
    await this.writeState('accepting another source', replaceSource(this.facts, identity));
    this.stored = undefined;
    this.ranks = null;
    this.spans.forget();
  }

  /** Appends an entry that changes nothing, so that the head is signed. */
  signHead(): Promise<void> {
    return this.transactions.write('signing the head of the ledger', {}, async () => {
      return { plan: {}, drafts: await this.facts.state.restate(), result: () => {} };
    });
  }

  release(): Promise<void> {
    return this.facts.lease.release();
  }

  private writePlan(doing: string, plan: Plan): Promise<void> {
    return this.transactions.write(doing, {}, async () => ({ plan, result: () => {} }));
  }

  /** Writes what an entry of kind `state` records. `suspicions` returns rows of audit.gone_events. */
  private writeState(doing: string, plan: Plan): Promise<void> {
    return this.transactions.write(doing, {}, async () => {
      await this.facts.state.lock();
      const { suspicions = [] } = (await pipeline(this.facts.client, plan)) as { suspicions?: ResultRows };
      const drafts = [...draftRecords('gone', suspicions), ...(await this.facts.state.draft())];
      return { plan: {}, drafts, result: () => {} };
    });
  }

  private extendCoverage({ covered }: Commit): Statement | undefined {
    return covered && extendCoverage(this.facts, { ...covered, isToEnd: false });
  }
}

interface FormerSlice {
  created_on: string;
  event_id: string;
  marked: KeyedRecord[];
}

function rowsIn(rows: readonly EncodedRows[]): number {
  return rows.reduce((sum, { events }) => sum + events.length, 0);
}
