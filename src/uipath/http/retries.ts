import { setTimeout as wait } from 'node:timers/promises';
import pRetry from 'p-retry';
import { ExportError } from '../../core/errors.ts';
import { decideRetry } from '../../core/retry.ts';
import type { RequestMeter } from '../../core/source.ts';
import { count } from '../../text/format.ts';
import { RequestFailure } from './request.ts';

/** The part of pino's logger that this folder uses. */
export interface Log {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** How often a request is retried and how long it waits. The last three are parameters for tests. */
export interface RetryOptions {
  /** Maximum attempts of one request. */
  retryLimit: number;
  retryMaxDelayMs: number;
  log: Log;
  random?: () => number;
  /** Milliseconds since 1970. */
  now?: () => number;
  /** Must reject immediately when the signal is aborted. */
  sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Calls `attemptRequest` until it succeeds, with the waits of `decideRetry`. Only a `RequestFailure` is retried. `onRetry` is called
 * before each wait.
 * Throws `source-away` after the last attempt and `interrupted` if the signal was aborted. Rethrows other errors unchanged.
 */
export async function withRetries<T>(
  attemptRequest: () => Promise<T>,
  target: { url: string; signal: AbortSignal; onRetry?: (reason: string) => void },
  options: RetryOptions,
): Promise<T> {
  const { retryLimit: limit, retryMaxDelayMs: maxDelayMs, log } = options;
  const { random = Math.random, now = Date.now, sleep = waitUntil } = options;
  const { url, signal, onRetry } = target;
  try {
    return await pRetry(attemptRequest, {
      // decideRetry alone limits the attempts, and this function waits.
      retries: Number.POSITIVE_INFINITY,
      minTimeout: 0,
      async onFailedAttempt({ error, attemptNumber: attempt }) {
        if (!(error instanceof RequestFailure) || signal.aborted) throw error;
        const circumstances = { attempt, limit, maxDelayMs, now: now(), random: random() };
        const decision = decideRetry(error.failure, circumstances);
        if (!decision.retry) throw noUsableResponse(error, url, attempt);
        const { delayMs, reason } = decision;
        const status = error.failure.kind === 'status' ? error.failure.status : undefined;
        log.warn(
          { reason, found: error.description, status, attempt, limit, delayMs, url },
          'request failed, retrying',
        );
        onRetry?.(reason);
        await sleep(delayMs, signal);
      },
    });
  } catch (error) {
    if (signal.aborted) throw interrupted(url);
    throw error;
  }
}

/** Counts a failed request that is repeated. */
export function countRetry(meter: RequestMeter, reason: string): void {
  meter.retries++;
  if (meter.retriesBy) meter.retriesBy[reason] = (meter.retriesBy[reason] ?? 0) + 1;
}

/** The error of a request that was stopped by its signal. */
export function interrupted(url: string): ExportError {
  return new ExportError('interrupted', `Stopped by a signal while waiting for ${url}.`);
}

function noUsableResponse(error: RequestFailure, url: string, attempts: number): ExportError {
  const { kind } = error.failure;
  const found = kind === 'status' || kind === 'truncated' ? 'No usable response' : 'No response';
  const remedy =
    kind === 'proxy'
      ? 'check the proxy and the variable that names it'
      : 'check the address, the network (HTTPS_PROXY) and the status of the service';
  return new ExportError(
    'source-away',
    `${found} from ${url} after ${count(attempts, 'attempt')}: ${error.description}. ` +
      `No data is lost: the next run continues from here. If this persists, ${remedy}.`,
    { cause: error.cause },
  );
}

async function waitUntil(delayMs: number, signal: AbortSignal): Promise<void> {
  await wait(delayMs, undefined, { signal });
}
