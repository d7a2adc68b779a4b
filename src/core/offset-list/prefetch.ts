/**
 * Prefetching. Each page is evaluated by the frontier rule only when it is next in order, so prefetching cannot change the
 * result: a page that does not fit is dropped and requested again.
 */

import type { ByteBudget } from './byte-budget.ts';
import { createConcurrencyLimit } from './concurrency-limit.ts';
import { isBelowLimit } from './list-end.ts';
import type { FetchPage, Page, PageRequest } from './page.ts';
import type { PageSize } from './page-size.ts';

export interface PrefetchRequest extends PageRequest {
  /** A prefetched page with a smaller `top` will do: `top` is only the usual page size. */
  isSizeFree?: boolean;
}

export interface Prefetcher<P extends Page> {
  /** Returns the page for `request`, or a prefetched page that starts a few rows earlier and contains the same rows. */
  fetch(request: PrefetchRequest): Promise<P>;
  /**
   * Starts the next request and the likely ones after it, based on the last page's length and total.
   * `margin` is how many rows before the first unread row a request starts.
   */
  prepare(next: PrefetchRequest, last: Page, margin?: number): void;
  /** Cancels all prefetched requests. */
  drop(): void;
}

/** Maximum received pages that wait to be processed, in addition to the requests in flight: each takes some MB. */
const MAX_WAITING = 3;

type FetchAhead<P extends Page> = (
  request: PageRequest,
  options: Pick<Parameters<FetchPage>[1], 'signal' | 'onReceived'>,
) => Promise<P>;

interface Prefetch<P extends Page> extends PageRequest {
  response: Promise<P>;
  controller: AbortController;
  /** What it holds of the budget; 0 once it is processed or dropped. */
  bytes: number;
}

/** The next request to prefetch. */
interface Plan {
  skip: number;
  top: number;
  /** Distance to the offset of the request after it, in rows. */
  stride: number;
  totalCount: number;
}

interface PrefetchOptions {
  concurrency: number;
  countRetries: () => number;
  pageSize: Pick<PageSize, 'bytesOf'>;
  budget: ByteBudget;
}

/**
 * Sends at most `concurrency` requests at once, fewer while the source is overloaded. The next request is sent as soon as a
 * response arrives, even before that page is processed, until `MAX_WAITING` pages wait or the next response may exceed the budget.
 * `fetchPage` must honour its signal; `countRetries` returns the number of retries so far.
 */
export function createPrefetcher<P extends Page>(
  fetchPage: FetchAhead<P>,
  { concurrency, countRetries, pageSize, budget }: PrefetchOptions,
): Prefetcher<P> {
  /** In the order of the list, received or not. */
  let queue: Prefetch<P>[] = [];
  let plan: Plan | undefined;
  let retries = countRetries();
  const pending = new Set<Prefetch<P>>();
  const limit = createConcurrencyLimit(concurrency);

  const hold = (prefetch: Prefetch<P>, bytes: number) => {
    budget.add(bytes - prefetch.bytes);
    prefetch.bytes = bytes;
  };

  const start = ({ skip, top }: PageRequest): Prefetch<P> => {
    const request = { skip, top };
    const controller = new AbortController();
    const requestedAt = performance.now();
    const onReceived = () => {
      if (!pending.delete(prefetch)) return;
      limit.recordResponse({
        milliseconds: performance.now() - requestedAt,
        wasRetried: countRetries() > retries,
      });
      retries = countRetries();
      fill();
    };
    const response = fetchPage(request, { signal: controller.signal, onReceived });
    const prefetch: Prefetch<P> = { ...request, controller, response, bytes: 0 };
    hold(prefetch, pageSize.bytesOf(top));
    pending.add(prefetch);
    response.then(
      ({ bytes }) => {
        if (prefetch.bytes > 0 && bytes !== undefined) hold(prefetch, bytes);
        onReceived();
      },
      () => {
        // A dropped or later page may fail: only the page that is awaited now may throw.
        if (pending.delete(prefetch)) plan = undefined;
        hold(prefetch, 0);
      },
    );
    return prefetch;
  };

  const fill = () => {
    while (plan && pending.size < limit.limit && queue.length < concurrency + MAX_WAITING) {
      const { skip, top, stride, totalCount } = plan;
      if (skip >= totalCount || !budget.fits(pageSize.bytesOf(top))) return;
      queue.push(start({ skip, top }));
      plan = stride > 0 ? { ...plan, skip: skip + stride } : undefined;
    }
  };

  const cancel = (prefetch: Prefetch<P>) => {
    prefetch.controller.abort();
    pending.delete(prefetch);
    hold(prefetch, 0);
  };

  /** The page is processed now: it leaves the budget, and the next one may be requested. */
  const take = async (prefetch: Prefetch<P>): Promise<P> => {
    try {
      return await prefetch.response;
    } finally {
      hold(prefetch, 0);
      fill();
    }
  };

  const drop = () => {
    // Received responses are cancelled too: an invalid one would be requested again.
    for (const prefetch of [...queue, ...pending]) cancel(prefetch);
    queue = [];
    plan = undefined;
  };

  return {
    async fetch(request) {
      const prefetch = queue.shift();
      if (prefetch && serves(prefetch, request)) {
        fill();
        // Responses that arrived meanwhile must start the next request before this page is processed.
        await new Promise(setImmediate);
        return take(prefetch);
      }
      if (prefetch) {
        limit.recordWastedRequest();
        cancel(prefetch);
      }
      drop();
      return take(start(request));
    },

    prepare(next, last, margin = 1) {
      const [head, ...rest] = queue;
      if (head && !serves(head, next)) {
        if (margin === 1 && isSlightlyTooFar(head, next)) {
          cancel(head);
          while (pending.size >= concurrency) cancel(rest.pop()!);
          queue = [start(next), ...rest];
        } else {
          limit.recordWastedRequest();
          drop();
        }
      }
      // A server that sent fewer rows than requested does so again.
      const lengthOf = (top: number) => (isBelowLimit(last) ? Math.min(top, last.rows.length) : top);
      const strideOf = ({ top }: PageRequest) => lengthOf(top) - overlapOf(lengthOf(top)) - (margin - 1);
      const { top } = next;
      const { totalCount } = last;
      const newest = queue.at(-1);
      if (newest && strideOf(newest) <= 0) plan = undefined;
      else {
        const skip = newest ? newest.skip + strideOf(newest) : next.skip;
        plan = { skip, top, stride: strideOf(next), totalCount };
      }
      fill();
    },

    drop,
  };
}

/** Two rows suffice to trust the next page; more allow for a tie group across the page's end. */
function overlapOf(pageLength: number): number {
  return Math.max(2, Math.ceil(pageLength / 100));
}

function serves(prefetch: PageRequest, request: PrefetchRequest): boolean {
  const early = request.skip - prefetch.skip;
  return isLargeEnough(prefetch, request) && early >= 0 && early <= prefetch.top / 2;
}

function isLargeEnough(prefetch: PageRequest, { top, isSizeFree }: PrefetchRequest): boolean {
  return isSizeFree === true || prefetch.top >= top;
}

/**
 * Whether a tie group across the page's end was larger than the overlap, but so little that the pages after this one fit again
 * after one or two: each page regains the rows of the overlap beyond two.
 */
function isSlightlyTooFar(prefetch: PageRequest, request: PrefetchRequest): boolean {
  const late = prefetch.skip - request.skip;
  return isLargeEnough(prefetch, request) && late > 0 && late <= 2 * (overlapOf(prefetch.top) - 2);
}
