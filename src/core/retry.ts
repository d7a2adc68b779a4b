/** The failure of one attempt at a request: everything that the decision to retry depends on. */
export type Failure =
  /** No response, no complete response before the timeout, or an incomplete or unreadable body. */
  | { kind: 'network' | 'timeout' | 'truncated' }
  /** The proxy opened no connection; `retryAfter` is the header of its response. */
  | { kind: 'proxy'; retryAfter?: string | undefined }
  /** A response with this HTTP status; `retryAfter` is the header as sent. */
  | { kind: 'status'; status: number; retryAfter?: string | undefined };

interface RetryCircumstances {
  /** The number of the failed attempt, from 1. */
  attempt: number;
  /** Maximum attempts of one request; 1 means no retries. */
  limit: number;
  /** The longest wait, including `Retry-After`. UiPath's own clients use 120 s. */
  maxDelayMs: number;
  /** Current time in milliseconds since 1970, for a `Retry-After` date. */
  now: number;
  /** A random number from 0 to 1, drawn for this decision. */
  random: number;
}

/** `reason` is a phrase for the log: the failure and, if there is no retry, why not. */
export type RetryDecision =
  | { retry: true; delayMs: number; reason: string }
  | { retry: false; reason: string };

const BASE_DELAY_MS = 1000;

/**
 * Decides whether and when a failed request is sent again.
 *
 * The backoff is exponential with full jitter (a random part of 1, 2, 4… s), so that workers that failed together do not
 * retry together. The wait is at least `Retry-After` and at most `maxDelayMs`.
 */
export function decideRetry(failure: Failure, circumstances: RetryCircumstances): RetryDecision {
  const { attempt, limit, maxDelayMs, now, random } = circumstances;
  const description = describeFailure(failure);
  if (failure.kind === 'status' && !isRetriedStatus(failure.status)) {
    return { retry: false, reason: `${description} is not retried` };
  }
  if (attempt >= limit) return { retry: false, reason: `${description} at the last of ${limit} attempts` };
  const backoffMs = random * Math.min(maxDelayMs, BASE_DELAY_MS * 2 ** (attempt - 1));
  const retryAfter = 'retryAfter' in failure ? failure.retryAfter : undefined;
  const retryAfterMs = retryAfter === undefined ? 0 : (parseRetryAfter(retryAfter, now) ?? 0);
  return {
    retry: true,
    delayMs: Math.round(Math.min(maxDelayMs, Math.max(backoffMs, retryAfterMs))),
    reason: description,
  };
}

/**
 * Parses a `Retry-After` header, seconds or an HTTP date, as milliseconds from `now`; a date in the past is 0.
 * Returns `undefined` for anything else, including a negative number.
 */
export function parseRetryAfter(text: string, now: number): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  // Date.parse alone accepts nearly anything: it parses "-5" as a date in May.
  if (!/^[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT$/.test(trimmed))
    return undefined;
  const at = Date.parse(trimmed);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** Whether a request with this status is retried: 408, 425, 429 and all 5xx, which may succeed later. */
export function isRetriedStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status < 600);
}

function describeFailure(failure: Failure): string {
  switch (failure.kind) {
    case 'network':
      return 'network fault';
    case 'proxy':
      return 'proxy failure';
    case 'timeout':
      return 'time-out';
    case 'truncated':
      return 'unreadable body';
    case 'status':
      return `HTTP ${failure.status}`;
  }
}
