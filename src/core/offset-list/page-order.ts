/** What a page's rows say of their order: the place of each, and the tie groups they make. */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { BEFORE_ALL, formatTicks } from '../ticks.ts';
import type { Page } from './page.ts';

export function placesOf(rows: readonly SourceRow[], start = BEFORE_ALL): bigint[] {
  let place = start;
  return rows.map((row) => {
    place = row.ticks ?? place;
    return place;
  });
}

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

export function headOf(page: Page): bigint | undefined {
  return page.skip === 0 ? page.rows.find((row) => row.ticks !== undefined)?.ticks : undefined;
}

/** Throws `source-invalid` where an older row follows a newer one; `advice` ends the message. */
export function assertAscending(page: Page, advice: string): void {
  let newest = BEFORE_ALL;
  for (const { ticks } of page.rows) {
    if (ticks === undefined) continue;
    if (ticks < newest) {
      throw new ExportError(
        'source-invalid',
        `The list is not in order of time: in the page at offset ${page.skip}, ${formatTicks(ticks)} follows ` +
          `${formatTicks(newest)}. Nothing of this page was stored. ${advice}`,
      );
    }
    newest = ticks;
  }
}
