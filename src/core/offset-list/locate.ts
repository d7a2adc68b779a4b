import { type RequestMeter, throwIfInterrupted } from '../source.ts';
import { judgePage, startFrontier } from './frontier.ts';
import type { FetchPage } from './page.ts';

/** Locating needs few rows of each page. */
const LOCATING_PAGE_SIZE = 20;

/** The offset of the first row at or after `ticks`: how many rows lie before. A hint, as every offset is. */
export async function locate(
  fetchPage: FetchPage,
  ticks: bigint,
  options: { meter: RequestMeter; signal: AbortSignal },
): Promise<number> {
  let state = startFrontier({ frontier: ticks, until: ticks, pageSize: LOCATING_PAGE_SIZE });
  for (;;) {
    const page = await fetchPage({ skip: state.skip, top: state.top }, options);
    const verdict = judgePage(state, page);
    state = verdict.state;
    if (verdict.isDone) return state.skip;
    throwIfInterrupted(options.signal);
  }
}
