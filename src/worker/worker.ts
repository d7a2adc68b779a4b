/**
 * Runs the exports of one organization in `start`, one after another. Ticks of one kind during a run of that kind cause one more
 * run, not one each.
 *
 * A failed run is retried with growing backoff. The backoff never delays the schedule: with the default of five minutes, an
 * outage causes at least one attempt every five minutes, so the time of the next attempt is known. A schedule of seconds
 * keeps its rate during an outage.
 *
 * Several workers of a process share its slots. Several processes share each organization: the one that has the lease exports
 * it, and the others skip what it has exported since the tick.
 */
import type { App } from '../app.ts';
import { ExportError, factsOf, isInterrupted, treatmentOf } from '../core/errors.ts';
import type { RunCounters } from '../core/store.ts';
import type { RunKind } from '../postgres/write/session.ts';
import type { UnrecordedOutcome } from '../postgres/write/store.ts';
import { runExport } from '../runs/export.ts';
import { createHeadLog } from '../runs/head-log.ts';
import type { Health } from '../status/health.ts';
import type { Metrics } from '../status/metrics.ts';
import type { RunMetrics } from '../status/run-metrics.ts';
import { createSlots, type Slot, type Slots } from './slots.ts';

/** The wait after the first failure. It doubles with each further failure, up to `longestMs`. */
interface RetryWaits {
  firstMs: number;
  longestMs: number;
}

const RETRY_WAITS: RetryWaits = { firstMs: 30_000, longestMs: 15 * 60_000 };

/** Treatment of an unexpected error. */
const UNEXPECTED = { isRetryable: true, logLevel: 'error' } as const;

/** Processes see a tick at slightly different times. A run that ended this shortly before the tick counts, too. */
const CLOCK_SKEW_MS = 1_000;

export interface Worker {
  /** Requests a run of `kind`, which starts once a slot is free. */
  trigger(kind: RunKind): void;
  /** Resolves once no run is active. Call it after the signal was aborted. */
  settled(): Promise<void>;
}

export interface WorkerOptions {
  retryWaits?: RetryWaits;
  /** Shared by the workers of several organizations. */
  slots?: Slots | undefined;
}

/** Creates a worker for each organization, in random order, so that several processes start with different ones. */
export function createWorkers(
  apps: readonly App[],
  watchers: { health: Health; metrics: Metrics },
  signal: AbortSignal,
  options: WorkerOptions = {},
): Worker {
  const { parallelOrganizations } = apps[0]!.config.export;
  const slots = apps.length === 1 ? undefined : createSlots({ slots: parallelOrganizations });
  const workers = shuffle(apps).map((app) => {
    const metrics = watchers.metrics.follow(app.config.source.organization, app.config.export);
    return createWorker(app, { health: watchers.health, metrics }, signal, { slots, ...options });
  });
  return {
    trigger: (kind) => {
      for (const worker of workers) worker.trigger(kind);
    },
    async settled() {
      await Promise.all(workers.map((worker) => worker.settled()));
    },
  };
}

