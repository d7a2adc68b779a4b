/**
 * The maximum of requests in flight, adapted like TCP's congestion window (additive increase, multiplicative decrease): it is
 * halved when the source is overloaded, and incremented after `limit` good responses in a row.
 *
 * Signs of overload are a retried request, as after HTTP 429, and a response that took much longer than the fastest recent one.
 * Requests that were in flight when the limit was halved do not halve it again.
 */
export interface ConcurrencyLimit {
  /** From 1 to the configured maximum. */
  readonly limit: number;
  /** Records a response that arrived `milliseconds` after its request; `wasRetried`: a request was retried meanwhile. */
  recordResponse(response: { milliseconds: number; wasRetried: boolean }): void;
  /** Records prefetched pages that did not fit. Halves the limit, so that a changing list costs the source few requests. */
  recordWastedRequest(): void;
}

const REMEMBERED_RESPONSES = 32;
/** A response is slow if it took this factor longer than the fastest, plus this time: a busy worker delays responses, too. */
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
    recordResponse({ milliseconds, wasRetried }) {
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
    recordWastedRequest: halve,
  };
}
