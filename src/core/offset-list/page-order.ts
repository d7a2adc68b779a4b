/** The order of a page's rows: the position of each in time, and the tie groups. */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { BEFORE_ALL, formatTicks } from '../ticks.ts';
import type { Page } from './page.ts';

/** The ticks of each row. A row without readable `createdOn` has those of the row before it. */
export function placesOf(rows: readonly SourceRow[], start = BEFORE_ALL): bigint[] {
  let place = start;
  return rows.map((row) => {
    place = row.ticks ?? place;
    return place;
  });
}

/** The tie groups at or after the frontier among the first `end` rows. */
export function groupTies(
  rows: readonly SourceRow[],
  places: readonly bigint[],
  end: number,
  frontier: bigint,
): SourceRow[][] {
  const groups: SourceRow[][] = [];
  for (let i = 0; i < end; i++) {
    if (places[i]! < frontier) continue;
    const continues = groups.length > 0 && places[i] === places[i - 1];
    if (continues) groups.at(-1)!.push(rows[i]!);
    else groups.push([rows[i]!]);
  }
  return groups;
}

/** The ticks of the oldest row that the source still has, if this page shows it. */
export function headOf(page: Page): bigint | undefined {
  return page.skip === 0 ? page.rows.find((row) => row.ticks !== undefined)?.ticks : undefined;
}

/** Throws `source-invalid` if an older row follows a newer one. `advice` is appended to the message. */
export function assertAscending(page: Page, advice: string): void {
  let newest = BEFORE_ALL;
  for (const { ticks } of page.rows) {
    if (ticks === undefined) continue;
    if (ticks < newest) {
      throw new ExportError(
        'source-invalid',
        `The list is not sorted by time: in the page at offset ${page.skip}, ${formatTicks(ticks)} follows ` +
          `${formatTicks(newest)}. No row of this page was stored. ${advice}`,
      );
    }
    newest = ticks;
  }
}
