/**
 * Decides what a response means for the stored rows of its span: which events are new or changed, which stored events it does not
 * show or shows in another rendering, and where the head of the source's list is now.
 */
import type { AuditEvent } from './event.ts';
import type { IdentifiedEvent } from './identity.ts';
import { type Pair, type Pairing, pairEvents } from './pairing.ts';
import { placeOfTicks } from './place.ts';
import { findReplacements, type Rendering, withoutForms } from './rerendering.ts';
import type { Shown } from './store.ts';

/** A stored event, as far as a comparison needs it. */
export interface StoredRow {
  eventId: string;
  ticks: bigint;
  ordinal: number;
  content: Content;
  /** The fields that tell whether an event is another rendering of it. */
  rendering: Rendering;
  /** Number of the commit that stored it. */
  batch: bigint;
  /** The row that replaced it, if it is superseded: the count leaves it out. */
  supersededBy: string | undefined;
  /** Why the count leaves the event out, if it does. */
  absence: 'suspected' | 'gone' | 'former source' | undefined;
  /** It was suspected by this run. */
  isSuspectedNow: boolean;
  /** When it may be suspected, if it was stored too recently. */
  settlesAt: Date | undefined;
}

/** The fields of an event that may change at the source. */
export type Content = Pick<AuditEvent, 'createdOnRaw' | 'userName' | 'email' | 'message' | 'extra' | 'raw'>;

export interface Judgement {
  /** Events to insert or update, with the ordinals under which they are stored. */
  changed: IdentifiedEvent[];
  /** Those that are not stored. */
  fresh: IdentifiedEvent[];
  /** Those of them that replace a stored row. They are no news: the source lists as many events as before. */
  rerendered: IdentifiedEvent[];
  /** Stored rows to mark as superseded or, if `by` is undefined, as current again. */
  superseded: Superseded[];
  /** Stored events that are shown, in any rendering, although they were suspected or gone. */
  shownAgain: StoredRow[];
  suspected: StoredRow[];
  /** Suspected by an earlier run, and still not shown. */
  confirmed: StoredRow[];
  /** Not shown, and stored too recently to be suspected. */
  unsettled: StoredRow[];
  /** Most of the stored events of the span are not shown, and others are shown in their place. */
  isMostlyUnshown: boolean;
  head: bigint | undefined;
  isHeadUndecided: boolean;
  /** The oldest place at which a row is new or shown again. */
  oldestChange: bigint | undefined;
}

export interface Superseded {
  row: Pick<StoredRow, 'eventId' | 'ticks'>;
  /** Id of the event that replaces it. */
  by: string | undefined;
}

/** This many unshown events, if they are most of the span and this many other ones are shown in their place, are another history. */
const MIN_UNSHOWN = 5;

/**
 * `stored`: the stored events of the span, and those that the other rows of the response may be, sorted by time. `ignored`: ids of events
 * that do not count as missing at the head.
 */
