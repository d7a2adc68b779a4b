import type { EventSource, RequestMeter } from '../event.ts';
import { throwIfInterrupted } from '../export.ts';
import { judgePage, startFrontier } from './frontier.ts';

/** Locating needs few rows of each page. */
const LOCATING_PAGE_SIZE = 20;

/**
 * The offset of the first row at or after `ticks`, and the list's length: how much there is to read. A hint, as every
 * offset is.
 */
export async function locate(
  source: EventSource,
  ticks: bigint,
  options: { meter: RequestMeter; signal: AbortSignal },
): Promise<{ skip: number; totalCount: number }> {
  let state = startFrontier({ frontier: ticks, until: ticks, pageSize: LOCATING_PAGE_SIZE });
  for (;;) {
    const page = await source.fetchPage({ skip: state.skip, top: state.top }, options);
    const verdict = judgePage(state, page);
    state = verdict.state;
    if (verdict.isDone) return { skip: state.skip, totalCount: page.totalCount };
    throwIfInterrupted(options.signal);
  }
}
