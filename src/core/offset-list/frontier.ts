/**
 * The frontier rule: which rows of a page may be taken from a list that changes between two requests.
 *
 * The frontier is the ticks before which everything is taken. A page is trusted when it starts at offset 0 or when its
 * first row is strictly older than the frontier: the list is sorted, so nothing at or after the frontier can lie before
 * the page. From a trusted page every complete tie group at or after the frontier is taken. A tie group is complete when
 * a newer row follows it in the same page or the page reaches the end of the list. The frontier then moves to the ticks of
 * the first row not taken.
 *
 * Offsets are only hints: a wrong one costs requests, never rows. No page is trusted for what an earlier one said, with
 * one exception, `tie-chain.ts`. A row without a readable `createdOn` has the place of the row before it.
 */
import { ExportError } from '../errors.ts';
import type { SourceRow } from '../event.ts';
import { BEFORE_ALL } from '../ticks.ts';
import type { Page } from './page.ts';
import { groupTies, headOf, placesOf } from './page-order.ts';
import { stepBack, stepForward } from './search.ts';
import { type Chain, continueChain, startChain } from './tie-chain.ts';

/** A tie group that fills a page is asked for again with a larger `top`, up to this many page sizes. */
const LARGEST_TOP_IN_PAGES = 16;
/** So many requests that bring the frontier no further mean that the source contradicts itself. */
const MOST_FRUITLESS_REQUESTS = 300;

export interface FrontierState {
  /** Every row older than this is taken. */
  readonly frontier: bigint;
  /** Rows at or after this are not wanted. */
  readonly until: bigint | undefined;
  readonly pageSize: number;
  /** The next request. */
  readonly skip: number;
  readonly top: number;
  /** While locating the frontier: the offset of a row last seen before it, and an offset last seen to be too far. */
  readonly before: number | undefined;
  readonly beyond: number | undefined;
  /** How far the next step in one direction goes; doubles until rows are taken. */
  readonly stride: number;
  /**
   * How many rows before the first row not taken the next request begins: 1 for a list that stands still. Doubles with
   * each page that was not trusted and shrinks by one with each that was, so that it follows how fast the list moves.
   */
  readonly margin: number;
  readonly chain: Chain | undefined;
  /** Broken chains, and requests without result, since the frontier last moved. */
  readonly brokenChains: number;
  readonly fruitless: number;
}

/** What a page gave. */
export interface Verdict {
  state: FrontierState;
  /** Complete tie groups in order; every row in them is to be stored. */
  groups: SourceRow[][];
  /** Nothing is left to read. */
  isDone: boolean;
  /** Ticks of the oldest row the source still has, when this page shows it. */
  head: bigint | undefined;
  /** The tie group that was taken although rows of it may be missing, if any. */
  unproven: bigint | undefined;
  /** Something a person should know about how these rows were read. */
  warning: string | undefined;
}

/** `frontier` left out means a first run; `skip` is a guess of where the frontier lies in the list. */
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
 * Judges a page whose rows ascend, usually the one at `state.skip` with `state.top` rows, though any page is judged rightly.
 * Throws `source-away` when the source contradicts itself for too long.
 */
export function judgePage(state: FrontierState, page: Page): Verdict {
  if (state.fruitless + state.brokenChains > MOST_FRUITLESS_REQUESTS) throw contradiction(state, page);
  if (page.rows.length === 0) return judgeEmptyPage(state, page);
  if (state.chain) {
    const chain = continueChain(state.chain, page, state.brokenChains);
    if (chain) return takeRows(state, page, { ...chain, ticks: state.chain.ticks });
    return judgePage({ ...state, chain: undefined, brokenChains: state.brokenChains + 1 }, page);
  }
  const first = page.rows.find((row) => row.ticks !== undefined)?.ticks;
  const isTrusted = page.skip === 0 || (first !== undefined && first < state.frontier);
  return isTrusted ? takeRows(state, page, undefined) : nothing(state, stepBack(state, page.skip, page));
}

