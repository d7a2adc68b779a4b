/** Reads a range of the list, or its end, by the frontier rule. Each page is compared with the store. */
import { evaluatePage, startFrontier, withPageSize } from '../frontier.ts';
import { endOf } from '../list-end.ts';
import { placeRows } from '../places.ts';
import type { Sequenced } from '../sequence.ts';
import { type ListEnd, look, type RankRun, type Step, settle } from './steps.ts';

/** Pages before the newest group that are tried to find the offset of its first row. */
const MAX_PAGES_BEFORE_GROUP = 3;

/** Reads from the newest known group to the end of the list. */
export function* readEnd(run: RankRun, from: { place: bigint; offset: number } | undefined): Step<ListEnd> {
  const end = yield* readRange(run, from, { until: undefined, maxQuietPages: undefined });
  return yield* locateNewest(run, end);
}

/** Looks for the first row of the newest group, if the read did not see it. */
export function* locateNewest(run: RankRun, end: ListEnd): Step<ListEnd> {
  const { newest } = end;
  if (!newest || newest.offset !== undefined || newest.isChained) return end;
  for (let back = 1; back <= MAX_PAGES_BEFORE_GROUP; back++) {
    const { page, placed } = yield* look({ skip: end.page.skip - back, top: run.pageSize });
    const at = placed.places.indexOf(newest.place);
    if (at > 0 || (at === 0 && page.skip === 0)) {
      return { ...end, newest: { ...newest, offset: placed.skip + at, page } };
    }
  }
  return end;
}

/**
 * Reads from a place to the end of the list, to `until`, or until `maxQuietPages` pages in a row bring no news. `from.offset` is a
 * guess.
 */
export function* readRange(
  run: RankRun,
  from: { place: bigint; offset: number } | undefined,
  { until, maxQuietPages }: { until: bigint | undefined; maxQuietPages: number | undefined },
): Step<ListEnd> {
  let state = startFrontier({
    frontier: from?.place,
    skip: Math.max(0, (from?.offset ?? 0) - 1),
    pageSize: run.pageSize,
    largest: run.largest,
  });
  let quietPages = 0;
  for (;;) {
    const newsBefore = run.news;
    const { page, isEnd } = yield* look(state);
    const wasChained = state.chain !== undefined;
    const result = evaluatePage({ ...withPageSize(state, run.pageSize), largest: run.largest }, page);
    state = result.state;
    const newest = state.newest as ListEnd['newest'];
    if (result.isDone) {
      if (result.isEmpty) return { newest: undefined, page };
      if (!isEnd) yield* settleEnd(page, newest?.page ?? page);
      return { newest, page };
    }
    const last = placeRows(page).places.at(-1);
    if (until !== undefined && last !== undefined && last > until && !wasChained) return { newest, page };
    quietPages = run.news > newsBefore ? 0 : quietPages + 1;
    if (
      maxQuietPages !== undefined &&
      quietPages >= maxQuietPages &&
      last !== undefined &&
      last >= (from?.place ?? last)
    ) {
      return { newest, page };
    }
  }
}

/** The last group is complete: compares it as such. The page before showed it if the last one is only its last row. */
function* settleEnd(page: Sequenced<ListEnd['page']>, before: ListEnd['page']): Step<void> {
  yield* settle(endOf(before) === endOf(page) && before.rows.length > page.rows.length ? before : page);
}
