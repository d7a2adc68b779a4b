/** What the frontier rule requests next: the rows after a trusted page, more rows of a large group, or a check of the end. */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import type { FrontierState } from './frontier.ts';
import { endOf, isBelowLimit, isSameEnd, mayBeEnd } from './list-end.ts';
import type { Page } from './page.ts';
import type { PlacedPage, TieGroup } from './places.ts';
import { stepForward } from './search.ts';
import { addEarlierRows, type Chain, isSameRow, startChain } from './tie-chain.ts';

/** A tie group that fills a page is requested again with a larger `top`, up to this many page sizes. */
export const MAX_TOP_IN_PAGES = 16;
/** After this many requests that returned one row, and never more, the server sends one row at a time. */
const MAX_SINGLE_ROWS = 6;
/** After this many unconfirmed ends in a row, a page is read on as if the list did not end. */
const MAX_FAILED_ENDS = 2;

/** The state of a search, and what failed, before anything did. It applies again when the frontier moves. */
export const NOTHING_FAILED = {
  before: undefined,
  beyond: undefined,
  stride: 0,
  brokenChains: 0,
  failedEnds: 0,
  isUnsteady: false,
} as const;

/** The rows of a page that may be taken. */
export interface TrustedRows {
  rows: readonly SourceRow[];
  places: readonly bigint[];
  /** Index of the first row of the last tie group. */
  complete: number;
  chain: Chain | undefined;
  /** Whether the page advanced the frontier. */
  hasMoved: boolean;
}

/** The state after a trusted page that is not the end. */
export function nextState(state: FrontierState, placed: PlacedPage, trusted: TrustedRows): FrontierState {
  const { rows, places, complete, chain, hasMoved } = trusted;
  const { page } = placed;
  const last = places.at(-1)!;
  const isAtFrontier = last >= state.frontier;
  const shownNow = { place: last, rows: rows.slice(complete) };
  const group = mergeGroups(state.shown, shownNow);
  const settled = {
    ...state,
    frontier: later(state.frontier, last),
    known: isAtFrontier ? rows.slice(0, complete) : [],
    shown: isAtFrontier ? group : state.shown,
    expectedEnd: undefined,
    ...(hasMoved && NOTHING_FAILED),
    fruitless: hasMoved || chain ? 0 : state.fruitless + 1,
  };
  if (hasChanged(state.shown, shownNow)) settled.isUnsteady = true;
  const proof = page.rows.length - (rows.length - lastReadable(rows, complete));
  // No row of a short page can begin the next request: the end is more likely than a group that is larger than a page.
  const isAlone = chain === undefined && isBelowLimit(page) && proof <= 0;
  const isEndLikely = (mayBeEnd(page, state.largest) || isAlone) && state.failedEnds < MAX_FAILED_ENDS;
  if (!isEndLikely) return nextRequest(settled, placed, trusted);
  const end = endOf(page);
  const expected = { end, lastRow: rows.at(-1)! };
  const isRepeated = state.expectedEnd !== undefined && isSameEnd(state.expectedEnd, page);
  const skip = Math.max(page.skip + 1, page.skip + proof + 1 - state.margin);
  // A response with fewer rows than the server has sent proves the end.
  const isEnough = !isRepeated && proof > 0 && end - skip < state.largest && !(chain && last === chain.place);
  if (isEnough) return { ...nextRequest(settled, placed, trusted), expectedEnd: expected };
  const read = chain?.place === last ? chain : undefined;
  const check = { group, read, skip: page.skip, top: state.top, chain: state.chain };
  const lastRow = state.largest === 1 ? end : end - 1;
  return {
    ...settled,
    chain: undefined,
    skip: lastRow,
    top: state.pageSize,
    expectedEnd: { ...expected, check },
  };
}

/** Whether a page shows the rows of a group in another order than earlier pages, or others. */
function hasChanged(earlier: TieGroup | undefined, { place, rows }: TieGroup): boolean {
  if (earlier?.place !== place) return false;
  return rows.some((row, i) => earlier.rows[i] !== undefined && !isSameRow(row, earlier.rows[i]));
}

/** Index of the last readable row before index `end`, or -1. */
function lastReadable(rows: readonly SourceRow[], end: number): number {
  for (let i = end - 1; i >= 0; i--) if (rows[i]!.ticks !== undefined) return i;
  return -1;
}

function nextRequest(state: FrontierState, placed: PlacedPage, trusted: TrustedRows): FrontierState {
  const { rows, places, complete, chain, hasMoved } = trusted;
  const { page } = placed;
  const last = places.at(-1)!;
  if (chain && last === chain.place) return extendChain(state, page, trusted);
  if (last < state.frontier) {
    const next = stepForward(state, page);
    return next.skip > page.skip ? next : enlarge(state, page, trusted);
  }
  const proof = lastReadable(rows, complete);
  const proven = proof === -1 ? 0 : page.skip + page.rows.length - (rows.length - proof);
  if (proven <= page.skip) return enlarge(state, page, trusted);
  const skip = Math.max(page.skip + 1, proven + 1 - state.margin);
  const margin = Math.max(1, state.margin - 1);
  const top = hasMoved ? state.pageSize : state.top;
  return { ...state, skip, top, margin, chain: undefined };
}

/** The page contains too little of its last tie group: requests more rows or, at the limit, pages through the group. */
function enlarge(state: FrontierState, page: Page, trusted: TrustedRows): FrontierState {
  // A prefetched page may be one of an earlier, smaller page size.
  const isSmaller = page.top < state.top;
  const top = isSmaller ? state.top : state.top * 2;
  const isCapped = page.rows.length < Math.min(page.top, state.top);
  if (isCapped || top > state.pageSize * MAX_TOP_IN_PAGES) return extendChain(state, page, trusted);
  return { ...state, skip: page.skip, top, chain: undefined };
}

function extendChain(
  state: FrontierState,
  page: Page,
  { rows, places, complete }: TrustedRows,
): FrontierState {
  // A list of one row may have changed before its end was confirmed.
  const isCertain = state.largest < 2 && state.fruitless >= MAX_SINGLE_ROWS;
  if (page.rows.length < 2 && !isCertain)
    return { ...state, skip: page.skip, chain: undefined, failedEnds: 0 };
  if (page.rows.length < 2) {
    throw new ExportError(
      'source-invalid',
      `The source returned one row for a request of ${page.top} rows at offset ${page.skip} of ${page.totalCount}. ` +
        'Reading a changing list requires at least two rows in each page.',
    );
  }
  const place = places.at(-1)!;
  const group = place < state.frontier ? [] : rows.slice(complete);
  const chain = startChain(place, group, page);
  return { ...state, skip: chain.skip, chain };
}

/** `earlier` and `group`, if they are one group: each row as often as it was shown at once, in its latest form. */
export function mergeGroups(earlier: TieGroup | undefined, group: TieGroup): TieGroup {
  if (earlier?.place !== group.place) return group;
  return { place: group.place, rows: addEarlierRows(group.rows, earlier.rows) };
}

export function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
