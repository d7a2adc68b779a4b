/**
 * The schedules of `start`. `src/calendar` decides which instants an expression means, and node-cron schedules each of them as
 * an expression in UTC. By itself node-cron makes no run in the hour that is repeated in autumn, leaves out a time of day that is
 * skipped in spring, and requires both of two day fields.
 */
import cron, { type ScheduledTask } from 'node-cron';
import { parseCron } from '../calendar/cron.ts';
import { nextOccurrence } from '../calendar/occurrences.ts';
import { openZone } from '../calendar/zone.ts';
import type { Logger } from '../log.ts';

export interface Schedule {
  /** The earliest next occurrence of all entries that export. */
  nextRunAt(): Date | undefined;
  stop(): Promise<void>;
}

export interface ScheduleEntry {
  /** A valid cron expression of five fields, or six with seconds first. */
  expression: string;
  run: () => void;
  /** Default: true. */
  isExport?: boolean;
}

/**
 * How late node-cron may be. Version 4.6 cuts the milliseconds of the time in the machine's time zone, and so is an hour behind, and calls nothing,
 * in the hour that is repeated there in autumn.
 */
const CRON_GRACE_MS = 50;
const DAY_MS = 86_400_000;
const CLOCK_CHECK_MS = 5_000;
/** Smaller differences are rounding between the two clocks. */
const CLOCK_STEP_MS = 1_000;

/**
 * Calls each entry's `run` by its cron expression in `timezone`. Occurrences that were missed, because the process or the machine was
 * suspended or the clock was set forward, cause one call. Setting the clock back does not delay the next call.
 */
export function createSchedule(
  entries: readonly ScheduleEntry[],
  options: { timezone: string; log: Logger },
): Schedule {
  const { timezone, log } = options;
  const timers = entries.map(({ expression, run, isExport = true }) => {
    const next = occurrencesOf(expression, timezone);
    return { timer: createTimer(next, run, log), isExport };
  });
  const watch = watchClock((aheadMs) => {
    if (aheadMs < 0)
      log.warn({ setBackMs: -aheadMs }, 'the clock was set back; the schedule continues by the new time');
    else log.info({ aheadMs }, 'the clock was set forward, or the machine was suspended');
    for (const { timer } of timers) timer.clockChanged();
  });
  return {
    nextRunAt() {
      const times = timers.flatMap(({ timer, isExport }) => (isExport ? timer.dueAt : []));
      return times.length > 0 ? new Date(Math.min(...times)) : undefined;
    },
    async stop() {
      clearInterval(watch);
      for (const { timer } of timers) await timer.stop();
    },
  };
}

/** Returns the function from an instant to the next occurrence after it. */
function occurrencesOf(expression: string, timezone: string): (instant: number) => number {
  const parsed = parseCron(expression);
  if ('problem' in parsed) throw new Error(`cron expression ${expression}, ${parsed.problem}`);
  const zone = openZone(timezone);
  return (instant) => nextOccurrence(parsed.cron, zone, instant);
}

/** Calls `run` at each occurrence, or as soon after it as the process runs. */
function createTimer(nextAfter: (instant: number) => number, run: () => void, log: Logger) {
  let dueAt = nextAfter(Date.now());
  let task: ScheduledTask | undefined;
  let backstop: NodeJS.Timeout | undefined;
  let hasStopped = false;

  const onDue = () => {
    // node-cron also reports each missed year of the expression.
    if (hasStopped || Date.now() < dueAt) return;
    dueAt = nextAfter(Date.now());
    schedule();
    run();
  };
  const schedule = () => {
    void task?.destroy();
    task = cron.schedule(expressionAt(dueAt), onDue, { timezone: 'UTC', logger: cronLogger(log) });
    task.on('execution:missed', onDue);
    // If the instant passed meanwhile, node-cron waits for the same one of the next year.
    if (Date.now() >= dueAt) setImmediate(onDue);
    watchCron();
  };
  const watchCron = () => {
    clearTimeout(backstop);
    const dueInMs = Math.max(0, dueAt - Date.now()) + CRON_GRACE_MS;
    backstop = setTimeout(() => (Date.now() < dueAt ? watchCron() : onDue()), Math.min(dueInMs, DAY_MS));
  };
  schedule();
  return {
    get dueAt() {
      return dueAt;
    },
    /** node-cron waits for a duration that it computed from the old time. */
    clockChanged() {
      dueAt = Math.min(dueAt, nextAfter(Date.now()));
      schedule();
    },
    async stop() {
      hasStopped = true;
      clearTimeout(backstop);
      await task?.destroy();
    },
  };
}

/** The cron expression in UTC of an instant, which is a whole second. */
function expressionAt(instant: number): string {
  const at = new Date(instant);
  const time = [at.getUTCSeconds(), at.getUTCMinutes(), at.getUTCHours()];
  return [...time, at.getUTCDate(), at.getUTCMonth() + 1, '*'].join(' ');
}

/** Reports by how much the clock was changed: negative if it was set back. A suspended machine looks like a step forward. */
function watchClock(onStep: (aheadMs: number) => void): NodeJS.Timeout {
  const measure = () => Date.now() - performance.now();
  let last = measure();
  const timer = setInterval(() => {
    const now = measure();
    const aheadMs = Math.round(now - last);
    last = now;
    if (Math.abs(aheadMs) > CLOCK_STEP_MS) onStep(aheadMs);
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
