/** Compares responses of the source with the stored rows of their spans, and stores what is new, within a transaction of a run. */
import { isSameJson } from '../../core/compare.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { type Judgement, judge, type StoredRow, type Superseded } from '../../core/judge.ts';
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace } from '../../core/place.ts';
import type { Comparison, Shown } from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { digestOf, isPlainEvent } from '../format/span-digest.ts';
import { asStored } from '../read/stored-events.ts';
import { GoneEvents } from './gone-events.ts';
import { draftRecords, type TransactionHead } from './ledger.ts';
import { type StoredRejected, upsertRejected } from './rejected.ts';
import { placeRejected, placesText } from './rejected-places.ts';
import { DIGEST_SPAN } from './span-statements.ts';
import { endsOf, type StoredBatch, upsertEvents } from './store-events.ts';
import {
  type Bounds,
  boundsOf,
  eventsOf,
  limitOf,
  NO_BOUNDS,
  readStoredSpan,
  timeOf,
} from './stored-span.ts';
import { supersede } from './supersede.ts';

/** The result of storing a response. */
export interface StoredShown extends Comparison {
  lateTicks: bigint[];
  /** What the ledger must list. */
  drafts: EntryDraft[];
}

/** What DIGEST_SPAN returns. */
interface SpanDigest {
  digest: string;
  has_absent: boolean;
  rejected: string | null;
  others: string;
}

export class SpanStore {
  /** The head instant. It moves when a response at the start of the list is compared. */
  head: bigint | undefined;
  private readonly gone: GoneEvents;

  constructor(
    private readonly client: Client,
    private readonly key: LogKey & { runId: string },
    private readonly options: {
      head: bigint | undefined;
      settleMs: number;
      /** An earlier run found that the source has changed, and nothing has explained it since. */
      hasChanged: boolean;
    },
  ) {
    this.head = options.head;
    const { head, hasChanged } = options;
    this.gone = new GoneEvents(client, key, { isFirstCount: head === undefined, hasChanged });
  }

  /** Forgets what is known about a former source. */
  forget(): void {
    this.head = undefined;
    this.gone.forgetChange();
  }

  /** The statement that `isUnchanged` and `store` need the result of. */
  digest(shown: Shown): Statement {
    const { organization, log } = this.key;
    const { from, to } = boundsOf(shown);
    const others = shown.others.events;
    const otherTimes = others.map(({ event }) => formatMicroseconds(event.createdOnTicks));
    return {
      ...DIGEST_SPAN,
      values: [
        organization,
        log,
        timeOf(from),
        timeOf(to),
        2 * shown.events.length + 10,
        from.toString(),
        to.toString(),
        otherTimes,
        others.map(({ eventId }) => eventId),
        ...endsOf(otherTimes),
      ],
    };
  }

  /** The comparison, if the response shows exactly what is stored. */
  unchanged(shown: Shown, [found]: unknown[]): StoredShown | undefined {
    const { digest, has_absent: hasAbsent, rejected, others } = found as SpanDigest;
    const isPlain = shown.events.every(isPlainEvent);
    const isEqual =
      isPlain &&
      !hasAbsent &&
      digest === digestOf(shown.events) &&
      Number(others) === shown.others.events.length &&
      shown.others.rejected.length === 0 &&
      shown.rejected.every(({ place }) => place !== undefined) &&
      (rejected ?? '') === placesText(shown.rejected);
    if (!isEqual) return undefined;
    this.moveHead(shown.oldest);
    const isHeadUndecided =
      shown.oldest !== undefined &&
      shown.span?.to !== undefined &&
      !shown.events.some(({ event }) => event.createdOnTicks >= afterPlace(this.head!));
    return {
      ...NOTHING,
      unchanged: shown.events.length,
      isHeadUndecided: isHeadUndecided || isPartOfHead(shown),
    };
  }

  /** Stores what is new. Call it within a transaction of the run, after `unchanged` returned undefined. */
  async store(
    shown: Shown,
    {
      head,
      known,
      ignored,
    }: { head: TransactionHead; known: bigint | undefined; ignored?: ReadonlySet<string> | undefined },
  ): Promise<StoredShown> {
    const stored = await this.readSpan(shown, { bounds: boundsOf(shown), others: shown.others.events });
    const isTruncated = stored.length === limitOf(shown);
    const options = { isEqual: isSameContent, ignored };
    const judgement = judge(shown, stored, { ...options, head: this.head });
    // Too many rows are not shown to read them all: reads those that the events may be.
    const { changed, fresh, rerendered, superseded, shownAgain } = isTruncated
      ? judge(shown, await this.readSpan(shown, { bounds: NO_BOUNDS, others: eventsOf(shown) }), {
          ...options,
          head: undefined,
        })
      : judgement;
    const upserted = await upsertEvents(this.client, changed, { ...this.key, head, known });
    this.head = judgement.head;
    const replaced = await this.supersede(superseded);
    const gone = await this.gone.showAgain(shownAgain);
    const { marked, ...suspected } = await this.gone.suspect(judgement, isTruncated);
    const rejected = await placeRejected(this.client, this.key, shown);
    const newlyRejected = await upsertRejected(this.client, {
      ...this.key,
      rejected: [...shown.rejected, ...shown.others.rejected],
    });
    return {
      ...toComparison(upserted, judgement),
      unchanged: countUnchanged(shown, changed),
      inserted: upserted.inserted,
      insertedIds: without(fresh, rerendered).map(({ eventId }) => eventId),
      rerendered: rerendered.length,
      superseded: superseded.filter(({ by }) => by !== undefined).length,
      shownAgain: shownAgain.length,
      ...suspected,
      oldestChange: earlier(judgement.oldestChange, rejected),
      newlyRejected: newlyRejected.rows,
      lateTicks: withoutTicks(upserted.lateTicks, rerendered),
      drafts: [
        ...upserted.drafts,
        ...replaced,
        ...draftRecords('gone', [...gone, ...marked]),
        ...draftRecords('rejected', newlyRejected.records),
      ],
    };
  }

