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
import {
  confirmsEnd,
  type ExpectedEnd,
  endOf,
  isBelowLimit,
  isSameEnd,
  type LastRowCheck,
  mayBeEnd,
  provesEnd,
} from './list-end.ts';
import type { Page } from './page.ts';
import {
  groupTies,
  headOf,
  type PartialGroup,
  type PlacedPage,
  placeRows,
  placesFrom,
  type TieGroup,
} from './places.ts';
import { stepBack, stepForward } from './search.ts';
import { type Chain, continueChain, isSameRow, mergeByCount, startChain } from './tie-chain.ts';

/** A tie group that fills a page is requested again with a larger `top`, up to this many page sizes. */
const MAX_TOP_IN_PAGES = 16;
/** After more requests than this that do not advance the frontier, the source contradicts itself. */
const MAX_FRUITLESS_REQUESTS = 300;
/** An empty response is requested again this often. */
const MAX_EMPTY_RESPONSES = 3;
/** After this many requests that returned one row, and never more, the server sends one row at a time. */
const MAX_SINGLE_ROWS = 6;
/** After this many unconfirmed ends in a row, a page is read on as if the list did not end. */
const MAX_FAILED_ENDS = 2;

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

const NOT_LOCATING = {
  before: undefined,
  beyond: undefined,
  stride: 0,
  chain: undefined,
  expectedEnd: undefined,
  brokenChains: 0,
  fruitless: 0,
  failedEnds: 0,
} as const;

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
  return lookOnly(placeRows(page), { ...state, skip, top, chain, expectedEnd: undefined, failedEnds });
}

function evaluatePlaced(state: FrontierState, placed: PlacedPage): PageResult {
  const { page, places } = placed;
  if (state.chain) {
    const { chain } = state;
    const continued = continueChain(chain, page, state.brokenChains);
    if (continued) return takeRows(state, placed, { ...continued, place: chain.place });
    const shown = mergeGroups(state.shown, { place: chain.place, rows: [...chain.rows] });
    const brokenChains = state.brokenChains + 1;
    return evaluatePlaced({ ...state, shown, chain: undefined, known: [], brokenChains }, placed);
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

function evaluateEmptyPage(state: FrontierState, page: Page): PageResult {
  const next = { ...state, known: [], fruitless: state.fruitless + 1 };
  // A temporary fault is more likely than a list that shrank this much.
  const isExpected = page.totalCount <= page.skip;
  if (!isExpected && state.fruitless < MAX_EMPTY_RESPONSES) return { ...NOTHING, state: next };
  if (page.skip > 0) {
    const from = Math.min(page.skip, Math.max(1, page.totalCount));
    return { ...NOTHING, state: stepBack({ ...next, expectedEnd: undefined }, from, page) };
  }
  const groups = state.shown ? [state.shown] : [];
  const warnings = isExpected ? [] : [describeTotal(page, 0)];
  return { ...NOTHING, groups, state: { ...next, shown: undefined }, isDone: true, isEmpty: true, warnings };
}

/** No row of the page has a readable time: it decides nothing. */
function evaluateUnreadablePage(state: FrontierState, placed: PlacedPage): PageResult {
  const { page } = placed;
  if (page.skip > 0) return lookOnly(placed, stepBack(state, page.skip, page));
  const top = state.top * 2;
  const mayShowMore = page.rows.length >= state.top && top <= state.pageSize * MAX_TOP_IN_PAGES;
  if (mayShowMore) return lookOnly(placed, { ...state, top });
  const groups = state.shown ? [state.shown] : [];
  const looked = lookOnly(placed, { ...state, shown: undefined, newest: undefined });
  return { ...looked, groups, isDone: true, isUnreadable: true };
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

/** The groups that a trusted page shows completely, with rows that an earlier page showed of the first one. */
function takeGroups(
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
    found.rows = mergeByCount(found.rows, shown.rows);
  }
  return groups;
}

/** `earlier` and `group`, if they are one group: each row as often as it was shown at once. */
function mergeGroups(earlier: TieGroup | undefined, group: TieGroup): TieGroup {
  if (earlier?.place !== group.place) return group;
  return { place: group.place, rows: mergeByCount(group.rows, earlier.rows) };
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

interface TrustedRows {
  rows: readonly SourceRow[];
  places: readonly bigint[];
  /** Index of the first row of the last tie group. */
  complete: number;
  chain: Chain | undefined;
  /** Whether the page advanced the frontier. */
  hasMoved: boolean;
}

/** The state after a trusted page that is not the end. */
function nextState(state: FrontierState, placed: PlacedPage, trusted: TrustedRows): FrontierState {
  const { rows, places, complete, chain, hasMoved } = trusted;
  const { page } = placed;
  const last = places.at(-1)!;
  const isAtFrontier = last >= state.frontier;
  const group = mergeGroups(state.shown, { place: last, rows: rows.slice(complete) });
  const settled = {
    ...state,
    frontier: later(state.frontier, last),
    known: isAtFrontier ? rows.slice(0, complete) : [],
    shown: isAtFrontier ? group : state.shown,
    expectedEnd: undefined,
    ...(hasMoved && { before: undefined, beyond: undefined, stride: 0, brokenChains: 0, failedEnds: 0 }),
    fruitless: hasMoved || chain ? 0 : state.fruitless + 1,
  };
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
  const top = state.top * 2;
  const isCapped = page.rows.length < state.top;
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

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
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
