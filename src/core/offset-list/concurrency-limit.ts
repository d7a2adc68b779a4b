/**
 * How many requests may be under way at once, found as TCP finds it: half as many after a response that shows strain, one more
 * after as many good responses in a row as the limit allows requests.
 *
 * Strain is a request that had to be sent again, as after HTTP 429, or a response that took much longer than the fastest of
 * the last ones. Requests that were under way when the limit was halved do not halve it again.
 */
export interface ConcurrencyLimit {
  /** From 1 to the ceiling. */
  readonly limit: number;
  /** A response came, `milliseconds` after its request; `wasRetried` when a request had to be sent again meanwhile. */
  noteResponse(response: { milliseconds: number; wasRetried: boolean }): void;
  /** Requests made ahead were of no use: a list that moves must not cost the source much. */
  noteDiscarded(): void;
}

const REMEMBERED_RESPONSES = 32;
/** A response is slow that took this many times as long as the fastest, and this much longer: a busy worker delays some, too. */
const SLOW_FACTOR = 2;
const SLOW_MS = 250;

export function createConcurrencyLimit(ceiling: number): ConcurrencyLimit {
  let limit = ceiling;
  let goodResponses = 0;
  let responsesToIgnore = 0;
  let recentMs: number[] = [];

  const halve = () => {
    responsesToIgnore = limit - 1;
    limit = Math.max(1, Math.floor(limit / 2));
    goodResponses = 0;
  };

  return {
    get limit() {
      return limit;
    },
    noteResponse({ milliseconds, wasRetried }) {
      const isSlow = milliseconds > SLOW_FACTOR * Math.min(...recentMs) + SLOW_MS;
      // The wait before a retry says nothing about how fast the source responds.
      if (!wasRetried) recentMs = [...recentMs.slice(1 - REMEMBERED_RESPONSES), milliseconds];
      if (responsesToIgnore > 0) {
        responsesToIgnore--;
      } else if (wasRetried || isSlow) {
        halve();
      } else if (++goodResponses >= limit) {
        limit = Math.min(ceiling, limit + 1);
        goodResponses = 0;
      }
    },
    noteDiscarded: halve,
  };
}
