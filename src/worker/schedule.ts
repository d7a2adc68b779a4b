import cron from 'node-cron';
import type { Logger } from '../log.ts';

export interface Schedule {
  /** The earliest next tick of all entries that export. */
  nextRunAt(): Date | undefined;
  stop(): Promise<void>;
}

export interface ScheduleEntry {
  /** Cron, five fields, or six with seconds first. */
  expression: string;
  run: () => void;
  /** Default: true. */
  isExport?: boolean;
}

const CLOCK_CHECK_MS = 5_000;
/** Smaller differences are rounding between the two clocks. */
const SET_BACK_MS = 1_000;

/**
 * Calls each entry's `run` by its cron expression in `timezone`. Ticks that were missed, because the process or the machine was
 * suspended, cause one call. Setting the clock back does not delay the next call.
 */
export function createSchedule(
  entries: ScheduleEntry[],
  options: { timezone: string; log: Logger },
): Schedule {
  const { timezone, log } = options;
  const tasks = entries.map(({ expression, run, isExport = true }) => {
    const runOnce = once(run);
    const task = cron.schedule(expression, runOnce, { timezone, noOverlap: true, logger: cronLogger(log) });
    task.on('execution:missed', runOnce);
    return { task, isExport };
  });
  const watch = watchClock((setBackMs) => {
    log.warn({ setBackMs }, 'the clock was set back; the schedule continues by the new time');
    // node-cron waits for an instant that it computed before, which is now later by `setBackMs`.
    for (const { task } of tasks) void Promise.resolve(task.stop()).then(() => task.start());
  });
  return {
    nextRunAt() {
      const exports = tasks.filter(({ isExport }) => isExport);
      const times = exports.flatMap(({ task }) => task.getNextRun()?.getTime() ?? []);
      return times.length > 0 ? new Date(Math.min(...times)) : undefined;
    },
    async stop() {
      clearInterval(watch);
      for (const { task } of tasks) await task.destroy();
    },
  };
}

/** Combines several calls of one event loop turn: node-cron reports every missed tick and the current one together. */
function once(run: () => void): () => void {
  let isCalled = false;
  return () => {
    if (isCalled) return;
    isCalled = true;
    setImmediate(() => {
      isCalled = false;
      run();
    });
  };
}

function watchClock(onSetBack: (setBackMs: number) => void): NodeJS.Timeout {
  const measure = () => Date.now() - performance.now();
  let last = measure();
  const timer = setInterval(() => {
    const now = measure();
    if (last - now > SET_BACK_MS) onSetBack(Math.round(last - now));
    last = now;
  }, CLOCK_CHECK_MS);
  return timer.unref();
}

/** Sends node-cron's messages to the log instead of standard output. */
function cronLogger(log: Logger) {
  return {
    info: (message: string) => log.debug(message),
    warn: (message: string) => log.debug(message),
    error: (message: string | Error) => log.warn(String(message)),
    debug: (message: string | Error) => log.trace(String(message)),
  };
}