export function judge(
  shown: Shown,
  stored: readonly StoredRow[],
  {
    head: headBefore,
    isEqual,
    ignored = new Set(),
  }: {
    head: bigint | undefined;
    /** Whether the stored content equals the event's. */
    isEqual: (event: IdentifiedEvent, row: StoredRow) => boolean;
    ignored?: ReadonlySet<string> | undefined;
  },
): Judgement {
  const pairing = pairEvents({ whole: shown.events, partial: shown.others.events }, stored, {
    isEqual,
    isExpected,
  });
  const { pairs } = pairing;
  const fresh = withoutPossibleForms(shown, stored, pairing);
  const matched = new Set(pairs.map(({ row }) => row));
  const { superseded, replaced, isRerendered } = findSuperseded(shown, stored, { pairs, fresh });
  for (const row of replaced) matched.add(row);
  const shownAgain = [...matched].filter(({ absence }) => absence !== undefined);
  const { head, isUndecided, isReplaced } = moveHead(headBefore, { shown, stored, matched, ignored });
  const inSpan = stored.filter((row) => row.supersededBy === undefined && isInSpan(row, shown.span, head));
  const unshown = inSpan.filter((row) => !matched.has(row));
  const live = unshown.filter(({ absence }) => absence === undefined);
  const newestShown = shown.events.at(-1)?.event.createdOnTicks;
  // A lagging replica does not show the newest events yet.
  const striking = live.filter(
    ({ settlesAt, ticks }) => settlesAt === undefined || (newestShown !== undefined && ticks < newestShown),
  );
  const rerendered = fresh.filter(({ eventId }) => isRerendered.has(eventId));
  const revived = superseded.filter(({ row, by }) => by === undefined && !isRerendered.has(row.eventId));
  const [oldestStriking, newestStriking] = [striking[0]?.ticks, striking.at(-1)?.ticks];
  // A deletion leaves its place empty, and so does a lagging replica; another history fills it.
  const foreign = fresh.filter(
    ({ eventId, event: { createdOnTicks: ticks } }) =>
      !isRerendered.has(eventId) &&
      striking.length > 0 &&
      ticks >= oldestStriking! &&
      ticks <= newestStriking!,
  );
  const changes = [
    ...fresh.filter(({ eventId }) => !isRerendered.has(eventId)).map(({ event }) => event.createdOnTicks),
    ...[...shownAgain, ...revived.map(({ row }) => row)].map(({ ticks }) => ticks),
  ];
  return {
    changed: [...fresh, ...pairs.filter(({ event, row }) => !isEqual(event, row)).map(({ event }) => event)],
    fresh,
    rerendered,
    superseded,
    shownAgain,
    suspected: live.filter(({ settlesAt }) => settlesAt === undefined),
    confirmed: unshown.filter(({ absence, isSuspectedNow }) => absence === 'suspected' && !isSuspectedNow),
    unsettled: live.filter(({ settlesAt }) => settlesAt !== undefined),
    isMostlyUnshown:
      isReplaced ||
      (Math.min(striking.length, foreign.length) >= MIN_UNSHOWN &&
        2 * striking.length > inSpan.filter(({ absence }) => absence === undefined).length),
    head,
    isHeadUndecided: isUndecided,
    oldestChange: changes.length === 0 ? undefined : placeOfTicks(changes.reduce((a, b) => (a < b ? a : b))),
  };
}

function isExpected({ absence, supersededBy }: StoredRow): boolean {
  return absence === undefined && supersededBy === undefined;
}

/** The new events without those of a part of a group that may be another rendering of a stored row. */
function withoutPossibleForms(
  { events, others }: Shown,
  stored: readonly StoredRow[],
  { pairs, fresh }: Pairing<StoredRow>,
): IdentifiedEvent[] {
  if (fresh.length === 0 || others.events.length === 0) return fresh;
  const paired = new Set(pairs.map(({ row }) => row));
  const rows = stored.filter((row) => isExpected(row) && !paired.has(row));
  const whole = new Set(events.map(({ event }) => event));
  const isWhole = ({ event }: IdentifiedEvent) => whole.has(event);
  const partial = fresh.filter((event) => !isWhole(event));
  const kept = withoutForms(
    partial.map((event) => ({ event, rendering: event.event })),
    rows,
  );
  return [...fresh.filter(isWhole), ...kept.map(({ event }) => event)];
}

/**
 * Which rows the response shows in another rendering (`replaced`), and which superseded ones it shows again. `isRerendered`: ids of the
 * events that replace a row. A part of a group decides neither: it does not show which rows are missing.
 */
