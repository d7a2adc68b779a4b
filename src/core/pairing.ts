/**
 * Pairs the events that the source shows with stored rows of the same identity (`identity.ts`). Twins, which are alike in identity, differ
 * only in their content (user, email, message, unknown fields), so the content decides which stored row is which event:
 *
 * 1. An event is the stored row of equal content, whatever their ordinals are: if Alice's event is deleted, Bob's row stays Bob's.
 * 2. The other events are changes of the other rows that the source should show, in order of the ordinal.
 * 3. A row that it should not show (gone, superseded) is changed only by an event of the same user: another user's is another event.
 * 4. A surplus event takes a free ordinal. A surplus row stays unpaired and unchanged.
 */
import type { AuditEvent } from './event.ts';
import { eventIdOf, type IdentifiedEvent } from './identity.ts';

/** A stored row, as far as pairing needs it. */
export interface PairableRow {
  eventId: string;
  ticks: bigint;
  ordinal: number;
  content: Pick<AuditEvent, 'userName'>;
}

export interface PairingRules<Row> {
  /** Whether the content of a row equals the event's, which has the id of the row. */
  isEqual: (event: IdentifiedEvent, row: Row) => boolean;
  /** Whether the source should show the row: it is neither suspected nor gone nor superseded. */
  isExpected: (row: Row) => boolean;
}

export interface Pair<Row> {
  /** The event under the id and the ordinal of the row. */
  event: IdentifiedEvent;
  row: Row;
}

/** `whole`: events of complete tie groups; `partial`: events of others. Twins follow one another, as `identifyGroup` returns them. */
export interface PairableEvents {
  whole: readonly IdentifiedEvent[];
  partial: readonly IdentifiedEvent[];
}

export interface Pairing<Row> {
  pairs: Pair<Row>[];
  /** Events that are not stored, with free ordinals. */
  fresh: IdentifiedEvent[];
}

/** Ordinals above this are not searched: a manual change can have made it any number. */
const MAX_ORDINAL = 10_000;

/** `stored` contains each stored row at the times of the events. */
export function pairEvents<Row extends PairableRow>(
  { whole, partial }: PairableEvents,
  stored: readonly Row[],
  rules: PairingRules<Row>,
): Pairing<Row> {
  const rows = new Map(stored.map((row) => [keyOf(row.eventId, row.ticks), row]));
  const lastOrdinals = new Map<bigint, number>();
  for (const { ticks, ordinal } of stored) {
    const last = lastOrdinals.get(ticks) ?? 0;
    lastOrdinals.set(ticks, Math.min(Math.max(last, ordinal), MAX_ORDINAL));
  }
  const result: Pairing<Row> = { pairs: [], fresh: [] };
  const pairTwins = (twins: readonly IdentifiedEvent[], isWhole: boolean) => {
    const { createdOnTicks: ticks } = twins[0]!.event;
    const last = lastOrdinals.get(ticks);
    if (last === undefined) {
      result.fresh.push(...twins);
      return;
    }
    const { found, free } = findOrdinals(twins[0]!, last, (eventId) => rows.get(keyOf(eventId, ticks)));
    const { pairs, fresh } = matchTwins(twins, found, { ...rules, isWhole });
    result.pairs.push(...pairs);
    for (const twin of fresh) result.fresh.push(free(twin));
  };
  for (const twins of twinsOf(whole)) pairTwins(twins, true);
  for (const twins of twinsOf(partial)) pairTwins(twins, false);
  return result;
}

function keyOf(eventId: string, ticks: bigint): string {
  return `${eventId} ${ticks}`;
}

interface Ordinal<Row> {
  ordinal: number;
  row: Row;
}

/** The stored rows of an identity. `free` gives an event the next ordinal that no row has. */
function findOrdinals<Row>(
  { event, eventId: firstId, ordinal: first }: IdentifiedEvent,
  last: number,
  rowOf: (eventId: string) => Row | undefined,
): { found: Ordinal<Row>[]; free: (twin: IdentifiedEvent) => IdentifiedEvent } {
  const found: Ordinal<Row>[] = [];
  const unused: number[] = [];
  const idOf = (ordinal: number) => (ordinal === first ? firstId : eventIdOf(event, ordinal));
  for (let ordinal = 0; ordinal <= last; ordinal++) {
    const row = rowOf(idOf(ordinal));
    if (row === undefined) unused.push(ordinal);
    else found.push({ ordinal, row });
  }
  let next = last + 1;
  const free = (twin: IdentifiedEvent): IdentifiedEvent => {
    const ordinal = unused.shift() ?? next++;
    return { ...twin, ordinal, eventId: idOf(ordinal) };
  };
  return { found, free };
}

function matchTwins<Row extends PairableRow>(
  twins: readonly IdentifiedEvent[],
  found: readonly Ordinal<Row>[],
  { isEqual, isExpected, isWhole }: PairingRules<Row> & { isWhole: boolean },
): Pairing<Row> {
  const pairs: Pair<Row>[] = [];
  const left = [...found];
  /** Takes the first row for each event; returns the events that have none. */
  const take = (
    events: readonly IdentifiedEvent[],
    isRowOf: (event: IdentifiedEvent, row: Row) => boolean,
    isUpdate: boolean,
  ) =>
    events.filter((twin) => {
      const at = left.findIndex(({ row }) => isRowOf({ ...twin, eventId: row.eventId }, row));
      if (at === -1) return true;
      const [{ ordinal, row }] = left.splice(at, 1) as [Ordinal<Row>];
      // A part of a group does not show which of the stored events changed.
      if (isWhole || !isUpdate) pairs.push({ event: { ...twin, ordinal, eventId: row.eventId }, row });
      return false;
    });
  const other = take(
    take(twins, (event, row) => isExpected(row) && isEqual(event, row), false),
    isEqual,
    false,
  );
  const unexpected = take(other, (_event, row) => isExpected(row), true);
  const fresh = take(unexpected, ({ event }, row) => event.userName === row.content.userName, true);
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
