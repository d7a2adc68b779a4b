/**
 * The runs of `start`, one after another: what the schedule asks for while a run goes on is remembered once, not many times.
 *
 * A run that failed is tried again before the schedule asks for it, after waits that grow. The schedule itself is never
 * held back: with the usual five minutes that is one try in five minutes while an outage lasts, and whoever looks at the
 * clock knows when everything will have caught up. A schedule of seconds is as eager during an outage as it is otherwise.
 */
import type { App } from './app.ts';
import { ExportError } from './core/errors.ts';
import type { PageProgress } from './core/export.ts';
import { runExport } from './export-run.ts';
import type { RunKind } from './postgres/session.ts';
import type { UnstoredEnd } from './postgres/store.ts';
import type { Health } from './status/health.ts';
import type { RunMetrics } from './status/run-metrics.ts';

/** The wait after the first failure, doubled after each that follows, up to the longest. */
interface RetryWaits {
  firstMs: number;
  longestMs: number;
}

const RETRY_WAITS: RetryWaits = { firstMs: 30_000, longestMs: 15 * 60_000 };

export interface Worker {
  /** Runs `kind` as soon as the run under way, if any, has ended. */
  trigger(kind: RunKind): void;
  /** Resolves once no run is under way; call it after the signal was aborted. */
  settled(): Promise<void>;
}

export function createWorker(
  app: App,
  watchers: { health: Health; metrics: RunMetrics },
  signal: AbortSignal,
  retryWaits = RETRY_WAITS,
): Worker {
  const { health, metrics } = watchers;
  const wanted = new Set<RunKind>();
  let running: Promise<void> | undefined;
  const failures = new Map<RunKind, number>();
  const retryTimers = new Map<RunKind, NodeJS.Timeout>();
  const unstoredEnds: UnstoredEnd[] = [];

  const trigger = (kind: RunKind) => {
    if (signal.aborted) return;
    wanted.add(kind);
    running ??= drain().finally(() => {
      running = undefined;
    });
  };

  const drain = async () => {
    for (const kind of wanted) {
      wanted.delete(kind);
      clearTimeout(retryTimers.get(kind));
      await runOnce(kind);
    }
  };

  const runOnce = async (kind: RunKind) => {
    if (signal.aborted) return;
    health.runStarted(kind);
    try {
      const onPage = (progress: PageProgress) => metrics.observePage(kind, progress);
      const summary = await runExport(app, { kind, signal, onPage, unstoredEnds });
      failures.delete(kind);
      health.runEnded(summary);
      metrics.observeRun(summary);
    } catch (error) {
      noteFailure(kind, error);
    }
  };

  const noteFailure = (kind: RunKind, error: unknown) => {
    const code = error instanceof ExportError ? error.code : undefined;
    if (code === 'interrupted') return;
    health.runFailed(kind, error);
    metrics.observeFailure(kind, error);
    const message = error instanceof Error ? error.message : String(error);
    const failed = failures.get(kind) ?? 0;
    const delayMs = Math.min(retryWaits.longestMs, retryWaits.firstMs * 2 ** failed);
    failures.set(kind, failed + 1);
    const retryInSeconds = delayMs / 1000;
    if (code === 'locked') app.log.info({ kind, retryInSeconds }, `standing by: ${message}`);
    else app.log.error({ ...describe(error), kind, code, retryInSeconds }, `${kind} failed: ${message}`);
    const timer = setTimeout(() => trigger(kind), delayMs);
    timer.unref();
    retryTimers.set(kind, timer);
  };

  return {
    trigger,
    async settled() {
      for (const timer of retryTimers.values()) clearTimeout(timer);
      await running;
    },
  };
}

/** A stack helps only where nobody foresaw the error. */
function describe(error: unknown): object {
  return error instanceof ExportError ? {} : { err: error };
}