function findSuperseded(
  shown: Shown,
  stored: readonly StoredRow[],
  { pairs, fresh }: Pairing<StoredRow>,
): { superseded: Superseded[]; replaced: StoredRow[]; isRerendered: Set<string> } {
  const whole = new Set(shown.events.map(({ event }) => event));
  const wholePairs = pairs.filter(({ event }) => whole.has(event.event));
  const revived = wholePairs.filter(({ row }) => row.supersededBy !== undefined);
  const paired = new Set(pairs.map(({ row }) => row));
  const unshown = stored
    .filter((row) => !paired.has(row) && row.supersededBy === undefined && isWithin(row, shown.span))
    .sort((a, b) => a.ordinal - b.ordinal)
    .map((row) => ({ row, rendering: row.rendering, absence: row.absence, batch: row.batch }));
  const replacements = findReplacements(unshown, () => {
    const superseders = new Set(stored.map(({ supersededBy }) => supersededBy));
    const isNews = (pair: Pair<StoredRow>) => pair.row.supersededBy !== undefined;
    return [
      ...fresh
        .filter(({ event }) => whole.has(event))
        .map((event) => ({ event, rendering: event.event, batch: undefined })),
      ...wholePairs
        .filter((pair) => isNews(pair) || !superseders.has(pair.row.eventId))
        .map((pair) => ({
          event: pair.event,
          rendering: pair.event.event,
          batch: isNews(pair) ? undefined : pair.row.batch,
        })),
    ];
  });
  return {
    superseded: [
      ...revived.map(({ row }) => ({ row, by: undefined })),
      ...replacements.map(({ row, by }) => ({ row, by: by.eventId })),
    ],
    replaced: replacements.map(({ row }) => row),
    isRerendered: new Set(replacements.map(({ by }) => by.eventId)),
  };
}

function isWithin({ ticks }: StoredRow, span: Shown['span']): boolean {
  return span !== undefined && ticks >= span.from && (span.to === undefined || ticks < span.to);
}

function isInSpan(row: StoredRow, span: Shown['span'], head: bigint | undefined): boolean {
  return isWithin(row, span) && (head === undefined || placeOfTicks(row.ticks) > head);
}

/**
 * Stored groups that are missing without a break right behind the head instant have aged out at the source: the head instant moves to the
 * last of them. A group of which some rows are shown has aged out, too.
 */
function moveHead(
  before: bigint | undefined,
  {
    shown,
    stored,
    matched,
    ignored,
  }: {
    shown: Shown;
    stored: readonly StoredRow[];
    matched: ReadonlySet<StoredRow>;
    ignored: ReadonlySet<string>;
  },
): { head: bigint | undefined; isUndecided: boolean; isReplaced: boolean } {
  const { oldest, span } = shown;
  if (oldest === undefined) return { head: before, isUndecided: false, isReplaced: false };
  const start = before === undefined || oldest > before ? oldest : before;
  let head = start;
  let aged = 0;
  // Retention deletes the oldest rows first. It may leave a few, but shows no other history in their place.
  const decide = (isUndecided: boolean) => {
    const isReplaced = aged >= MIN_UNSHOWN && countBefore(shown, head) >= MIN_UNSHOWN;
    return { head: isReplaced ? start : head, isUndecided, isReplaced };
  };
  const newest = newestOf(shown);
  for (let i = 0; i < stored.length; ) {
    const place = placeOfTicks(stored[i]!.ticks);
    let end = i;
    while (end < stored.length && placeOfTicks(stored[end]!.ticks) === place) end++;
    const group = stored.slice(i, end);
    i = end;
    if (place <= head) continue;
    const isComplete = span !== undefined && (span.to === undefined ? place <= newest : place < span.to);
    if (!isComplete) return decide(span === undefined || span.to !== undefined);
    const expected = group.filter(
      ({ absence, eventId, supersededBy }) =>
        supersededBy === undefined &&
        (absence === undefined || absence === 'suspected') &&
        !ignored.has(eventId),
    );
    const isShown = expected.every((row) => matched.has(row));
    if (expected.length > 0 && isShown) return decide(false);
    if (!isShown) head = place;
    aged += expected.filter((row) => !matched.has(row)).length;
  }
  // Every stored group that the response could show is missing, or nothing is stored: more may follow.
  return decide(span === undefined || span.to !== undefined);
}

/** The number of shown events before a place. */
function countBefore({ events, others }: Shown, place: bigint): number {
  return [...events, ...others.events].filter(({ event }) => placeOfTicks(event.createdOnTicks) < place)
    .length;
}

function newestOf({ events, rejected, others, oldest }: Shown): bigint {
  const places = [
    events.at(-1)?.event.createdOnTicks,
    others.events.at(-1)?.event.createdOnTicks,
    rejected.at(-1)?.place,
    others.rejected.at(-1)?.place,
    oldest,
  ].flatMap((ticks) => (ticks === undefined ? [] : [placeOfTicks(ticks)]));
  return places.reduce((a, b) => (a > b ? a : b));
}
