/** Compares old history and suspected events with the source, before a run reads new events. */
import { afterPlace } from '../../place.ts';
import { confirmsEnd, endOf, isBelowLimit } from '../list-end.ts';
import { count, type Look, look, type RankRun, type Step, settle } from './steps.ts';

const MAX_REQUESTS = 12;

/** Where the next page of old history starts: it must show a row before `place`. Without `place`: at the oldest row. */
export interface ScrubCursor {
  place: bigint | undefined;
  skip: number;
}

/** Compares one full page of old history. Returns the cursor for the next one. */
export function* scrub(run: RankRun, cursor: ScrubCursor): Step<ScrubCursor> {
  let { place, skip } = cursor;
  let stride = 1;
  for (let requests = 0; requests < MAX_REQUESTS; requests++) {
    const { page, placed, isEnd } = yield* look({ skip, top: run.pageSize });
    if (page.rows.length === 0) {
      if (page.skip === 0) return START;
      place = undefined;
      skip = 0;
      continue;
    }
    const first = placed.places[0];
    if (first === undefined) return page.skip === 0 ? START : { place, skip: page.skip + page.rows.length };
    if (page.skip > 0 && (place === undefined || first >= place)) {
      skip = Math.max(0, page.skip - stride);
      stride *= 2;
      continue;
    }
    return isEnd ? START : nextCursor(placed);
  }
  return START;
}

const START: ScrubCursor = { place: undefined, skip: 0 };

function nextCursor({ page, skip, places }: Look['placed']): ScrubCursor {
  const last = places.at(-1)!;
  const next = skip + places.indexOf(last) - 1;
  if (next > page.skip) return { place: last, skip: next };
  // The group fills the page: continue behind its part.
  return { place: afterPlace(last), skip: Math.max(page.skip + page.rows.length - 1, page.skip + 1) };
}

/**
 * Looks at the place of an event that an earlier run suspected, with its whole tie group. `headOffset` is the offset of the first row
 * after the head instant, as far as known.
 */
export function* lookAtSuspicion(run: RankRun, place: bigint, headOffset: number): Step<void> {
  const [before] = yield* count(run.head, [place]);
  let skip = Math.max(0, headOffset + before! - 1);
  let stride = 1;
  for (let requests = 0; requests < MAX_REQUESTS; requests++) {
    const { page, placed, isEnd } = yield* look({ skip, top: run.pageSize });
    const { places } = placed;
    if (places.length === 0) {
      if (page.skip === 0) return;
      skip = Math.max(0, page.skip - stride);
      stride *= 2;
      continue;
    }
    const [first, last] = [places[0]!, places.at(-1)!];
    if (first < place && (last > place || isEnd)) return;
    if (first < place && last === place && isBelowLimit(page)) {
      const expected = { end: endOf(page), lastRow: page.rows.at(-1)! };
      const check = yield* look({ skip: expected.end - 1, top: run.pageSize });
      if (confirmsEnd(expected, check.page)) {
        yield* settle(page);
        return;
      }
    }
    if (first >= place) {
      if (page.skip === 0) return;
      skip = Math.max(0, page.skip - stride);
      stride *= 2;
      continue;
    }
    const next = page.skip + page.rows.length - (last === place && page.rows.length > 2 ? 2 : 1);
    skip = Math.max(page.skip + 1, next);
  }
}
