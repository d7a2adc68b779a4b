/**
 * The frontier rule: which rows of a page may be taken from a list that changes between two requests.
 *
 * - The frontier is the ticks before which every row is taken.
 * - A page is trusted if it starts at offset 0 or its first row is strictly older than the frontier: the list is sorted, so
 *   no row at or after the frontier can be before the page.
 * - From a trusted page every complete tie group at or after the frontier is taken. A tie group is complete if a newer row
 *   follows it in the same page or the page reaches the end of the list. The frontier then moves to the ticks of the first
 *   row not taken.
 * - Offsets are only hints: a wrong one costs requests, never rows.
 * - Trust never depends on an earlier page, with one exception: `tie-chain.ts`.
 * - A row without a readable `createdOn` has the position of the row before it.
 */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { BEFORE_ALL } from '../ticks.ts';
import type { Page } from './page.ts';
import { groupTies, headOf, placesOf } from './page-order.ts';
import { stepBack, stepForward } from './search.ts';
import { type Chain, continueChain, startChain } from './tie-chain.ts';

/** A tie group that fills a page is requested again with a larger `top`, up to this many page sizes. */
const MAX_TOP_IN_PAGES = 16;
/** After more requests than this that do not advance the frontier, the source contradicts itself. */
const MAX_FRUITLESS_REQUESTS = 300;

export interface FrontierState {
  /** Every row older than this is taken. */
  readonly frontier: bigint;
  /** Exclusive end: rows at or after this are not read. */
  readonly until: bigint | undefined;
  readonly pageSize: number;
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
  /** Broken chains, and requests without progress, since the frontier last moved. */
  readonly brokenChains: number;
  readonly fruitless: number;
}

/** The result of evaluating a page. */
export interface PageResult {
  state: FrontierState;
  /** Complete tie groups in order. Every row in them must be stored. */
  groups: SourceRow[][];
  /** Whether everything is read. */
  isDone: boolean;
  /** Ticks of the oldest row that the source still has, if this page shows it. */
  head: bigint | undefined;
  /** The tie group that was taken but may be incomplete, if any. */
  unproven: bigint | undefined;
  /** A warning for a person about these rows, if any. */
  warning: string | undefined;
}

/** The initial state. Omit `frontier` for a first run. `skip` is a guess of the frontier's offset. */
export function startFrontier(options: {
  frontier?: bigint | undefined;
  until?: bigint | undefined;
  skip?: number;
  pageSize: number;
}): FrontierState {
  const { frontier = BEFORE_ALL, until, skip = 0, pageSize } = options;
  return {
    frontier,
    until,
    pageSize,
    skip: frontier === BEFORE_ALL ? 0 : Math.max(0, skip),
    top: pageSize,
    margin: 1,
    ...NOT_LOCATING,
  };
}

const NOT_LOCATING = {
  before: undefined,
  beyond: undefined,
  stride: 0,
  chain: undefined,
  brokenChains: 0,
  fruitless: 0,
} as const;

/**
 * Decides which rows of a page to take and what to request next. The page's rows must be in ascending order. It is usually the
 * one at `state.skip` with `state.top` rows, but the result is correct for any page.
 * Throws `source-away` if the source contradicts itself for too long.
 */
export function evaluatePage(state: FrontierState, page: Page): PageResult {
  if (state.fruitless + state.brokenChains > MAX_FRUITLESS_REQUESTS) throw contradiction(state, page);
  if (page.rows.length === 0) return evaluateEmptyPage(state, page);
  if (state.chain) {
    const chain = continueChain(state.chain, page, state.brokenChains);
    if (chain) return takeRows(state, page, { ...chain, ticks: state.chain.ticks });
    return evaluatePage({ ...state, chain: undefined, brokenChains: state.brokenChains + 1 }, page);
  }
  const first = page.rows.find((row) => row.ticks !== undefined)?.ticks;
  const isTrusted = page.skip === 0 || (first !== undefined && first < state.frontier);
  return isTrusted ? takeRows(state, page, undefined) : noRows(state, stepBack(state, page.skip, page));
}

function evaluateEmptyPage(state: FrontierState, page: Page): PageResult {
  if (page.totalCount === 0) return { ...noRows(state, state), isDone: true };
  if (page.skip === 0) throw contradiction(state, page);
  // The total says that there are rows: a temporary fault is more likely than a list that shrank this much.
  if (page.skip < page.totalCount && state.fruitless < 3) return noRows(state, state);
  return noRows(state, stepBack(state, Math.min(page.skip, page.totalCount), page));
}