export function createWorker(
  app: App,
  watchers: { health: Health; metrics: RunMetrics },
  signal: AbortSignal,
  { retryWaits = RETRY_WAITS, slots: shared }: WorkerOptions = {},
): Worker {
  const { organization } = app.config.source;
  const { metrics } = watchers;
  const health = watchers.health.of(organization);
  const slots = shared ?? createSlots({ slots: 1 });
  /** The time of the last request for each kind of run. */
  const requested = new Map<RunKind, number>();
  const serving = new Map<RunKind, Promise<void>>();
  const retries = createRetries(retryWaits);
  const unrecordedOutcomes: UnrecordedOutcome[] = [];
  const headLog = createHeadLog(app);

  const request = (kind: RunKind, requestedAt: number) => {
    if (signal.aborted) return;
    health.runRequested();
    requested.set(kind, Math.max(requestedAt, requested.get(kind) ?? 0));
    if (!serving.has(kind)) serving.set(kind, serve(kind));
  };

  const serve = async (kind: RunKind) => {
    while (requested.has(kind) && !signal.aborted) {
      await slots.use({ organization, kind }, async (slot) => {
        const requestedAt = requested.get(kind)!;
        requested.delete(kind);
        retries.cancel(kind);
        if (!signal.aborted) await runOnce(kind, requestedAt, slot);
      });
    }
    serving.delete(kind);
  };

  const runOnce = async (kind: RunKind, requestedAt: number, slot: Slot) => {
    try {
      health.runStarted(kind);
      const onChunk: Slot['onChunk'] = (progress) => {
        metrics.observeChunk(progress);
        slot.onChunk(progress);
      };
      const onStart = (counters: RunCounters) => {
        health.runReads(counters);
        metrics.observeStart(counters);
      };
      const anySignal = AbortSignal.any([signal, slot.signal]);
      const unlessDoneWithinMs = shared && performance.now() - requestedAt + CLOCK_SKEW_MS;
      const options = { kind, signal: anySignal, onStart, onChunk, unrecordedOutcomes, unlessDoneWithinMs };
      const summary = await runExport(app, options);
      retries.forget(kind);
      health.runEnded(summary);
      metrics.observeRun(summary);
      await headLog.logOnce(new Date());
    } catch (error) {
      if (isInterrupted(error)) requeue(kind, requestedAt, error);
      else recordFailure(kind, requestedAt, error);
    }
  };

  const requeue = (kind: RunKind, requestedAt: number, error: unknown) => {
    const { message } = error as Error;
    app.log.info({ kind, ...factsOf(error) }, `${nameOf(kind, error)} interrupted: ${message}`);
    if (signal.aborted) return;
    health.runFailed(kind, error);
    metrics.observeFailure(kind, error);
    request(kind, requestedAt);
  };

  const recordFailure = (kind: RunKind, requestedAt: number, error: unknown) => {
    const code = error instanceof ExportError ? error.code : undefined;
    const message = error instanceof Error ? error.message : String(error);
    const { isRetryable, logLevel } = code ? treatmentOf(code) : UNEXPECTED;
    // An error that only a person can end waits for the schedule.
    const retry = isRetryable ? retries.plan(kind, () => request(kind, requestedAt)) : null;
    if (!isRetryable) retries.forget(kind);
    health.runFailed(
      kind,
      error,
      retry && { attempt: retry.attempt, at: new Date(Date.now() + retry.delayMs) },
    );
    if (code === 'superseded') {
      app.log[logLevel]({ kind }, message);
      return;
    }
    metrics.observeFailure(kind, error);
    const retryInSeconds = retry ? retry.delayMs / 1000 : undefined;
    // With several organizations, another process usually holds the lease of one of them.
    if (code === 'locked')
      app.log[shared ? 'debug' : logLevel]({ kind, retryInSeconds }, `standing by: ${message}`);
    else {
      const fields = { ...describe(error), kind, code, retryInSeconds, ...factsOf(error) };
      app.log[logLevel](fields, `${nameOf(kind, error)} failed: ${message}`);
    }
  };

  return {
    trigger: (kind) => request(kind, performance.now()),
    async settled() {
      retries.stop();
      await Promise.all(serving.values());
    },
  };
}

/** The timers of retries, one for each kind of run. */
function createRetries({ firstMs, longestMs }: RetryWaits) {
  const failures = new Map<RunKind, number>();
  const timers = new Map<RunKind, NodeJS.Timeout>();
  return {
    /** Calls `retry` after the backoff. Returns the number of that attempt, from 2, and the wait. */
    plan(kind: RunKind, retry: () => void): { attempt: number; delayMs: number } {
      const failed = failures.get(kind) ?? 0;
      failures.set(kind, failed + 1);
      const delayMs = Math.min(longestMs, firstMs * 2 ** failed);
      timers.set(kind, setTimeout(retry, delayMs).unref());
      return { attempt: failed + 2, delayMs };
    },
    cancel: (kind: RunKind) => clearTimeout(timers.get(kind)),
    /** Resets the backoff. */
    forget: (kind: RunKind) => failures.delete(kind),
    stop() {
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

function shuffle<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

/** `run 7`, or `run` where none has begun. */
function nameOf(kind: RunKind, error: unknown): string {
  const { run } = factsOf(error) as { run?: string };
  return run === undefined ? kind : `${kind} ${run}`;
}

/** Adds the stack of an unexpected error only. */
function describe(error: unknown): object {
  return error instanceof ExportError ? {} : { err: error };
}
