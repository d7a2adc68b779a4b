/** The schedule as node-cron runs it, by a fake clock. */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { createLog } from '../../src/log.ts';
import { createRedactor } from '../../src/text/redaction.ts';
import { createSchedule, type Schedule, type ScheduleEntry } from '../../src/worker/schedule.ts';

const log = createLog({ level: 'silent', redactor: createRedactor() });
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let schedules: Schedule[];
beforeEach(() => {
  schedules = [];
  jest.useFakeTimers();
});
afterEach(async () => {
  for (const schedule of schedules) await schedule.stop();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});

function open(entries: ScheduleEntry[], timezone = 'UTC'): Schedule {
  const schedule = createSchedule(entries, { timezone, log });
  schedules.push(schedule);
  return schedule;
}

/** Starts at an instant and returns the instants of the runs, which `open` adds to. */
function runsOf(expression: string, { at, timezone }: { at: string; timezone?: string }): string[] {
  jest.setSystemTime(Date.parse(at));
  const runs: string[] = [];
  // Reads the clock: the fake one.
  open([{ expression, run: () => runs.push(new Date().toISOString().slice(5, 19)) }], timezone);
  return runs;
}

const pass = (ms: number) => jest.advanceTimersByTimeAsync(ms);

/** What the clock shows, and nothing of the time that passes: NTP, or a machine that was suspended. */
// Reads the clock: the fake one.
const stepClock = (ms: number) => jest.setSystemTime(Date.now() + ms);

describe('over the changes of the clock', () => {
  const ZONES = [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Antarctica/Troll',
    'Africa/Casablanca',
    'Africa/Cairo',
  ];
  const CHANGES: Record<string, [string, string]> = {
    'Europe/Berlin': ['2026-03-29T01:00Z', '2026-10-25T01:00Z'],
    'America/New_York': ['2026-03-08T07:00Z', '2026-11-01T06:00Z'],
    'Australia/Lord_Howe': ['2026-10-03T15:30Z', '2026-04-04T15:00Z'],
    'Antarctica/Troll': ['2026-03-29T01:00Z', '2026-10-25T01:00Z'],
    'Africa/Casablanca': ['2026-03-22T02:00Z', '2026-02-15T02:00Z'],
    'Africa/Cairo': ['2026-04-23T22:00Z', '2026-10-29T21:00Z'],
  };
  const cases = ZONES.flatMap((zone) => CHANGES[zone]!.map((change) => [zone, change] as const));

  test.each(cases)('*/5 in %s runs every five minutes around %s', async (timezone, change) => {
    const runs = runsOf('*/5 * * * *', {
      at: new Date(Date.parse(change) - 2 * HOUR).toISOString(),
      timezone,
    });
    await pass(4 * HOUR);
    const expected = Array.from({ length: 48 }, (_, i) =>
      new Date(Date.parse(change) - 2 * HOUR + (i + 1) * 5 * MINUTE).toISOString().slice(5, 19),
    );
    expect(runs).toEqual(expected);
  });

  test.each([
    ['Europe/Berlin', '30 2 * * *', '2026-03-28T12:00Z', ['03-29T01:00:00', '03-30T00:30:00']],
    ['Europe/Berlin', '30 2 * * *', '2026-10-24T12:00Z', ['10-25T00:30:00', '10-26T01:30:00']],
    ['Africa/Cairo', '0 0 * * *', '2026-04-23T12:00Z', ['04-23T22:00:00', '04-24T21:00:00']],
    ['Australia/Lord_Howe', '15 2 * * *', '2026-10-03T12:00Z', ['10-03T15:30:00', '10-04T15:15:00']],
  ])('in %s, %s runs once a day', async (timezone, expression, at, expected) => {
    const runs = runsOf(expression, { at, timezone });
    await pass(48 * HOUR);
    expect(runs).toEqual(expected);
  });
});

test('either of two day fields is enough', async () => {
  const runs = runsOf('0 0 1,15 * 1', { at: '2026-01-01T12:00Z' });
  await pass(20 * 24 * HOUR);
  expect(runs).toEqual(['01-05T00:00:00', '01-12T00:00:00', '01-15T00:00:00', '01-19T00:00:00']);
});

