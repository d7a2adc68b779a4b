/**
 * Decides what a response means for the stored rows of its span: which events are new or changed, which stored events it does not
 * show, and where the head of the source's list is now.
 */
import type { AuditEvent } from './event.ts';
import { eventIdOf, type IdentifiedEvent } from './identity.ts';
import { placeOfTicks } from './place.ts';
import type { Shown } from './store.ts';

/** A stored event, as far as a comparison needs it. */
export interface StoredRow {
  eventId: string;
  ticks: bigint;
  content: Content;
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
  /** Ids of those that are not stored. */
  newIds: Set<string>;
  /** Stored events that are shown although they were suspected or gone. */
  shownAgain: StoredRow[];
  suspected: StoredRow[];
  /** Suspected by an earlier run, and still not shown. */
  confirmed: StoredRow[];
  /** Not shown, and stored too recently to be suspected. */
  unsettled: StoredRow[];
  /** Most of the stored events of the span are not shown. */
  isMostlyUnshown: boolean;
  head: bigint | undefined;
  isHeadUndecided: boolean;
  /** The oldest place at which a row is new or shown again. */
  oldestChange: bigint | undefined;
}

/** At least so many unshown events, and more than half of the span, are more than a deletion. */
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
  const { pairs, fresh } = pairEvents(shown, stored, isEqual);
  const matched = new Set(pairs.map(({ row }) => row));
  const shownAgain = [...matched].filter(({ absence }) => absence !== undefined);
  const { head, isUndecided, isReplaced } = moveHead(headBefore, { shown, stored, matched, ignored });
  const inSpan = stored.filter((row) => isInSpan(row, shown.span, head));
  const unshown = inSpan.filter((row) => !matched.has(row));
  const live = unshown.filter(({ absence }) => absence === undefined);
  const newestShown = shown.events.at(-1)?.event.createdOnTicks;
  // A lagging replica does not show the newest events yet.
  const striking = live.filter(
    ({ settlesAt, ticks }) => settlesAt === undefined || (newestShown !== undefined && ticks < newestShown),
  );
  const changes = [
    ...fresh.map(({ event }) => event.createdOnTicks),
    ...shownAgain.map(({ ticks }) => ticks),
  ];
  return {
    changed: [...fresh, ...pairs.filter(({ event, row }) => !isEqual(event, row)).map(({ event }) => event)],
    newIds: new Set(fresh.map(({ eventId }) => eventId)),
    shownAgain,
    suspected: live.filter(({ settlesAt }) => settlesAt === undefined),
    confirmed: unshown.filter(({ absence, isSuspectedNow }) => absence === 'suspected' && !isSuspectedNow),
    unsettled: live.filter(({ settlesAt }) => settlesAt !== undefined),
    isMostlyUnshown:
      isReplaced ||
      (striking.length >= MIN_UNSHOWN &&
        2 * striking.length > inSpan.filter(({ absence }) => absence === undefined).length),
    head,
    isHeadUndecided: isUndecided,
    oldestChange: changes.length === 0 ? undefined : placeOfTicks(changes.reduce((a, b) => (a < b ? a : b))),
  };
}

function isInSpan({ ticks }: StoredRow, span: Shown['span'], head: bigint | undefined): boolean {
  if (!span || ticks < span.from || (span.to !== undefined && ticks >= span.to)) return false;
  return head === undefined || placeOfTicks(ticks) > head;
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
      ({ absence, eventId }) => (absence === undefined || absence === 'suspected') && !ignored.has(eventId),
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

interface Pair {
  event: IdentifiedEvent;
  row: StoredRow;
}

/**
 * Pairs shown with stored events of the same identity: first those of equal content, then the others in order of the ordinal. A surplus
 * shown event takes a free ordinal; a surplus stored event stays unpaired.
 */
function pairEvents(
  { events, others }: Shown,
  stored: readonly StoredRow[],
  isEqual: (event: IdentifiedEvent, row: StoredRow) => boolean,
): { pairs: Pair[]; fresh: IdentifiedEvent[] } {
  const rows = new Map(stored.map((row) => [`${row.eventId} ${row.ticks}`, row]));
  const rowsAt = new Map<bigint, number>();
  for (const { ticks } of stored) rowsAt.set(ticks, (rowsAt.get(ticks) ?? 0) + 1);
  const pairs: Pair[] = [];
  const fresh: IdentifiedEvent[] = [];
  const pairTwins = (twins: readonly IdentifiedEvent[], isWhole: boolean) => {
    const { event, eventId: firstId } = twins[0]!;
    const candidates = rowsAt.get(event.createdOnTicks) ?? 0;
    const only =
      candidates < 2 && twins.length === 1 ? rows.get(`${firstId} ${event.createdOnTicks}`) : undefined;
    // The usual case, which needs no other ordinal.
    if (only) pairs.push({ event: twins[0]!, row: only });
    else if (candidates === 0) fresh.push(...twins);
    if (only || candidates === 0) return;
    const free: { ordinal: number; eventId: string }[] = [];
    const found: { ordinal: number; row: StoredRow }[] = [];
    for (let ordinal = 0; free.length < twins.length; ordinal++) {
      const eventId = ordinal === twins[0]!.ordinal ? twins[0]!.eventId : eventIdOf(event, ordinal);
      const row = rows.get(`${eventId} ${event.createdOnTicks}`);
      if (row) found.push({ ordinal, row });
      else free.push({ ordinal, eventId });
    }
    const take = (twin: IdentifiedEvent, at: number) => {
      const [{ ordinal, row }] = found.splice(at, 1) as [(typeof found)[number]];
      pairs.push({ event: { ...twin, ordinal, eventId: row.eventId }, row });
    };
    const rest = twins.filter((twin) => {
      const at = found.findIndex(({ row }) => isEqual({ ...twin, eventId: row.eventId }, row));
      if (at !== -1) take(twin, at);
      return at === -1;
    });
    for (const twin of rest) {
      // A part of a group does not show which of the stored events changed.
      if (found.length > 0 && isWhole) take(twin, 0);
      else if (found.length > 0) found.shift();
      else fresh.push({ ...twin, ...free.shift()! });
    }
  };
  for (const twins of twinsOf(events)) pairTwins(twins, true);
  for (const twins of twinsOf(others.events)) pairTwins(twins, false);
  return { pairs, fresh };
}

/** Groups events that `identifyGroup` numbered as twins: they follow one another. */
function twinsOf(events: readonly IdentifiedEvent[]): IdentifiedEvent[][] {
  const groups: IdentifiedEvent[][] = [];
  for (const event of events) {
    if (event.ordinal > 0) groups.at(-1)!.push(event);
    else groups.push([event]);
  }
  return groups;
}
