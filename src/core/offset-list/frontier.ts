/**
 * The frontier rule: which rows of a page may be taken from a list that changes between two requests.
 *
 * - The frontier is the place before which every row is taken. Places and tie groups: `places.ts`.
 * - A page is trusted if it starts at offset 0 or its first row is strictly older than the frontier: the list is sorted, so
 *   no row at or after the frontier can be before the page.
 * - From a trusted page every complete tie group at or after the frontier is taken. A tie group is complete if a newer row
 *   follows it in the same page or the page reaches the end of the list (`list-end.ts`). The frontier then moves to the place of
 *   the first row not taken.
 * - Offsets are only hints: a wrong one costs requests, never rows.
 * - Trust never depends on an earlier page, with one exception: `tie-chain.ts`.
 * - Every row that a page shows is in its result, also those of an untrusted page: it may be deleted before the next request.
 */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { afterPlace, placeOfTicks } from '../place.ts';
import { BEFORE_ALL } from '../ticks.ts';
import { confirmsEnd, type ExpectedEnd, endOf, isMoved, type LastRowCheck, provesEnd } from './list-end.ts';
import { later, MAX_TOP_IN_PAGES, mergeGroups, NOTHING_FAILED, nextState } from './next-request.ts';
import type { Page } from './page.ts';
import { lookAt, takeGroups } from './page-rows.ts';
import {
  headOf,
  type PartialGroup,
  type PlacedPage,
  placeRows,
  placesFrom,
  type TieGroup,
} from './places.ts';
import { maxMarginOf, stepBack } from './search.ts';
import { type Chain, continueChain } from './tie-chain.ts';

/** After more requests than this that do not advance the frontier, the source contradicts itself. */
const MAX_FRUITLESS_REQUESTS = 300;
/** An empty response is requested again this often. */
const MAX_EMPTY_RESPONSES = 3;

export interface FrontierState {
  /** Every row older than this is taken. A place. */
  readonly frontier: bigint;
  /** Exclusive end, a place: rows at or after this are not read. */
  readonly until: bigint | undefined;
  readonly pageSize: number;
  /** The most rows that the server has sent in one response: fewer may be the end of the list. */
  readonly largest: number;
  /** The next request. */
  readonly skip: number;
  readonly top: number;
  /** While searching for the frontier: the last offset known to be before it, and the last one known to be too far. */
  readonly before: number | undefined;
  readonly beyond: number | undefined;
  /** Length of the next search step; doubles until rows are taken. */
  readonly stride: number;
  /**
   * How many rows before the first row not taken the next request starts: 1 if the list does not change. Doubles after each
   * untrusted page and decreases by one after each trusted page, so that it follows the rate of change.
   */
  readonly margin: number;
  readonly chain: Chain | undefined;
  /** The rows before the frontier that the last page showed. The same rows on the next page are known. */
  readonly known: readonly SourceRow[];
  /** The group at the frontier as far as a page has shown it. */
  readonly shown: TieGroup | undefined;
  /** The end that the next page must confirm. */
  readonly expectedEnd: ExpectedEnd | undefined;
  /** The newest group seen, and the offset of its first row. */
  readonly newest: NewestGroup | undefined;
  /** Broken chains, and requests without progress, since the frontier last moved. */
  readonly brokenChains: number;
  readonly fruitless: number;
  /** Ends that the next page did not confirm, since the frontier last moved. */
  readonly failedEnds: number;
  /** A row was not where an earlier page had shown it, since the frontier last moved. */
  readonly isUnsteady: boolean;
}

export interface NewestGroup {
  place: bigint;
  /** `undefined` if no page showed the row before it. */
  offset: number | undefined;
  /** Whether pages had to be joined to read the group. */
  isChained: boolean;
  /** The page that showed its first row. */
  page: Page;
}

/** Places that a page shows completely: from `from` to before `to`; without `to`, to the end of the list and beyond. */
export interface Span {
  from: bigint;
  to: bigint | undefined;
}

/** The result of evaluating a page. */
export interface PageResult {
  state: FrontierState;
  /** The places that the page shows completely; `undefined` if there are none. */
  span: Span | undefined;
  /** The tie groups in the span, in order. Every row in them must be stored. */
  groups: TieGroup[];
  /** Other rows that the page shows: of groups that may be incomplete, or without a place. They must be stored, too. */
  others: PartialGroup[];
  /** Whether everything is read. */
  isDone: boolean;
  /** The list has no rows. */
  isEmpty: boolean;
  /** The list begins with too many unreadable rows: the read ends before its end. */
  isUnreadable: boolean;
  /** Ticks of the oldest row that the source still has, if this page shows it. */
  head: bigint | undefined;
  /** The tie group that was taken but may be incomplete, if any. */
  unproven: bigint | undefined;
  /** Warnings for a person about these rows. */
  warnings: string[];
}

