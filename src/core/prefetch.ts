/**
 * Requests made ahead. Each page is judged by the frontier rule when its turn comes, so nothing here can change the
 * outcome: a page that does not fit is dropped and asked for again.
 */
import type { Page } from './event.ts';
import { createPace } from './pace.ts';

export interface PageRequest {
  skip: number;
  top: number;
}

export interface Prefetcher {
  /** The page for `request`, or one that was asked for ahead, begins up to a few rows earlier and shows the same. */
  fetch(request: PageRequest): Promise<Page>;
  /**
   * Starts the request that comes next, and the likely ones after it, given the last page's length and total.
   * `margin` is how many rows before the first row not taken a request begins.
   */
  prepare(next: PageRequest, last: Page, margin?: number): void;
  /** Drops what is under way. */
  drop(): void;
}

interface Ahead extends PageRequest {
  answer: Promise<{ page: Page; milliseconds: number }>;
  controller: AbortController;
}

/**
 * At most `concurrency` requests are under way at once, fewer where the source shows strain. `fetchPage` must honour its
 * signal; `countRetries` says how many requests had to be sent again so far.
 */
export function createPrefetcher(
  fetchPage: (request: PageRequest, signal: AbortSignal) => Promise<Page>,
  concurrency: number,
  countRetries: () => number = () => 0,
): Prefetcher {
  let queue: Ahead[] = [];
  let retries = countRetries();
  const pace = createPace(concurrency);

  const start = (request: PageRequest): Ahead => {
    const controller = new AbortController();
    const askedAt = performance.now();
    const answer = fetchPage(request, controller.signal).then((page) => {
      return { page, milliseconds: performance.now() - askedAt };
    });
    // A dropped page may still fail; only the one that is asked for may throw.
    answer.catch(() => {});
    return { ...request, answer, controller };
  };

  const take = async ({ answer }: Ahead): Promise<Page> => {
    const { page, milliseconds } = await answer;
    pace.noteAnswer({ milliseconds, wasRefused: countRetries() > retries });
    retries = countRetries();
    return page;
  };

  const drop = () => {
    for (const ahead of queue) ahead.controller.abort();
    queue = [];
  };

  return {
    async fetch(request) {
      const ahead = queue.shift();
      if (ahead && serves(ahead, request)) return take(ahead);
      if (ahead) pace.noteWaste();
      ahead?.controller.abort();
      drop();
      return take(start(request));
    },

    prepare(next, last, margin = 1) {
      if (queue[0] && !serves(queue[0], next)) {
        pace.noteWaste();
        drop();
      }
      const stride = last.rows.length - overlapOf(last.rows.length) - (margin - 1);
      let skip = queue.length > 0 ? queue.at(-1)!.skip + stride : next.skip;
      while (queue.length < pace.depth && skip < last.totalCount && (stride > 0 || queue.length === 0)) {
        queue.push(start({ skip, top: next.top }));
        skip += stride;
      }
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
