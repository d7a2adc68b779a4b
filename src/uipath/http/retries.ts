import { setTimeout as wait } from 'node:timers/promises';
import pRetry from 'p-retry';
import { ExportError } from '../../core/errors.ts';
import { decideRetry } from '../../core/retry.ts';
import { FailedTry } from './request.ts';

/** The part of pino's logger that this folder uses. */
export interface Log {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How often and how patiently a request is repeated. The last three are parameters for tests. */
export interface RetryOptions {
  /** Tries a request at most. */
  retryLimit: number;
  retryMaxDelayMs: number;
  log: Log;
  random?: () => number;
  /** Milliseconds since 1970. */
  now?: () => number;
  /** Must reject, at once, when the signal is aborted. */
  sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Runs `tryOnce` until it succeeds, as `decideRetry` says. Only a `FailedTry` is repeated.
 * Throws `source-away` after the last try, `interrupted` when the signal was aborted, and what else `tryOnce` threw as it is.
 */
export async function withRetries<T>(
  tryOnce: () => Promise<T>,
  target: { url: string; signal: AbortSignal; onRetry?: (reason: string) => void },
  options: RetryOptions,
): Promise<T> {
  const { retryLimit: limit, retryMaxDelayMs: maxDelayMs, log } = options;
  const { random = Math.random, now = Date.now, sleep = waitUntil } = options;
  const { url, signal, onRetry } = target;
  try {
    return await pRetry(tryOnce, {
      // decideRetry alone says when it is over, and this function does the waiting.
      retries: Number.POSITIVE_INFINITY,
      minTimeout: 0,
      async onFailedAttempt({ error, attemptNumber: attempt }) {
        if (!(error instanceof FailedTry) || signal.aborted) throw error;
        const circumstances = { attempt, limit, maxDelayMs, now: now(), random: random() };
        const decision = decideRetry(error.failure, circumstances);
        if (!decision.retry) throw giveUp(error, url, attempt);
        const { delayMs, reason } = decision;
        const status = error.failure.kind === 'status' ? error.failure.status : undefined;
        log.warn(
          { reason, found: error.found, status, attempt, limit, delayMs, url },
          'request failed, trying again',
        );
        await sleep(delayMs, signal);
        onRetry?.(reason);
      },
    });
  } catch (error) {
    if (signal.aborted) throw interrupted(url);
    throw error;
  }
}

/** The error of a request that an aborted signal ended. */
export function interrupted(url: string): ExportError {
  return new ExportError('interrupted', `Asked to stop while waiting for ${url}.`);
}

function giveUp(error: FailedTry, url: string, attempt: number): ExportError {
  const times = attempt === 1 ? 'once' : `${attempt} times`;
  return new ExportError(
    'source-away',
    `Asked ${url} ${times} in vain; the last time: ${error.found}. ` +
      'Nothing is lost: the next run goes on from here. If it lasts, check the address and the network (HTTPS_PROXY) ' +
      'or the state of the service.',
    { cause: error.cause },
  );
}

async function waitUntil(delayMs: number, signal: AbortSignal): Promise<void> {
  await wait(delayMs, undefined, { signal });
}
