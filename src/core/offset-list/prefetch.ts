/**
 * Prefetching. Each page is evaluated by the frontier rule only when it is next in order, so prefetching cannot change the
 * result: a page that does not fit is dropped and requested again.
 */
import { createConcurrencyLimit } from './concurrency-limit.ts';
import type { FetchPage, Page, PageRequest } from './page.ts';

export interface Prefetcher<P extends Page> {
  /** Returns the page for `request`, or a prefetched page that starts a few rows earlier and contains the same rows. */
  fetch(request: PageRequest): Promise<P>;
  /**
   * Starts the next request and the likely ones after it, based on the last page's length and total.
   * `margin` is how many rows before the first unread row a request starts.
   */
  prepare(next: PageRequest, last: Page, margin?: number): void;
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
}

/** The next request to prefetch. */
interface Plan {
  skip: number;
  top: number;
  /** Distance between the offsets of two requests, in rows. */
  stride: number;
  totalCount: number;
}

/**
 * Sends at most `concurrency` requests at once, fewer while the source is overloaded. The next request is sent as soon as a
 * response arrives, even before that page is processed, until `MAX_WAITING` pages wait. `fetchPage` must honour its signal;
 * `countRetries` returns the number of retries so far.
 */
export function createPrefetcher<P extends Page>(
  fetchPage: FetchAhead<P>,
  concurrency: number,
  countRetries: () => number = () => 0,
): Prefetcher<P> {
  /** In the order of the list, received or not. */
  let queue: Prefetch<P>[] = [];
  let plan: Plan | undefined;
  let retries = countRetries();
  const pending = new Set<Prefetch<P>>();
  const limit = createConcurrencyLimit(concurrency);

  const start = (request: PageRequest): Prefetch<P> => {
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
    const prefetch: Prefetch<P> = { ...request, controller, response };
    pending.add(prefetch);
    response.then(onReceived, () => {
      // A dropped or later page may fail: only the page that is awaited now may throw.
      if (pending.delete(prefetch)) plan = undefined;
    });
    return prefetch;
  };

  const fill = () => {
    while (plan && pending.size < limit.limit && queue.length < concurrency + MAX_WAITING) {
      const { skip, top, stride, totalCount } = plan;
      if (skip >= totalCount) return;
      queue.push(start({ skip, top }));
      plan = stride > 0 ? { ...plan, skip: skip + stride } : undefined;
    }
  };

  const cancel = (prefetch: Prefetch<P>) => {
    prefetch.controller.abort();
    pending.delete(prefetch);
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
        return prefetch.response;
      }
      if (prefetch) {
        limit.recordWastedRequest();
        cancel(prefetch);
      }
      drop();
      return start(request).response;
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
      const stride = last.rows.length - overlapOf(last.rows.length) - (margin - 1);
      const { top } = next;
      const { totalCount } = last;
      const newest = queue.at(-1);
      if (newest && stride <= 0) plan = undefined;
      else plan = { skip: newest ? newest.skip + stride : next.skip, top, stride, totalCount };
      fill();
    },

    drop,
  };
}

/** Two rows suffice to trust the next page; more allow for a tie group across the page's end. */
function overlapOf(pageLength: number): number {
  return Math.max(2, Math.ceil(pageLength / 100));
}

function serves(prefetch: PageRequest, request: PageRequest): boolean {
  const early = request.skip - prefetch.skip;
  return prefetch.top >= request.top && early >= 0 && early <= prefetch.top / 2;
}

/**
 * Whether a tie group across the page's end was larger than the overlap, but so little that the pages after this one fit again
 * after one or two: each page regains the rows of the overlap beyond two.
 */
function isSlightlyTooFar(prefetch: PageRequest, request: PageRequest): boolean {
  const late = prefetch.skip - request.skip;
  return prefetch.top >= request.top && late > 0 && late <= 2 * (overlapOf(prefetch.top) - 2);
}