/** The result of a page from which no row is taken. */
function noRows(state: FrontierState, next: FrontierState): PageResult {
  const counted = { ...next, fruitless: state.fruitless + 1 };
  return {
    state: counted,
    groups: [],
    isDone: false,
    head: undefined,
    unproven: undefined,
    warning: undefined,
  };
}

/** Takes the rows of a trusted page. `chain` contains the rows of the group that the page continues, and the page's own rows. */
function takeRows(state: FrontierState, page: Page, chain: Chain | undefined): PageResult {
  const rows = chain?.rows ?? page.rows;
  const places = placesOf(rows, chain?.ticks);
  const last = places.at(-1)!;
  const isEnd = page.skip + page.rows.length >= page.totalCount && page.rows.length < page.top;
  const complete = isEnd ? rows.length : places.indexOf(last);
  const until = state.until;
  const stop = until === undefined ? -1 : places.findIndex((place) => place >= until);
  const takeEnd = stop === -1 ? complete : Math.min(stop, complete);
  const groups = groupTies(rows, places, takeEnd, state.frontier);
  const warning = groups.length > 0 ? chain?.warning : undefined;
  const unproven = groups.length > 0 && chain && !chain.isProven ? chain.ticks : undefined;
  const result = { groups, head: headOf(page), unproven, warning };

  if (isEnd || stop !== -1) {
    const frontier = later(state.frontier, stop === -1 ? last + 1n : until!);
    const skip = page.skip + page.rows.length - (rows.length - takeEnd);
    return { ...result, isDone: true, state: { ...state, ...NOT_LOCATING, frontier, skip } };
  }
  const hasMoved = groups.length > 0 || last > state.frontier;
  const next = nextRequest(state, page, { rows, places, complete, chain, hasMoved });
  const moved = {
    ...next,
    ...(hasMoved && { before: undefined, beyond: undefined, stride: 0, brokenChains: 0 }),
  };
  const fruitless = hasMoved || chain ? 0 : state.fruitless + 1;
  return { ...result, isDone: false, state: { ...moved, frontier: later(state.frontier, last), fruitless } };
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

function nextRequest(state: FrontierState, page: Page, trusted: TrustedRows): FrontierState {
  const { rows, places, complete, chain, hasMoved } = trusted;
  const last = places.at(-1)!;
  if (chain && last === chain.ticks) return extendChain(state, page, trusted);
  if (last < state.frontier) {
    const next = stepForward(state, page);
    return next.skip > page.skip ? next : enlarge(state, page, trusted);
  }
  const proof = rows.slice(0, complete).findLastIndex((row) => row.ticks !== undefined);
  const proven = proof === -1 ? 0 : page.skip + page.rows.length - (rows.length - proof);
  if (proven <= page.skip) return enlarge(state, page, trusted);
  const skip = Math.max(page.skip + 1, proven + 1 - state.margin);
  const margin = Math.max(1, state.margin - 1);
  const top = hasMoved ? state.pageSize : state.top;
  return { ...state, skip, top, margin, chain: undefined };
}

/** The page contains too little of its last tie group: requests more rows or, at the limit, pages through the group. */
function enlarge(state: FrontierState, page: Page, trusted: TrustedRows): FrontierState {
  const top = page.top * 2;
  const isCapped = page.rows.length < page.top;
  if (isCapped || top > state.pageSize * MAX_TOP_IN_PAGES) return extendChain(state, page, trusted);
  return { ...state, skip: page.skip, top, chain: undefined };
}

function extendChain(
  state: FrontierState,
  page: Page,
  { rows, places, complete }: TrustedRows,
): FrontierState {
  if (page.rows.length < 2) {
    throw new ExportError(
      'source-invalid',
      `The source returned one row for a request of ${page.top} rows at offset ${page.skip} of ${page.totalCount}. ` +
        'Reading a changing list requires at least two rows in each page.',
    );
  }
  const ticks = places.at(-1)!;
  const group = ticks < state.frontier ? [] : rows.slice(complete);
  const chain = startChain(ticks, group, page);
  return { ...state, skip: chain.skip, chain };
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function contradiction(state: FrontierState, page: Page): ExportError {
  return new ExportError(
    'source-away',
    `The source contradicts itself: at offset ${page.skip} it returned ${page.rows.length} rows and a total of ` +
      `${page.totalCount}, and ${state.fruitless} requests made no progress. Committed data is kept; run again later.`,
  );
}