function judgeEmptyPage(state: FrontierState, page: Page): Verdict {
  if (page.totalCount === 0) return { ...nothing(state, state), isDone: true };
  if (page.skip === 0) throw contradiction(state, page);
  // More is said to be there than was given: a passing fault is more likely than a list that moved so far.
  if (page.skip < page.totalCount && state.fruitless < 3) return nothing(state, state);
  return nothing(state, stepBack(state, Math.min(page.skip, page.totalCount), page));
}

function nothing(state: FrontierState, next: FrontierState): Verdict {
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

/** Takes what a trusted page gives; `chain` holds the rows of the group that it continues, and its own. */
function takeRows(state: FrontierState, page: Page, chain: Chain | undefined): Verdict {
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
  const verdict = { groups, head: headOf(page), unproven, warning };

  if (isEnd || stop !== -1) {
    const frontier = later(state.frontier, stop === -1 ? last + 1n : until!);
    const skip = page.skip + page.rows.length - (rows.length - takeEnd);
    return { ...verdict, isDone: true, state: { ...state, ...NOT_LOCATING, frontier, skip } };
  }
  const hasMoved = groups.length > 0 || last > state.frontier;
  const next = nextRequest(state, page, { rows, places, complete, chain, hasMoved });
  const moved = {
    ...next,
    ...(hasMoved && { before: undefined, beyond: undefined, stride: 0, brokenChains: 0 }),
  };
  const fruitless = hasMoved || chain ? 0 : state.fruitless + 1;
  return { ...verdict, isDone: false, state: { ...moved, frontier: later(state.frontier, last), fruitless } };
}

interface Judged {
  rows: readonly SourceRow[];
  places: readonly bigint[];
  /** Index of the first row of the last tie group. */
  complete: number;
  chain: Chain | undefined;
  /** The page brought the frontier further. */
  hasMoved: boolean;
}

function nextRequest(state: FrontierState, page: Page, judged: Judged): FrontierState {
  const { rows, places, complete, chain, hasMoved } = judged;
  const last = places.at(-1)!;
  if (chain && last === chain.ticks) return extendChain(state, page, judged);
  if (last < state.frontier) {
    const next = stepForward(state, page);
    return next.skip > page.skip ? next : enlarge(state, page, judged);
  }
  const proof = rows.slice(0, complete).findLastIndex((row) => row.ticks !== undefined);
  const proven = proof === -1 ? 0 : page.skip + page.rows.length - (rows.length - proof);
  if (proven <= page.skip) return enlarge(state, page, judged);
  const skip = Math.max(page.skip + 1, proven + 1 - state.margin);
  const margin = Math.max(1, state.margin - 1);
  const top = hasMoved ? state.pageSize : state.top;
  return { ...state, skip, top, margin, chain: undefined };
}

/** The page holds too little of its last tie group: ask for more rows, or else page through the group. */
function enlarge(state: FrontierState, page: Page, judged: Judged): FrontierState {
  const top = page.top * 2;
  const isCapped = page.rows.length < page.top;
  if (isCapped || top > state.pageSize * LARGEST_TOP_IN_PAGES) return extendChain(state, page, judged);
  return { ...state, skip: page.skip, top, chain: undefined };
}

function extendChain(state: FrontierState, page: Page, { rows, places, complete }: Judged): FrontierState {
  if (page.rows.length < 2) {
    throw new ExportError(
      'source-invalid',
      `The source answered one row to a request for ${page.top} rows at offset ${page.skip} of ${page.totalCount}. ` +
        'Reading a list that changes needs two rows a page at least.',
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
    `The source contradicts itself: at offset ${page.skip} it gave ${page.rows.length} rows and a total of ` +
      `${page.totalCount}, and ${state.fruitless} requests found no way on. What was committed stays; try again later.`,
  );
}