// node-cron's own expression for that day has no year.
test('a 29 February that is a Sunday is waited for, over other leap years', async () => {
  const runs = runsOf('0 0 29 2 */7', { at: '2028-02-28T23:00Z' });
  expect(schedules[0]!.nextRunAt()).toEqual(new Date(Date.UTC(2032, 1, 29)));
  await pass(2 * HOUR);
  expect(runs).toEqual([]);
});

test('seconds run to the second, and two entries keep their own times', async () => {
  jest.setSystemTime(Date.UTC(2026, 0, 1));
  const runs: string[] = [];
  const record = (name: string) => () => {
    // Reads the clock: the fake one.
    runs.push(`${name} ${new Date().getUTCSeconds()}`);
  };
  const schedule = open([
    { expression: '*/20 * * * * *', run: record('a') },
    { expression: '30 * * * * *', run: record('b') },
  ]);
  expect(schedule.nextRunAt()).toEqual(new Date(Date.UTC(2026, 0, 1, 0, 0, 20)));
  await pass(61_000);
  expect(runs).toEqual(['a 20', 'b 30', 'a 40', 'a 0']);
  expect(schedule.nextRunAt()).toEqual(new Date(Date.UTC(2026, 0, 1, 0, 1, 20)));
});

describe('when the clock is changed by hand or by NTP', () => {
  test('back by hours, an interval continues within one interval', async () => {
    const runs = runsOf('*/5 * * * *', { at: '2026-01-01T12:02Z' });
    await pass(4 * MINUTE);
    stepClock(-6 * HOUR);
    await pass(10 * MINUTE);
    expect(runs).toEqual(['01-01T12:05:00', '01-01T06:10:00', '01-01T06:15:00']);
  });

  test('back by hours, a time of day waits for its time', async () => {
    const runs = runsOf('0 12 * * *', { at: '2026-01-01T11:00Z' });
    stepClock(-3 * HOUR);
    await pass(HOUR);
    expect(runs).toEqual([]);
    await pass(3 * HOUR);
    expect(runs).toEqual(['01-01T12:00:00']);
  });

  test.each([3, 26, 24 * 400])(
    'forward by %d hours, everything that was missed causes one run',
    async (hours) => {
      const runs = runsOf('*/5 * * * *', { at: '2026-01-01T12:01Z' });
      stepClock(hours * HOUR);
      await pass(10_000);
      expect(runs).toHaveLength(1);
      await pass(10 * MINUTE);
      expect(runs).toHaveLength(3);
    },
  );

  test('forward past a time of day, it runs within seconds', async () => {
    const runs = runsOf('0 12 * * *', { at: '2026-01-01T11:00Z' });
    stepClock(3 * HOUR);
    await pass(5_001);
    expect(runs).toEqual(['01-01T14:00:05']);
    await pass(24 * HOUR);
    expect(runs).toEqual(['01-01T14:00:05', '01-02T12:00:00']);
  });

  test('forward to shortly before a time of day, it runs on time', async () => {
    const runs = runsOf('0 12 * * *', { at: '2026-01-01T01:00Z' });
    stepClock(10 * HOUR + 59 * MINUTE);
    await pass(2 * MINUTE);
    expect(runs).toEqual(['01-01T12:00:00']);
  });
});

test('a machine that was suspended makes up for all missed runs by one', async () => {
  const runs = runsOf('0 * * * *', { at: '2026-01-01T12:30Z' });
  // No time passes for the process.
  stepClock(9.75 * HOUR);
  await pass(10_000);
  expect(runs).toEqual(['01-01T22:15:05']);
  await pass(HOUR);
  expect(runs).toEqual(['01-01T22:15:05', '01-01T23:00:00']);
});

test('after stop nothing runs', async () => {
  const runs = runsOf('* * * * *', { at: '2026-01-01T12:00Z' });
  await schedules[0]!.stop();
  stepClock(HOUR);
  await pass(HOUR);
  expect(runs).toEqual([]);
});
