import cron from 'node-cron';
import type { Logger } from '../log.ts';

export interface Schedule {
  /** The earliest of the next runs. */
  nextRunAt(): Date | undefined;
  stop(): Promise<void>;
}

export interface ScheduleEntry {
  /** Cron, five fields, or six with seconds first. */
  expression: string;
  run: () => void;
}

const CLOCK_CHECK_MS = 5_000;
/** Less than that is the rounding of two clocks. */
const SET_BACK_MS = 1_000;

/**
 * Calls each entry's `run` by its cron expression in `timezone`. Ticks that could not be kept, because the process or the
 * machine slept, are made up for by one call. A clock that is set back does not hold it up.
 */
export function createSchedule(
  entries: ScheduleEntry[],
  options: { timezone: string; log: Logger },
): Schedule {
  const { timezone, log } = options;
  const tasks = entries.map(({ expression, run }) => {
    const runOnce = once(run);
    const task = cron.schedule(expression, runOnce, { timezone, noOverlap: true, logger: silentOr(log) });
    task.on('execution:missed', runOnce);
    return task;
  });
  const watch = watchClock((setBackMs) => {
    log.warn({ setBackMs }, 'the clock was set back; the schedule goes on by its new time');
    // node-cron waits for the instant it has reckoned before, which now lies as much further away.
    for (const task of tasks) void Promise.resolve(task.stop()).then(() => task.start());
  });
  return {
    nextRunAt() {
      const times = tasks.flatMap((task) => task.getNextRun()?.getTime() ?? []);
      return times.length > 0 ? new Date(Math.min(...times)) : undefined;
    },
    async stop() {
      clearInterval(watch);
      for (const task of tasks) await task.destroy();
    },
  };
}

/** node-cron tells of every missed tick, and of the one that is due now, in one go: of these calls only one gets through. */
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

/** node-cron's own words go to the log, and not to standard output. */
function silentOr(log: Logger) {
  return {
    info: (message: string) => log.debug(message),
    warn: (message: string) => log.debug(message),
    error: (message: string | Error) => log.warn(String(message)),
    debug: (message: string | Error) => log.trace(String(message)),
  };
}
