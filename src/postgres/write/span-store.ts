/** Compares responses of the source with the stored rows of their spans, and stores what is new, within a transaction of a run. */
import { isSameJson } from '../../core/compare.ts';
import type { AuditEvent } from '../../core/event.ts';
import type { IdentifiedEvent } from '../../core/identity.ts';
import { type Judgement, judge, type StoredRow, type Superseded } from '../../core/judge.ts';
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace } from '../../core/place.ts';
import type { Comparison, Shown } from '../../core/store.ts';
import { formatMicroseconds, MAX_TICKS, MIN_TICKS } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import type { KeyedRecord } from '../format/list-records.ts';
import { digestOf, isPlainEvent } from '../format/span-digest.ts';
import { asStored, exactFields } from '../read/stored-events.ts';
import { draftRecords, type TransactionHead } from './ledger.ts';
import { type StoredRejected, upsertRejected } from './rejected.ts';
import { OPEN_TICKS, placeRejected, placesText } from './rejected-places.ts';
import {
  CONFIRM_GONE,
  DIGEST_SPAN,
  DISMISS_SUSPICIONS,
  READ_SPAN,
  SHOW_AGAIN,
  SUPERSEDE,
  SUSPECT,
} from './span-statements.ts';
import {
  assertWritten,
  changeDraft,
  endsOf,
  readRecordsOf,
  type StoredBatch,
  upsertEvents,
} from './store-events.ts';

/** Stored rows read for one response, in addition to twice those that it shows. More are a source that has changed. */
const MAX_UNSHOWN_READ = 10_000;
/** More than this part of the stored events, and more than these, are not suspected in one run: the source has changed. */
const SUSPICIOUS_SHARE = 0.01;
const SUSPICIOUS_EVENTS = 100;
/** The same for logs with few events, once a run has counted them: at first, few are stored because they are being read. */
const SUSPICIOUS_SHARE_OF_FEW = 0.1;
const SUSPICIOUS_OF_FEW = 4;

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

interface StoredSpanRow {
  event_id: string;
  created_on_ticks: string;
  ordinal: number;
  created_on_raw: string;
  user_name: string | null;
  email: string | null;
  message: string | null;
  extra: string | null;
  raw: string | null;
  category: string | null;
  action: string | null;
  source: string | null;
  details_version: string | null;
  /** Null if the response shows the id. */
  details_raw: string | null;
  batch: string;
  superseded_by: string | null;
  absence: StoredRow['absence'] | null;
  is_suspected_now: boolean;
  settles_at: string | null;
}

