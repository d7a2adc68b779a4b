/**
 * Requests made ahead. Each page is judged by the frontier rule when its turn comes, so nothing here can change the
 * outcome: a page that does not fit is dropped and requested again.
 */
import { createConcurrencyLimit } from './concurrency-limit.ts';
import type { FetchPage, Page, PageRequest } from './page.ts';

export interface Prefetcher {
  /** The page for `request`, or one that was requested ahead, begins up to a few rows earlier and shows the same. */
  fetch(request: PageRequest): Promise<Page>;
  /**
   * Starts the request that comes next, and the likely ones after it, given the last page's length and total.
   * `margin` is how many rows before the first row not taken a request begins.
   */
  prepare(next: PageRequest, last: Page, margin?: number): void;
  /** Drops what is under way. */
  drop(): void;
}

/** Pages that may wait for their turn while as many requests as allowed are under way: each takes some MB. */
const MAX_WAITING = 3;

type FetchAhead = (
  request: PageRequest,
  options: Pick<Parameters<FetchPage>[1], 'signal' | 'onReceived'>,
) => Promise<Page>;

interface Ahead extends PageRequest {
  response: Promise<Page>;
  controller: AbortController;
}

/** Where the next request ahead begins. */
interface Plan {
  skip: number;
  top: number;
  /** How many rows further each request begins. */
  stride: number;
  totalCount: number;
}

/**
 * At most `concurrency` requests are under way at once, fewer where the source shows strain; the next one is sent as soon as
 * a response comes, even before that page's turn, until a few pages wait. `fetchPage` must honour its signal; `countRetries`
 * says how many requests had to be sent again so far.
 */
export function createPrefetcher(
  fetchPage: FetchAhead,
  concurrency: number,
  countRetries: () => number = () => 0,
): Prefetcher {
  /** In the list's order, with a response or not. */
  let queue: Ahead[] = [];
  let plan: Plan | undefined;
  let retries = countRetries();
  const pending = new Set<Ahead>();
  const limit = createConcurrencyLimit(concurrency);

  const start = (request: PageRequest): Ahead => {
    const controller = new AbortController();
    const askedAt = performance.now();
    const onReceived = () => {
      if (!pending.delete(ahead)) return;
      limit.noteResponse({ milliseconds: performance.now() - askedAt, wasRetried: countRetries() > retries });
      retries = countRetries();
      fill();
    };
    const response = fetchPage(request, { signal: controller.signal, onReceived });
    const ahead: Ahead = { ...request, controller, response };
    pending.add(ahead);
    response.then(onReceived, () => {
      // A page that was dropped or whose turn is yet to come may fail: only the one that is wanted now may throw.
      if (pending.delete(ahead)) plan = undefined;
    });
    return ahead;
  };

  const fill = () => {
    while (plan && pending.size < limit.limit && queue.length < concurrency + MAX_WAITING) {
      const { skip, top, stride, totalCount } = plan;
      if (skip >= totalCount) return;
      queue.push(start({ skip, top }));
      plan = stride > 0 ? { ...plan, skip: skip + stride } : undefined;
    }
  };

  const cancel = (ahead: Ahead) => {
    ahead.controller.abort();
    pending.delete(ahead);
  };

  const drop = () => {
    // A response that turned out to be no page is requested again, and so those that are here are cancelled, too.
    for (const ahead of [...queue, ...pending]) cancel(ahead);
    queue = [];
    plan = undefined;
  };

  return {
    async fetch(request) {
      const ahead = queue.shift();
      if (ahead && serves(ahead, request)) {
        fill();
        // Responses that came meanwhile must be able to start the next request before this page is worked on.
        await new Promise(setImmediate);
        return ahead.response;
      }
      if (ahead) {
        limit.noteDiscarded();
        cancel(ahead);
      }
      drop();
      return start(request).response;
    },

    prepare(next, last, margin = 1) {
      const [head, ...rest] = queue;
      if (head && !serves(head, next)) {
        if (margin === 1 && isJustTooFar(head, next)) {
          cancel(head);
          while (pending.size >= concurrency) cancel(rest.pop()!);
          queue = [start(next), ...rest];
        } else {
          limit.noteDiscarded();
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

/** Two rows prove a page; some more allow for a tie group across its end. */
function overlapOf(pageLength: number): number {
  return Math.max(2, Math.ceil(pageLength / 100));
}

function serves(ahead: PageRequest, request: PageRequest): boolean {
  const early = request.skip - ahead.skip;
  return ahead.top >= request.top && early >= 0 && early <= ahead.top / 2;
}

/**
 * A tie group across the page's end was larger than the overlap, but so little that the pages requested after this one fit
 * again after one or two: each gains on the next what the overlap has beyond two rows.
 */
function isJustTooFar(ahead: PageRequest, request: PageRequest): boolean {
  const late = ahead.skip - request.skip;
  return ahead.top >= request.top && late > 0 && late <= 2 * (overlapOf(ahead.top) - 2);
}