  /** See `supersede`. */
  supersede(changes: readonly Superseded[]): Promise<EntryDraft[]> {
    return supersede(this.client, changes, { ...this.key, gone: this.gone });
  }

  private readSpan(
    shown: Shown,
    span: { bounds: Bounds; others: readonly IdentifiedEvent[] },
  ): Promise<StoredRow[]> {
    return readStoredSpan(this.client, shown, { ...this.key, settleMs: this.options.settleMs, ...span });
  }

  /** The oldest row of the list, if nothing that is stored was compared with it. */
  moveHead(oldest: bigint | undefined): void {
    if (oldest !== undefined && (this.head === undefined || oldest > this.head)) this.head = oldest;
  }

  /** For rows that a COPY stored: only the rejected ones remain. */
  async storeRejected(shown: Shown): Promise<StoredRejected> {
    if (shown.rejected.length === 0) return { rows: [], records: [] };
    await placeRejected(this.client, this.key, shown);
    return upsertRejected(this.client, { ...this.key, rejected: shown.rejected });
  }
}

export const NOTHING: StoredShown = {
  lateTicks: [],
  drafts: [],
  goneEvents: [],
  inserted: 0,
  updated: 0,
  unchanged: 0,
  rerendered: 0,
  superseded: 0,
  shownAgain: 0,
  suspected: 0,
  confirmed: 0,
  unsettled: 0,
  settlesAt: undefined,
  oldestChange: undefined,
  insertedIds: [],
  isHeadUndecided: false,
  isSourceChanged: false,
  newlyRejected: [],
};

function toComparison(
  stored: StoredBatch,
  judgement: Judgement,
): Omit<StoredShown, 'suspected' | 'confirmed' | 'isSourceChanged' | 'goneEvents'> {
  const settling = judgement.unsettled.map(({ settlesAt }) => settlesAt!.getTime());
  return {
    ...NOTHING,
    inserted: stored.inserted,
    updated: stored.updated,
    unsettled: judgement.unsettled.length,
    settlesAt: settling.length === 0 ? undefined : new Date(Math.max(...settling)),
    isHeadUndecided: judgement.isHeadUndecided,
  };
}

/** The number of events in the span that are stored as they are shown. Other rows of the response are stored as well, if they are new. */
function countUnchanged({ events }: Shown, changed: readonly IdentifiedEvent[]): number {
  const shown = new Set(events.map(({ event }) => event));
  return events.length - changed.filter(({ event }) => shown.has(event)).length;
}

function without<T>(list: readonly T[], removed: readonly T[]): T[] {
  const set = new Set(removed);
  return list.filter((each) => !set.has(each));
}

/** The ticks of the late events that are no other rendering of a stored one. */
function withoutTicks(lateTicks: readonly bigint[], rerendered: readonly IdentifiedEvent[]): bigint[] {
  if (rerendered.length === 0) return [...lateTicks];
  const removed = new Map<bigint, number>();
  for (const { event } of rerendered)
    removed.set(event.createdOnTicks, (removed.get(event.createdOnTicks) ?? 0) + 1);
  return lateTicks.filter((ticks) => {
    const left = removed.get(ticks) ?? 0;
    removed.set(ticks, left - 1);
    return left <= 0;
  });
}

/** The response shows the oldest row, and no group completely. */
function isPartOfHead({ oldest, span }: Shown): boolean {
  return oldest !== undefined && span === undefined;
}

function isSameContent({ event }: IdentifiedEvent, { content }: StoredRow): boolean {
  if (event.raw !== content.raw) return false;
  const { createdOnRaw, userName, email, message, extra } = asStored(event);
  return (
    createdOnRaw === content.createdOnRaw &&
    userName === content.userName &&
    email === content.email &&
    message === content.message &&
    (event.raw !== null || isSameJson(extra, content.extra))
  );
}

function earlier(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a < b ? a : b;
}