export class SpanStore {
  /** The head instant. It moves when a response at the start of the list is compared. */
  head: bigint | undefined;
  /** Most stored events were missing in a response of this run: nothing is suspected any more. */
  private isSourceChanged = false;
  private suspectedEvents = 0;
  private hasChanged: boolean;

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
    this.hasChanged = options.hasChanged;
  }

  /** Forgets what is known about a former source. */
  forget(): void {
    this.head = undefined;
    this.hasChanged = false;
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
    const stored = await this.readSpan(shown, boundsOf(shown), shown.others.events);
    const isTruncated = stored.length === this.limitOf(shown);
    const options = { isEqual: isSameContent, ignored };
    const judgement = judge(shown, stored, { ...options, head: this.head });
    // Too many rows are not shown to read them all: reads those that the events may be.
    const { changed, fresh, rerendered, superseded, shownAgain } = isTruncated
      ? judge(shown, await this.readSpan(shown, NO_BOUNDS, eventsOf(shown)), { ...options, head: undefined })
      : judgement;
    const upserted = await upsertEvents(this.client, changed, { ...this.key, head, known });
    this.head = judgement.head;
    const replaced = await this.supersede(superseded);
    const gone = await this.mark(SHOW_AGAIN, shownAgain);
    const { marked, ...suspected } = await this.suspect(judgement, isTruncated);
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

  /**
   * Marks rows as superseded, or as current again: the one place that changes the column. A superseded row is not gone. Returns the
   * entries of the ledger.
   */
  async supersede(changes: readonly Superseded[]): Promise<EntryDraft[]> {
    if (changes.length === 0) return [];
    const { organization, log } = this.key;
    const keys: [string[], string[]] = [
      changes.map(({ row }) => formatMicroseconds(row.ticks)),
      changes.map(({ row }) => row.eventId),
    ];
    const records = await readRecordsOf(this.client, this.key, keys);
    const { rowCount } = await this.client.query(SUPERSEDE, [
      ...[organization, log, ...keys],
      changes.map(({ by }) => by ?? null),
      ...endsOf(keys[0]!),
    ]);
    assertWritten(rowCount ?? 0, changes.length, 'superseding');
    const pairs = changes.map(({ row, by }) => {
      const before = records.get(row.eventId)!;
      return { before, after: { ...before, superseded_by: by ?? null } };
    });
    const gone = await this.mark(
      SHOW_AGAIN,
      changes.flatMap(({ row, by }) => (by === undefined ? [] : [row])),
    );
    return [changeDraft('superseded', pairs), ...draftRecords('gone', gone)];
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

  private limitOf(shown: Shown): number {
    return 2 * (shown.events.length + shown.others.events.length) + MAX_UNSHOWN_READ;
  }

  /** The stored rows between two times, and those at the times of `others`. */
  private async readSpan(
    shown: Shown,
    { from, to }: typeof NO_BOUNDS,
    others: readonly IdentifiedEvent[],
  ): Promise<StoredRow[]> {
    const { organization, log, runId } = this.key;
    const all = eventsOf(shown);
    const { rows } = await this.client.query<StoredSpanRow>(READ_SPAN, [
      organization,
      log,
      timeOf(from),
      timeOf(to),
      this.limitOf(shown),
      runId,
      this.options.settleMs,
      timesOf(all),
      all.map(({ eventId }) => eventId),
      timesOf(others),
    ]);
    const shownAs = new Map(all.map(({ event, eventId }) => [eventId, event]));
    return rows.map((row) => toStoredRow(row, shownAs.get(row.event_id)));
  }

  /** Suspects events that are not shown, unless they are so many that the source must have changed. */
  private async suspect(
    judgement: Judgement,
    isTruncated: boolean,
  ): Promise<
    Pick<StoredShown, 'suspected' | 'confirmed' | 'isSourceChanged' | 'goneEvents'> & {
      marked: KeyedRecord[];
    }
  > {
    const { suspected, confirmed } = judgement;
    const dismissed: KeyedRecord[] = [];
    this.suspectedEvents += suspected.length;
    const isTooMany =
      this.suspectedEvents > SUSPICIOUS_OF_FEW &&
      (this.hasChanged || this.suspectedEvents > (await this.readLimit()));
    if (!this.isSourceChanged && (isTooMany || isTruncated || judgement.isMostlyUnshown)) {
      this.isSourceChanged = true;
      const { organization, log, runId } = this.key;
      const { rows } = await this.client.query<KeyedRecord>(DISMISS_SUSPICIONS, [organization, log, runId]);
      dismissed.push(...rows);
    }
    if (this.isSourceChanged)
      return { suspected: 0, confirmed: 0, isSourceChanged: true, goneEvents: [], marked: dismissed };
    const marked = [...(await this.mark(SUSPECT, suspected)), ...(await this.mark(CONFIRM_GONE, confirmed))];
    return {
      marked,
      suspected: suspected.length,
      confirmed: confirmed.length,
      isSourceChanged: false,
      goneEvents: confirmed.map(({ eventId, ticks }) => ({ eventId, ticks })),
    };
  }

  /** How many events one run may suspect. */
  private async readLimit(): Promise<number> {
    const { organization, log } = this.key;
    const { rows } = await this.client.query<{ events: string }>(
      'select coalesce(sum(events), 0) as events from audit.daily_totals where organization = $1 and log = $2',
      [organization, log],
    );
    const events = Number(rows[0]!.events);
    const few =
      this.options.head === undefined
        ? SUSPICIOUS_EVENTS
        : Math.max(SUSPICIOUS_OF_FEW, SUSPICIOUS_SHARE_OF_FEW * events);
    return Math.max(Math.min(SUSPICIOUS_EVENTS, few), SUSPICIOUS_SHARE * events);
  }

  /** Returns the rows of audit.gone_events that it wrote. */
  private async mark(text: string, events: readonly Superseded['row'][]): Promise<KeyedRecord[]> {
    if (events.length === 0) return [];
    const { organization, log, runId } = this.key;
    const { rows } = await this.client.query<KeyedRecord>(text, [
      organization,
      log,
      runId,
      events.map(({ ticks }) => formatMicroseconds(ticks)),
      events.map(({ eventId }) => eventId),
      events.map(({ ticks }) => ticks.toString()),
    ]);
    return rows;
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

function eventsOf({ events, others }: Shown): IdentifiedEvent[] {
  return [...events, ...others.events];
}

function timesOf(events: readonly IdentifiedEvent[]): string[] {
  return [...new Set(events.map(({ event }) => formatMicroseconds(event.createdOnTicks)))];
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

/** `shown`: the event that the response shows under the id of the row. */
function toStoredRow(row: StoredSpanRow, shown: AuditEvent | undefined): StoredRow {
  const content = {
    createdOnRaw: row.created_on_raw,
    userName: row.user_name,
    email: row.email,
    message: row.message,
    extra: row.extra,
    raw: row.raw,
  };
  const identity = shown ?? {
    createdOnTicks: BigInt(row.created_on_ticks),
    category: row.category,
    action: row.action,
    source: row.source,
    detailsVersion: row.details_version,
    auditLogDetails: row.details_raw,
  };
  return {
    eventId: row.event_id,
    ticks: BigInt(row.created_on_ticks),
    ordinal: row.ordinal,
    content,
    rendering: exactFields({ ...identity, ...content }),
    batch: BigInt(row.batch),
    supersededBy: row.superseded_by ?? undefined,
    absence: row.absence ?? undefined,
    isSuspectedNow: row.is_suspected_now,
    settlesAt: row.settles_at === null ? undefined : new Date(Number(row.settles_at)),
  };
}

/** The response shows the oldest row, and no group completely. */
function isPartOfHead({ oldest, span }: Shown): boolean {
  return oldest !== undefined && span === undefined;
}

/** The times between which stored rows are compared: from the oldest row where the response shows it. */
function boundsOf({ span, oldest }: Shown): { from: bigint; to: bigint } {
  if (!span) return NO_BOUNDS;
  const from = oldest !== undefined && oldest < span.from ? oldest : span.from;
  return { from: from < MIN_TICKS ? MIN_TICKS : from, to: span.to ?? OPEN_TICKS };
}

const NO_BOUNDS = { from: 0n, to: 0n };

function timeOf(ticks: bigint): string {
  return ticks > MAX_TICKS ? 'infinity' : formatMicroseconds(ticks);
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
