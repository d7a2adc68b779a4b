import { type RequestMeter, throwIfInterrupted } from '../source.ts';
import { evaluatePage, startFrontier } from './frontier.ts';
import type { FetchPage } from './page.ts';

/** A search needs only a few rows of each page. */
const LOCATING_PAGE_SIZE = 20;

/** Finds the offset of the first row at or after `ticks`, which is the number of older rows. A hint, like every offset. */
export async function locate(
  fetchPage: FetchPage,
  ticks: bigint,
  options: { meter: RequestMeter; signal: AbortSignal },
): Promise<number> {
  let state = startFrontier({ frontier: ticks, until: ticks, pageSize: LOCATING_PAGE_SIZE });
  for (;;) {
    const page = await fetchPage({ skip: state.skip, top: state.top }, options);
    const result = evaluatePage(state, page);
    state = result.state;
    if (result.isDone) return state.skip;
    throwIfInterrupted(options.signal);
  }
}
