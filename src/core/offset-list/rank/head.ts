/**
 * Reads the head of the list: how many rows are at or before the head instant. The store moves the head instant whenever it compares a
 * response at offset 0.
 */
import { confirmsEnd, endOf, isBelowLimit } from '../list-end.ts';
import { type Look, look, type RankRun, type Step, settle } from './steps.ts';

/** Rows of the first request: they usually show the first two groups. */
const FIRST_ROWS = 20;
/** The head is requested with more rows up to this many page sizes. */
const MAX_TOP_IN_PAGES = 16;
const MAX_REQUESTS = 60;
const MAX_CONFIRMATIONS = 8;

export interface Head {
  /** Offset of the first row after the head instant. */
  offset: number;
  /** The list has no row after the head instant. */
  isWhole: boolean;
  isEmpty: boolean;
}

export function* readHead(run: RankRun): Step<Head> {
  let skip = 0;
  let top = Math.min(FIRST_ROWS, run.pageSize);
  /** A request behind the last row seen: an empty response there is the end. */
  let tail = -1;
  let confirmations = 0;
  for (let requests = 0; requests < MAX_REQUESTS; requests++) {
    const shown = yield* look({ skip, top }, { isHeadStep: true });
    const { page, placed } = shown;
    const mayShowMore =
      !isBelowLimit(page) && page.limit === undefined && top < MAX_TOP_IN_PAGES * run.pageSize;
    if (page.rows.length === 0) {
      if (page.skip === 0) return { offset: 0, isWhole: true, isEmpty: true };
      if (tail === page.skip) return { offset: page.skip, isWhole: true, isEmpty: false };
      skip = 0;
      tail = -1;
      continue;
    }
    if (page.skip > 0 && placed.places.length > 0 && placed.places[0]! > run.head) {
      skip = Math.max(0, page.skip - 1 - requests);
      tail = -1;
      continue;
    }
    const isUndecided =
      page.skip === 0 && shown.comparison.isHeadUndecided && firstAfter(shown, run) !== undefined;
    if (isUndecided) {
      if (mayShowMore) {
        top *= 2;
        continue;
      }
      if (isBelowLimit(page) && confirmations++ < MAX_CONFIRMATIONS) {
        const expected = { end: endOf(page), lastRow: page.rows.at(-1)! };
        const check = yield* look({ skip: expected.end - 1, top }, { isHeadStep: true });
        if (confirmsEnd(expected, check.page)) {
          const settled = yield* settle(page);
          return headIn(settled, run) ?? wholeList(settled);
        }
        if (page.rows.length < run.largest) continue;
      }
    }
    const found = headIn(shown, run);
    if (found) return found;
    if (shown.isEnd) return wholeList(shown);
    if (mayShowMore) {
      top *= 2;
      continue;
    }
    const lastReadable = page.rows.findLastIndex(({ ticks }) => ticks !== undefined);
    const next = page.skip + Math.max(0, lastReadable);
    tail = next > page.skip ? -1 : endOf(page);
    skip = next > page.skip ? next : endOf(page);
  }
  return { offset: Number.NaN, isWhole: false, isEmpty: false };
}

function firstAfter({ placed }: Look, run: RankRun): number | undefined {
  const at = placed.places.findIndex((place) => place > run.head);
  return at === -1 ? undefined : at;
}

function headIn(shown: Look, run: RankRun): Head | undefined {
  const at = firstAfter(shown, run);
  return at === undefined ? undefined : { offset: shown.placed.skip + at, isWhole: false, isEmpty: false };
}

function wholeList({ page }: Look): Head {
  return { offset: endOf(page), isWhole: true, isEmpty: false };
}
