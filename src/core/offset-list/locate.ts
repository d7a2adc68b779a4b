import { type RequestMeter, throwIfInterrupted } from '../source.ts';
import { evaluatePage, startFrontier, withPageSize } from './frontier.ts';
import type { FetchPage } from './page.ts';
import type { PageSize } from './page-size.ts';

/** A search needs only a few rows of each page. */
const LOCATING_PAGE_SIZE = 20;

/** Finds the offset of the first row at or after `ticks`, which is the number of older rows. A hint, like every offset. */
export async function locate(
  fetchPage: FetchPage,
  ticks: bigint,
  { pageSize, ...options }: { meter: RequestMeter; signal: AbortSignal; pageSize: PageSize },
): Promise<number> {
  let state = startFrontier({ frontier: ticks, until: ticks, pageSize: pageSize.rowsOf(LOCATING_PAGE_SIZE) });
  for (;;) {
    const page = await fetchPage({ skip: state.skip, top: state.top }, options);
    const result = evaluatePage(withPageSize(state, pageSize.rowsOf(LOCATING_PAGE_SIZE)), page);
    state = result.state;
    if (result.isDone) return state.skip;
    throwIfInterrupted(options.signal);
  }
}