/** The initial state. Omit `frontier` for a first run. `skip` is a guess of the frontier's offset. */
export function startFrontier(options: {
  frontier?: bigint | undefined;
  until?: bigint | undefined;
  skip?: number;
  pageSize: number;
  largest?: number;
}): FrontierState {
  const { frontier = BEFORE_ALL, until, skip = 0, pageSize, largest = 0 } = options;
  return {
    frontier: frontier === BEFORE_ALL ? BEFORE_ALL : placeOfTicks(frontier),
    until: until === undefined || placeOfTicks(until) === until ? until : afterPlace(placeOfTicks(until)),
    pageSize,
    largest,
    skip: frontier === BEFORE_ALL ? 0 : Math.max(0, skip),
    top: pageSize,
    margin: 1,
    known: [],
    shown: undefined,
    newest: undefined,
    ...NOT_LOCATING,
  };
}

/** The state with another page size. A request for more rows than usual stays one. */
export function withPageSize(state: FrontierState, pageSize: number): FrontierState {
  if (pageSize === state.pageSize) return state;
  return {
    ...state,
    pageSize,
    top: state.top === state.pageSize ? pageSize : state.top,
    margin: Math.min(state.margin, maxMarginOf(pageSize)),
  };
}

const NOT_LOCATING = { ...NOTHING_FAILED, chain: undefined, expectedEnd: undefined, fruitless: 0 } as const;

const NOTHING = {
  span: undefined,
  groups: [],
  others: [],
  isDone: false,
  isEmpty: false,
  isUnreadable: false,
  head: undefined,
  unproven: undefined,
  warnings: [],
} as const satisfies Omit<PageResult, 'state'>;

/**
 * Decides which rows of a page to take and what to request next. The page's rows must be in ascending order. It is usually the
 * one at `state.skip` with `state.top` rows, but the result is correct for any page.
 * Throws `source-away` if the source contradicts itself for too long.
 */
export function evaluatePage(before: FrontierState, page: Page): PageResult {
  return keepShown(before, evaluate(before, page));
}

/** Adds the rows that earlier pages showed of the group at the frontier, if this page neither takes nor shows that group. */
function keepShown({ shown, until }: FrontierState, result: PageResult): PageResult {
  if (!shown) return result;
  const { state, groups, isDone, isUnreadable } = result;
  const { place } = shown;
  // The list ends: no row of this group is left to be read.
  const isRead = isDone && !isUnreadable && (until === undefined || place < until);
  const frontier = isRead ? later(state.frontier, afterPlace(place)) : state.frontier;
  const isKept = state.shown?.place === place || groups.some((group) => group.place === place);
  const others = isKept ? result.others : [...result.others, shown];
  return { ...result, others, state: { ...state, frontier } };
}

function evaluate(before: FrontierState, page: Page): PageResult {
  const state = { ...before, largest: Math.max(before.largest, page.rows.length) };
  if (state.fruitless + state.brokenChains > MAX_FRUITLESS_REQUESTS) throw contradiction(state, page);
  const { expectedEnd } = state;
  if (expectedEnd?.check && confirmsEnd(expectedEnd, page)) {
    return takeLastGroup(state, expectedEnd.check, { page, end: expectedEnd.end });
  }
  if (page.rows.length === 0) return evaluateEmptyPage(state, page);
  if (!expectedEnd?.check) return evaluatePlaced(state, placeRows(page));
  const { skip, top, chain } = expectedEnd.check;
  const failedEnds = state.failedEnds + 1;
  const isUnsteady = state.isUnsteady || isMoved(expectedEnd, page);
  const next = { ...state, skip, top, chain, expectedEnd: undefined, failedEnds, isUnsteady };
  return lookOnly(placeRows(page), next);
}

function evaluatePlaced(state: FrontierState, placed: PlacedPage): PageResult {
  const { page, places } = placed;
  if (state.chain) {
    const { chain } = state;
    const continued = continueChain(chain, page, state);
    if (continued) return takeRows(state, placed, { ...continued, place: chain.place });
    const shown = mergeGroups(state.shown, { place: chain.place, rows: [...chain.rows] });
    const brokenChains = state.brokenChains + 1;
    const broken = { chain: undefined, known: [], brokenChains, isUnsteady: true };
    return evaluatePlaced({ ...state, shown, ...broken }, placed);
  }
  if (places.length === 0) return evaluateUnreadablePage(state, placed);
  const isTrusted = page.skip === 0 || places[0]! < state.frontier;
  return isTrusted ? takeRows(state, placed, undefined) : lookOnly(placed, stepBack(state, page.skip, page));
}

/** The result of a page that does not move the frontier. */
function lookOnly(placed: PlacedPage, next: FrontierState): PageResult {
  const { span, groups, others } = lookAt(placed);
  const state = { ...next, known: [], expectedEnd: undefined, fruitless: next.fruitless + 1 };
  return { ...NOTHING, span, groups, others, head: headOf(placed), state };
}

