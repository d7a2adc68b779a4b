/** A failed try of one request, as plain data: all that the decision to try again rests on. */
export type Failure =
  /** No answer came, no whole answer came in time, or its body broke off. */
  | { kind: 'network' | 'timeout' | 'truncated' }
  /** An answer with this HTTP status; `retryAfter` is the header as sent. */
  | { kind: 'status'; status: number; retryAfter?: string | undefined };

interface RetryCircumstances {
  /** The number of the try that failed, from 1. */
  attempt: number;
  /** Tries a request at most; 1 means none is repeated. */
  limit: number;
  /** The longest wait, `Retry-After` included. UiPath's own clients cap theirs at 120 s. */
  maxDelayMs: number;
  /** Milliseconds since 1970, to compare a `Retry-After` date with. */
  now: number;
  /** A number from 0 to 1, drawn for this decision. */
  random: number;
}

/** `reason` is a phrase for the log: what was found, and what follows from it when that is not a retry. */
export type RetryDecision =
  | { retry: true; delayMs: number; reason: string }
  | { retry: false; reason: string };

const BASE_DELAY_MS = 1000;

/**
 * Decides whether and when a failed request is sent again.
 *
 * The wait is exponential with full jitter (a random part of 1, 2, 4… s), so that workers which failed together do not come
 * back together, and never shorter than `Retry-After` nor longer than `maxDelayMs`.
 */
export function decideRetry(failure: Failure, circumstances: RetryCircumstances): RetryDecision {
  const { attempt, limit, maxDelayMs, now, random } = circumstances;
  const found = describeFailure(failure);
  if (failure.kind === 'status' && !isRetriedStatus(failure.status)) {
    return { retry: false, reason: `${found} is not worth another try` };
  }
  if (attempt >= limit) return { retry: false, reason: `${found} at the last try of ${limit}` };
  const backoffMs = random * Math.min(maxDelayMs, BASE_DELAY_MS * 2 ** (attempt - 1));
  const retryAfter = failure.kind === 'status' ? failure.retryAfter : undefined;
  const askedMs = retryAfter === undefined ? 0 : (parseRetryAfter(retryAfter, now) ?? 0);
  return {
    retry: true,
    delayMs: Math.round(Math.min(maxDelayMs, Math.max(backoffMs, askedMs))),
    reason: found,
  };
}

/**
 * Reads a `Retry-After` header, seconds or an HTTP date, as milliseconds from `now`; a date in the past is 0.
 * Gives `undefined` for anything else, a negative number included.
 */
export function parseRetryAfter(text: string, now: number): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  // Date.parse alone would read nearly anything as a date, "-5" as a May.
  if (!/^[A-Z][a-z]{2,8}, \d\d[ -][A-Z][a-z]{2}[ -]\d{2,4} \d\d:\d\d:\d\d GMT$/.test(trimmed))
    return undefined;
  const at = Date.parse(trimmed);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

/** The statuses that may be different next time: too slow, too early, too many, and whatever ails a server. */
export function isRetriedStatus(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || (status >= 500 && status < 600);
}

function describeFailure(failure: Failure): string {
  switch (failure.kind) {
    case 'network':
      return 'network fault';
    case 'timeout':
      return 'time-out';
    case 'truncated':
      return 'unreadable body';
    case 'status':
      return `HTTP ${failure.status}`;
  }
}
