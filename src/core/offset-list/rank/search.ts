/** Searches for the place at which the list and the store differ: gallops back from the end, then bisects. Each probe is one page. */
import { endOf } from '../list-end.ts';
import { readRange } from './read.ts';
import { count, groupsOf, look, type RankedGroup, type RankRun, type Step } from './steps.ts';

const MAX_ROUNDS = 12;
const MAX_PROBES = 40;
/** Each step back is this many times longer than the one before: late rows are mostly young, and a long list needs few steps. */
const GALLOP = 4;
/** A difference larger than a page is read as a range, until this many pages bring no news. */
const MAX_QUIET_PAGES = 2;
/** A probe shows at least one group's first row and the row before it. */
const MIN_SHOWN_ROWS = 3;

export interface SearchResult {
  hasNews: boolean;
  /** The difference lies between two groups that one page shows. */
  isConfined: boolean;
}

/** `end`: the newest group. `headOffset`: the offset of the first row after the head instant. */
export function* search(run: RankRun, end: RankedGroup, headOffset: number): Step<SearchResult> {
  const { head } = run;
  const newsBefore = run.news;
  let isConfined = false;
  /** Rows that one response shows: fewer than requested where the server or the size of the rows limits them. */
  let shownRows = run.pageSize;
  const differences = function* (groups: readonly RankedGroup[]): Step<number[]> {
    const counts = yield* count(
      head,
      groups.map(({ place }) => place),
    );
    return groups.map(({ offset, place }, i) => (place <= head ? 0 : offset - headOffset - counts[i]!));
  };
  const differs = function* (group: RankedGroup): Step<boolean> {
    return (yield* differences([group]))[0] !== 0;
  };
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!(yield* differs(end))) break;
    const newsBeforeRound = run.news;
    let { low, high } = yield* gallop(end);
    ({ low, high } = yield* bisect(low, high));
    isConfined = high.offset - low.offset <= shownRows;
    if (yield* differs(high)) {
      const from = { place: low.place, offset: low.offset };
      yield* readRange(run, from, { until: high.place, maxQuietPages: MAX_QUIET_PAGES });
    }
    if (run.news === newsBeforeRound) break;
  }
  return { hasNews: run.news > newsBefore, isConfined };

  /** Between `low`, where the ranks agree, and `high`, where they do not. */
  function* gallop(from: RankedGroup): Step<{ low: RankedGroup; high: RankedGroup }> {
    let low: RankedGroup = { offset: headOffset, place: head };
    let high = from;
    for (let probe = 0, distance = run.pageSize; probe < MAX_PROBES; probe++, distance *= GALLOP) {
      const skip = Math.max(0, high.offset - distance);
      const { placed } = yield* look({ skip, top: run.pageSize });
      if (!(yield* differs(high))) break;
      const groups = groupsOf(placed).filter(({ place }) => place > head && place <= high.place);
      if (groups.length === 0) {
        if (skip === 0) break;
        continue;
      }
      const found = yield* differences(groups);
      if (found[0] === 0) {
        ({ low, high } = narrow({ low, high }, groups, found));
        break;
      }
      high = groups[0]!;
      if (skip <= headOffset) break;
    }
    return { low, high };
  }

  function* bisect(from: RankedGroup, to: RankedGroup): Step<{ low: RankedGroup; high: RankedGroup }> {
    let [low, high] = [from, to];
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      if (high.offset - low.offset <= 1 || !(yield* differs(high))) break;
      const isWide = high.offset - low.offset > shownRows - 2;
      const skip = isWide ? Math.floor((low.offset + high.offset) / 2) - 1 : low.offset - 1;
      const { page, placed } = yield* look({ skip, top: run.pageSize });
      if (endOf(page) <= high.offset) shownRows = Math.max(MIN_SHOWN_ROWS, page.rows.length);
      if (!(yield* differs(high))) break;
      const groups = groupsOf(placed).filter(({ place }) => place > low.place && place <= high.place);
      const before = { low, high };
      ({ low, high } = narrow(before, groups, yield* differences(groups)));
      if (low.place === before.low.place && high.place === before.high.place) break;
    }
    return { low, high };
  }
}

/** Moves `low` to the last group before the first one that differs, and `high` to that one. */
function narrow(
  { low, high }: { low: RankedGroup; high: RankedGroup },
  groups: readonly RankedGroup[],
  differences: readonly number[],
): { low: RankedGroup; high: RankedGroup } {
  const first = differences.findIndex((difference) => difference !== 0);
  if (first === -1) return { low: groups.at(-1) ?? low, high };
  return { low: first > 0 ? groups[first - 1]! : low, high: groups[first]! };
}