function evaluateEmptyPage(state: FrontierState, page: Page): PageResult {
  const next = { ...state, known: [], fruitless: state.fruitless + 1 };
  // A temporary fault is more likely than a list that shrank this much.
  const isExpected = page.totalCount <= page.skip;
  if (!isExpected && state.fruitless < MAX_EMPTY_RESPONSES) return { ...NOTHING, state: next };
  if (page.skip > 0) {
    const from = Math.min(page.skip, Math.max(1, page.totalCount));
    return { ...NOTHING, state: stepBack({ ...next, expectedEnd: undefined }, from, page) };
  }
  const warnings = isExpected ? [] : [describeTotal(page, 0)];
  return { ...NOTHING, state: { ...next, shown: undefined }, isDone: true, isEmpty: true, warnings };
}

/** No row of the page has a readable time: it decides nothing. */
function evaluateUnreadablePage(state: FrontierState, placed: PlacedPage): PageResult {
  const { page } = placed;
  if (page.skip > 0) return lookOnly(placed, stepBack(state, page.skip, page));
  const top = state.top * 2;
  const mayShowMore =
    page.rows.length >= Math.min(page.top, state.top) && top <= state.pageSize * MAX_TOP_IN_PAGES;
  if (mayShowMore) return lookOnly(placed, { ...state, top });
  const looked = lookOnly(placed, { ...state, shown: undefined, newest: undefined });
  return { ...looked, isDone: true, isUnreadable: true };
}

/** Takes the rows of a trusted page. `chain` contains the rows of the group that the page continues, and the page's own rows. */
function takeRows(state: FrontierState, placed: PlacedPage, chain: Chain | undefined): PageResult {
  const { page } = placed;
  const rows = chain?.rows ?? placed.rows;
  const places = chain ? placesFrom(rows, chain.place) : placed.places;
  const last = places.at(-1)!;
  const complete = places.indexOf(last);
  const newest = newestOf(state, placed, { last, isChained: chain?.place === last });
  const isPastEnd = state.until !== undefined && last >= state.until;
  const isKnown = chain !== undefined || places[0]! < state.frontier;
  const isEnd = !isPastEnd && isKnown && provesEnd(page, state);
  const trusted = { rows, places, complete, chain, hasMoved: last > state.frontier };
  const taken = takeGroups(state, placed, { ...trusted, isEnd });
  const isChainTaken = chain !== undefined && taken.groups.some(({ place }) => place === chain.place);
  const result = {
    ...NOTHING,
    ...taken,
    head: headOf(placed),
    warnings: isChainTaken ? [chain.warning] : [],
    unproven: isChainTaken && !chain.isProven ? chain.place : undefined,
  };
  if (isEnd || isPastEnd) {
    const stop = isEnd ? rows.length : places.findIndex((place) => place >= state.until!);
    const skip = endOf(page) - (rows.length - stop);
    const frontier = later(state.frontier, isEnd ? afterPlace(last) : state.until!);
    const warnings = isEnd ? [...result.warnings, ...checkTotal(page, endOf(page))] : result.warnings;
    const ended = { ...state, ...NOT_LOCATING, newest, shown: undefined, known: [], frontier, skip };
    return { ...result, warnings, isDone: true, state: ended };
  }
  const next = nextState(state, placed, trusted);
  return { ...result, state: { ...next, newest } };
}

/** The last row is the end of the list: its group is complete. */
function takeLastGroup(
  state: FrontierState,
  { group, read }: LastRowCheck,
  { page, end }: { page: Page; end: number },
): PageResult {
  const isTaken = state.until === undefined || group.place < state.until;
  return {
    ...NOTHING,
    groups: isTaken ? [group] : [],
    span: isTaken ? { from: group.place, to: undefined } : undefined,
    warnings: [...(read ? [read.warning] : []), ...checkTotal(page, end)],
    unproven: read && !read.isProven ? read.place : undefined,
    isDone: true,
    state: {
      ...state,
      ...NOT_LOCATING,
      shown: undefined,
      known: [],
      frontier: later(state.frontier, afterPlace(group.place)),
      skip: end,
    },
  };
}

/** The newest group, with its offset if the page shows where it starts. */
function newestOf(
  { newest }: FrontierState,
  { page, skip, places }: PlacedPage,
  { last, isChained }: { last: bigint; isChained: boolean },
): NewestGroup | undefined {
  const at = places.indexOf(last);
  if (!isChained && (at > 0 || page.skip === 0))
    return { place: last, offset: skip + at, isChained: false, page };
  if (newest?.place === last) return { ...newest, isChained: newest.isChained || isChained };
  return { place: last, offset: undefined, isChained, page };
}

function checkTotal(page: Page, end: number): string[] {
  return page.totalCount !== end ? [describeTotal(page, end)] : [];
}

function describeTotal({ totalCount }: Page, end: number): string {
  return `The source reported totalCount ${totalCount}, but its list ends after ${end} rows. The count is not used.`;
}

function contradiction(state: FrontierState, page: Page): ExportError {
  return new ExportError(
    'source-away',
    `The source contradicts itself: at offset ${page.skip} it returned ${page.rows.length} rows and a total of ` +
      `${page.totalCount}, and ${state.fruitless} requests made no progress. Committed data is kept; run again later.`,
  );
}
