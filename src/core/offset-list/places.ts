/**
 * The order of a page's rows: the place of each row in time, and the tie groups.
 */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { placeOfTicks } from '../place.ts';
import { BEFORE_ALL, formatTicks } from '../ticks.ts';
import type { Page } from './page.ts';

/** A page whose rows have places. */
export interface PlacedPage {
  readonly page: Page;
  /** Offset of the first row in `rows`. */
  readonly skip: number;
  readonly rows: readonly SourceRow[];
  /** The place of each row in `rows`. */
  readonly places: readonly bigint[];
  /** Rows without a place: unreadable rows before the first readable one. */
  readonly unplaced: readonly SourceRow[];
}

/**
 * A row without readable `createdOn` has the place of the row before it. At the start of the list it has the place of the first
 * readable row; at the start of any other page it has none.
 */
export function placeRows(page: Page): PlacedPage {
  const first = page.rows.findIndex((row) => row.ticks !== undefined);
  if (first === -1) {
    return { page, skip: page.skip + page.rows.length, rows: [], places: [], unplaced: page.rows };
  }
  const dropped = page.skip === 0 ? 0 : first;
  const rows = dropped === 0 ? page.rows : page.rows.slice(dropped);
  const places = placesFrom(rows, placeOfTicks(page.rows[first]!.ticks!));
  return { page, skip: page.skip + dropped, rows, places, unplaced: page.rows.slice(0, dropped) };
}

/** The places of rows that continue a group at `start`. */
export function placesFrom(rows: readonly SourceRow[], start: bigint): bigint[] {
  let place = start;
  return rows.map(({ ticks }) => {
    if (ticks !== undefined) place = placeOfTicks(ticks);
    return place;
  });
}

/** Rows of one place. */
export interface TieGroup {
  place: bigint;
  rows: SourceRow[];
}

/** Rows of a group that may be incomplete, or without a place. */
export interface PartialGroup {
  place: bigint | undefined;
  rows: readonly SourceRow[];
}

/** The tie groups among the rows from index `from` to before `to`. */
export function groupTies(
  rows: readonly SourceRow[],
  places: readonly bigint[],
  from: number,
  to: number,
): TieGroup[] {
  const groups: TieGroup[] = [];
  let group: TieGroup | undefined;
  for (let i = from; i < to; i++) {
    if (group && places[i] === group.place) group.rows.push(rows[i]!);
    else {
      group = { place: places[i]!, rows: [rows[i]!] };
      groups.push(group);
    }
  }
  return groups;
}

/** Ticks of the oldest row that the source still has, if this page shows it. */
export function headOf({ page, rows, places }: PlacedPage): bigint | undefined {
  if (page.skip !== 0 || rows.length === 0) return undefined;
  let head: bigint | undefined;
  for (let i = 0; i < rows.length && places[i] === places[0]; i++) {
    const { ticks } = rows[i]!;
    if (ticks !== undefined && (head === undefined || ticks < head)) head = ticks;
  }
  return head;
}

/** Throws `source-invalid` if a row of an earlier millisecond follows. `advice` is appended to the message. */
export function assertAscending(page: Page, advice: string): void {
  let newest = BEFORE_ALL;
  for (const { ticks } of page.rows) {
    if (ticks === undefined) continue;
    if (ticks < newest && placeOfTicks(ticks) < placeOfTicks(newest)) {
      throw new ExportError(
        'source-invalid',
        `The list is not sorted by time: in the page at offset ${page.skip}, ${formatTicks(ticks)} follows ` +
          `${formatTicks(newest)}. No row of this page was stored. ${advice}`,
      );
    }
    if (ticks > newest) newest = ticks;
  }
}
