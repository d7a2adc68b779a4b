/** Which rows a page shows: the complete tie groups of a span, and other rows. */
import type { SourceRow } from '../event.ts';
import { afterPlace } from '../place.ts';
import type { FrontierState, PageResult } from './frontier.ts';
import type { TrustedRows } from './next-request.ts';
import { groupTies, type PartialGroup, type PlacedPage, type TieGroup } from './places.ts';
import { addEarlierRows, isSameRow } from './tie-chain.ts';

/** The complete groups of a page that is not read for its frontier, and its other rows. */
export function lookAt(
  placed: PlacedPage,
  { isEnd = false } = {},
): Pick<PageResult, 'span' | 'groups' | 'others'> {
  const { page, rows, places } = placed;
  const unplaced = unplacedOf(placed);
  if (rows.length === 0) return { span: undefined, groups: [], others: unplaced };
  const last = places.at(-1)!;
  const end = isEnd ? rows.length : places.indexOf(last);
  const isFirstComplete = page.skip === 0;
  const start = isFirstComplete ? 0 : places.lastIndexOf(places[0]!) + 1;
  const others = [
    ...unplaced,
    ...groupTies(rows, places, 0, start),
    ...groupTies(rows, places, Math.max(start, end), rows.length),
  ];
  const from = isFirstComplete ? places[0]! : afterPlace(places[0]!);
  const to = isEnd ? undefined : last;
  if (to !== undefined && from >= to) return { span: undefined, groups: [], others };
  return { span: { from, to }, groups: groupTies(rows, places, start, end), others };
}

/** The groups that a trusted page shows completely, with rows that an earlier page showed of the first one. */
export function takeGroups(
  { frontier, until, known, shown }: FrontierState,
  placed: PlacedPage,
  { rows, places, complete, chain, isEnd }: TrustedRows & { isEnd: boolean },
): Pick<PageResult, 'span' | 'groups' | 'others'> {
  const { page } = placed;
  const last = places.at(-1)!;
  const first = places.findIndex((place) => place >= frontier);
  const isContiguous =
    chain !== undefined || endsWith(known, rows.slice(0, first === -1 ? rows.length : first));
  // The first group of a page may have begun before it.
  const isWhole = page.skip === 0;
  const beforeSpan = isWhole ? 0 : places.lastIndexOf(places[0]!) + 1;
  const start = isContiguous ? (first === -1 ? rows.length : first) : beforeSpan;
  const from = isContiguous ? frontier : isWhole ? places[0]! : afterPlace(places[0]!);
  const isShownNext = !isEnd && last >= frontier;
  const stop = until === undefined ? -1 : places.findIndex((place) => place >= until);
  const end = Math.min(isEnd ? rows.length : complete, stop === -1 ? rows.length : stop);
  const to = stop !== -1 ? until : isEnd ? undefined : last;
  const others = [
    ...unplacedOf(placed),
    ...(isContiguous || isWhole ? [] : groupTies(rows, places, 0, start)),
    ...(isShownNext || chain || stop !== -1
      ? []
      : groupTies(rows, places, Math.max(start, end), rows.length)),
  ];
  const span = to === undefined || to > from ? { from, to } : undefined;
  const earlier = shown && shown.place >= from && (to === undefined || shown.place < to) ? shown : undefined;
  if (!span) return { span, groups: [], others };
  return { span, groups: withShown(groupTies(rows, places, start, end), earlier), others };
}

function unplacedOf({ unplaced }: PlacedPage): PartialGroup[] {
  return unplaced.length === 0 ? [] : [{ place: undefined, rows: unplaced }];
}

/** Whether the rows are the last ones of `known`. */
function endsWith(known: readonly SourceRow[], rows: readonly SourceRow[]): boolean {
  const offset = known.length - rows.length;
  return rows.length > 0 && offset >= 0 && rows.every((row, i) => isSameRow(row, known[offset + i]!));
}

/** Adds the rows that an earlier page showed in this group and that are deleted since. */
function withShown(groups: TieGroup[], shown: TieGroup | undefined): TieGroup[] {
  if (!shown) return groups;
  const found = groups.find(({ place }) => place === shown.place);
  if (!found) return [shown, ...groups].sort((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0));
  if (found.rows.length < shown.rows.length || shown.rows.some((row, i) => row !== found.rows[i])) {
    found.rows = addEarlierRows(found.rows, shown.rows);
  }
  return groups;
}
