import cron from 'node-cron';
import type { Logger } from './log.ts';

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

/**
 * Calls each entry's `run` by its cron expression in `timezone`. Ticks that could not be kept, because the process or the
 * machine slept, are made up for by one call.
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
  return {
    nextRunAt() {
      const times = tasks.flatMap((task) => task.getNextRun()?.getTime() ?? []);
      return times.length > 0 ? new Date(Math.min(...times)) : undefined;
    },
    async stop() {
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

/** node-cron's own words go to the log, and not to standard output. */
function silentOr(log: Logger) {
  return {
    info: (message: string) => log.debug(message),
    warn: (message: string) => log.debug(message),
    error: (message: string | Error) => log.warn(String(message)),
    debug: (message: string | Error) => log.trace(String(message)),
  };
}
