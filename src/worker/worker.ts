/**
 * The runs of one organization in `start`, one after another: what the schedule asks for while a run of that kind goes on is
 * remembered once, not many times.
 *
 * A run that failed is tried again before the schedule asks for it, after waits that grow. The schedule itself is never
 * held back: with the usual five minutes that is one try in five minutes while an outage lasts, and whoever looks at the
 * clock knows when everything will have caught up. A schedule of seconds is as eager during an outage as it is otherwise.
 *
 * A worker that is one of several shares their slots, and its organization with other processes: whichever has the lock
 * runs, and what one of them has done since the schedule asked for it, the others leave out.
 */
import type { App } from '../app.ts';
import { ExportError, isInterrupted, treatmentOf } from '../core/errors.ts';
import type { RunKind } from '../postgres/write/session.ts';
import type { UnrecordedOutcome } from '../postgres/write/store.ts';
import { runExport } from '../runs/export.ts';
import type { Health } from '../status/health.ts';
import type { Metrics } from '../status/metrics.ts';
import type { RunMetrics } from '../status/run-metrics.ts';
import { createSlots, type Slots, type Turn } from './slots.ts';

/** The wait after the first failure, doubled after each that follows, up to the longest. */
interface RetryWaits {
  firstMs: number;
  longestMs: number;
}

const RETRY_WAITS: RetryWaits = { firstMs: 30_000, longestMs: 15 * 60_000 };

/** Of a fault of the program. */
const UNFORESEEN = { isRetryable: true, logLevel: 'error' } as const;

/** The schedule strikes at other moments in other processes. A run so shortly before counts, too. */
const CLOCKS_APART_MS = 1_000;

export interface Worker {
  /** Runs `kind` as soon as there is room for it. */
  trigger(kind: RunKind): void;
  /** Resolves once no run is under way; call it after the signal was aborted. */
  settled(): Promise<void>;
}

export interface WorkerOptions {
  retryWaits?: RetryWaits;
  /** Given to each of several. */
  slots?: Slots | undefined;
}

/** One for each organization; they differ in their order from process to process, so that processes share them out. */
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
  /** When what is wanted was asked for last. */
  const wanted = new Map<RunKind, number>();
  const serving = new Map<RunKind, Promise<void>>();
  const retries = createRetries(retryWaits);
  const unrecordedOutcomes: UnrecordedOutcome[] = [];

  const want = (kind: RunKind, askedAt: number) => {
    if (signal.aborted) return;
    wanted.set(kind, Math.max(askedAt, wanted.get(kind) ?? 0));
    if (!serving.has(kind)) serving.set(kind, serve(kind));
  };

  const serve = async (kind: RunKind) => {
    while (wanted.has(kind) && !signal.aborted) {
      await slots.use({ organization, kind }, async (turn) => {
        const askedAt = wanted.get(kind)!;
        wanted.delete(kind);
        retries.cancel(kind);
        if (!signal.aborted) await runOnce(kind, askedAt, turn);
      });
    }
    serving.delete(kind);
  };

  const runOnce = async (kind: RunKind, askedAt: number, turn: Turn) => {
    try {
      health.runStarted(kind);
      const onChunk: Turn['onChunk'] = (progress) => {
        metrics.observeChunk(kind, progress);
        turn.onChunk(progress);
      };
      const either = AbortSignal.any([signal, turn.signal]);
      const unlessDoneWithinMs = shared && performance.now() - askedAt + CLOCKS_APART_MS;
      const request = { kind, signal: either, onChunk, unrecordedOutcomes, unlessDoneWithinMs };
      const summary = await runExport(app, request);
      retries.forget(kind);
      health.runEnded(summary);
      metrics.observeRun(summary);
    } catch (error) {
      if (isInterrupted(error)) goOnLater(kind, askedAt, error);
      else noteFailure(kind, askedAt, error);
    }
  };

  const goOnLater = (kind: RunKind, askedAt: number, error: unknown) => {
    if (signal.aborted) return;
    health.runFailed(kind, error);
    metrics.observeFailure(kind, error);
    want(kind, askedAt);
  };

  const noteFailure = (kind: RunKind, askedAt: number, error: unknown) => {
    health.runFailed(kind, error);
    const code = error instanceof ExportError ? error.code : undefined;
    const message = error instanceof Error ? error.message : String(error);
    const { isRetryable, logLevel } = code ? treatmentOf(code) : UNFORESEEN;
    if (!isRetryable) {
      retries.forget(kind);
      app.log[logLevel]({ kind }, message);
      return;
    }
    metrics.observeFailure(kind, error);
    const retryInSeconds = retries.plan(kind, () => want(kind, askedAt)) / 1000;
    // Among several, somebody else has one of them all the time.
    if (code === 'locked')
      app.log[shared ? 'debug' : logLevel]({ kind, retryInSeconds }, `standing by: ${message}`);
    else app.log[logLevel]({ ...describe(error), kind, code, retryInSeconds }, `${kind} failed: ${message}`);
  };

  return {
    trigger: (kind) => want(kind, performance.now()),
    async settled() {
      retries.stop();
      await Promise.all(serving.values());
    },
  };
}

/** The timers of runs that are to be tried again, one of each kind. */
function createRetries({ firstMs, longestMs }: RetryWaits) {
  const failures = new Map<RunKind, number>();
  const timers = new Map<RunKind, NodeJS.Timeout>();
  return {
    /** After a wait that doubles from failure to failure; says how long it is. */
    plan(kind: RunKind, tryAgain: () => void): number {
      const failed = failures.get(kind) ?? 0;
      failures.set(kind, failed + 1);
      const delayMs = Math.min(longestMs, firstMs * 2 ** failed);
      timers.set(kind, setTimeout(tryAgain, delayMs).unref());
      return delayMs;
    },
    cancel: (kind: RunKind) => clearTimeout(timers.get(kind)),
    /** The next failure is a first one. */
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

/** A stack helps only where nobody foresaw the error. */
function describe(error: unknown): object {
  return error instanceof ExportError ? {} : { err: error };
}
