/**
 * The end of the list. `totalCount` is never believed: a page proves the end if it begins with a known row and holds fewer rows than
 * the server has already sent in one response. If it does not, or if `totalCount` claims more, the list is requested once more from a
 * row near the end; for the last row alone the response must show exactly that row.
 */
import type { SourceRow } from '../event.ts';
import type { Page } from './page.ts';
import type { TieGroup } from './places.ts';
import { type Chain, isSameRow } from './tie-chain.ts';

/** An end that the next page must confirm. */
export interface ExpectedEnd {
  /** The offset behind the last row. */
  end: number;
  lastRow: SourceRow;
  /** Set if the next request is for the last row alone. */
  check?: LastRowCheck;
}

export interface LastRowCheck {
  /** The last tie group, complete if the list ends. */
  group: TieGroup;
  /** The chain that the group was read with, if any. */
  read: Chain | undefined;
  /** The state after a check that failed. */
  skip: number;
  top: number;
  chain: Chain | undefined;
}

/** The offset behind the last row of the page. */
export function endOf({ skip, rows }: Page): number {
  return skip + rows.length;
}

/** Whether no row may follow: the server sent fewer rows than it can, or reports no more. */
export function mayBeEnd(page: Page, largest: number): boolean {
  return endOf(page) >= page.totalCount || isShort(page, largest);
}

/** Whether no row follows. The page begins with a known row. `largest`: the most rows that the server has sent at once. */
export function provesEnd(
  page: Page,
  { largest, expectedEnd }: { largest: number; expectedEnd: ExpectedEnd | undefined },
): boolean {
  const isRepeated = expectedEnd !== undefined && isSameEnd(expectedEnd, page);
  return isShort(page, largest) && (endOf(page) >= page.totalCount || isRepeated);
}

function isShort(page: Page, largest: number): boolean {
  return page.rows.length < largest && isBelowLimit(page);
}

/** Whether the server sent fewer rows than requested. */
export function isBelowLimit({ rows, limit, top }: Page): boolean {
  return rows.length < (limit ?? top);
}

export function isSameEnd({ end, lastRow }: ExpectedEnd, page: Page): boolean {
  const last = page.rows.at(-1);
  return last !== undefined && endOf(page) === end && isSameRow(last, lastRow);
}

/**
 * Whether the response to the request for the last row shows that nothing follows. A server that sends one row at a time would show
 * exactly the last row anywhere, so that the row after it is requested there.
 */
export function confirmsEnd({ end, lastRow }: ExpectedEnd, page: Page): boolean {
  if (page.skip === end) return page.rows.length === 0;
  return page.rows.length === 1 && page.skip === end - 1 && isSameRow(page.rows[0]!, lastRow);
}

/** Whether the response to that request shows another row in the place of the last one: the list has changed. */
export function isMoved({ end, lastRow }: ExpectedEnd, page: Page): boolean {
  const row = page.skip === end - 1 ? page.rows[0] : undefined;
  return row !== undefined && !isSameRow(row, lastRow);
}
