/**
 * Finds re-renderings: after an upgrade, the source may write `auditLogDetails` differently (line ends, order of members, white space).
 * The identity of each event changes then, and the event arrives again while the stored row is no longer shown.
 *
 * - An arrival can replace a row only if ticks, category, action, source and user are equal and the details say the same
 *   (`same-details.ts`). `detailsVersion` may differ: an upgrade that writes details differently may count it up.
 * - As many rows are replaced as events arrive, first those of equal content. Rows that are left over may be gone, events that are left over
 *   are late: the rank rule decides.
 * - Rows that the source should show are replaced before suspected ones, and these before gone ones.
 */
import type { AuditEvent } from './event.ts';
import { canonicalDetails } from './same-details.ts';

/** The fields of an event that decide. */
export type Rendering = Pick<
  AuditEvent,
  | 'createdOnTicks'
  | 'category'
  | 'action'
  | 'source'
  | 'userName'
  | 'auditLogDetails'
  | 'detailsVersion'
  | 'email'
  | 'message'
>;

/** A stored row that the source does not show, in a tie group that it shows completely. */
export interface Unshown<Row> {
  row: Row;
  rendering: Rendering;
  absence: 'suspected' | 'gone' | 'former source' | undefined;
  /** Number of the commit that stored the row. */
  batch: bigint;
}

/** An event of a complete tie group that may replace a row. */
export interface Arrival<Event> {
  event: Event;
  rendering: Rendering;
  /**
   * `undefined`: it is new, or superseded and shown again. Else it was stored by this commit, by a version that did not know re-renderings;
   * it replaces only rows of earlier commits.
   */
  batch: bigint | undefined;
}

export interface Replacement<Row, Event> {
  row: Row;
  by: Event;
}

/** Rows are replaced in this order. */
const ABSENCES: readonly (readonly Unshown<unknown>['absence'][])[] = [
  [undefined],
  ['suspected'],
  ['gone', 'former source'],
];

/** Pairs rows with the events that replace them. `arrivals` is called only if rows are not shown. */
export function findReplacements<Row, Event>(
  unshown: readonly Unshown<Row>[],
  arrivals: () => readonly Arrival<Event>[],
): Replacement<Row, Event>[] {
  if (unshown.length === 0) return [];
  const rows = groupBy(unshown, placeOf);
  const arrived = groupBy(
    arrivals().filter((arrival) => rows.has(placeOf(arrival))),
    placeOf,
  );
  return [...arrived].flatMap(([place, events]) => {
    const eventsByDetails = groupBy(events, detailsOf);
    return [...groupBy(rows.get(place)!, detailsOf)].flatMap(([details, group]) =>
      replace(group, eventsByDetails.get(details) ?? []),
    );
  });
}

/** `unshown` and `arrivals` say the same. */
function replace<Row, Event>(
  unshown: readonly Unshown<Row>[],
  arrivals: readonly Arrival<Event>[],
): Replacement<Row, Event>[] {
  const replacements: Replacement<Row, Event>[] = [];
  const left = [
    ...arrivals.filter(({ batch }) => batch === undefined),
    ...arrivals.filter(({ batch }) => batch !== undefined),
  ];
  /** Returns the rows that nothing replaces. */
  const pair = (
    rows: readonly Unshown<Row>[],
    isPossible: (row: Unshown<Row>, arrival: Arrival<Event>) => boolean,
  ) =>
    rows.filter((row) => {
      const at = left.findIndex((arrival) => canReplace(row, arrival) && isPossible(row, arrival));
      if (at === -1) return true;
      const [{ event }] = left.splice(at, 1) as [Arrival<Event>];
      replacements.push({ row: row.row, by: event });
      return false;
    });
  for (const absences of ABSENCES) {
    const rows = unshown.filter(({ absence }) => absences.includes(absence));
    pair(
      pair(rows, (row, arrival) => contentOf(row) === contentOf(arrival)),
      () => true,
    );
  }
  return replacements;
}

/** An event that is written like the row is its twin, and no other form of it. */
function canReplace(row: Unshown<unknown>, arrival: Arrival<unknown>): boolean {
  return textOf(row) !== textOf(arrival) && (arrival.batch === undefined || arrival.batch > row.batch);
}

/**
 * The events of a part of a group that are certainly no other form of one of these rows. The others may be one: the complete group decides,
 * and until then the row stands for the event.
 */
export function withoutForms<Event extends Rendered>(
  events: readonly Event[],
  rows: readonly Rendered[],
): readonly Event[] {
  if (events.length === 0 || rows.length === 0) return events;
  const rowsAt = groupBy(rows, placeOf);
  const left = new Map(
    [...groupBy(events, placeOf).keys()].map((place) => [place, groupBy(rowsAt.get(place) ?? [], detailsOf)]),
  );
  return events.filter((event) => {
    const groups = left.get(placeOf(event))!;
    const group = groups.size === 0 ? undefined : groups.get(detailsOf(event));
    const at = group?.findIndex((row) => textOf(row) !== textOf(event)) ?? -1;
    if (at !== -1) group!.splice(at, 1);
    return at === -1;
  });
}

interface Rendered {
  rendering: Rendering;
}

function placeOf({ rendering }: Rendered): string {
  const { createdOnTicks, category, action, source, userName } = rendering;
  return JSON.stringify([createdOnTicks.toString(), category, action, source, userName]);
}

function detailsOf({ rendering }: Rendered): string {
  return JSON.stringify(canonicalDetails(rendering.auditLogDetails));
}

function textOf({ rendering }: Rendered): string {
  return JSON.stringify([rendering.detailsVersion, rendering.auditLogDetails]);
}

function contentOf({ rendering }: Rendered): string {
  return JSON.stringify([rendering.email, rendering.message, rendering.detailsVersion]);
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
