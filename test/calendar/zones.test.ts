/** Every zone of the IANA database, over each change of its clock in one year. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { parseCron } from '../../src/calendar/cron.ts';
import { nextOccurrence } from '../../src/calendar/occurrences.ts';
import { openZone, type Zone } from '../../src/calendar/zone.ts';
import {
  clockOf,
  expectTimesOfDay,
  HOUR,
  jumpsOf,
  MINUTE,
  matches,
  minutesOf,
  type Times,
} from './readings.ts';

const YEAR = 2026;
const EVERY_HOUR = Array.from({ length: 24 }, (_, hour) => hour);
const every = (step: number) => Array.from({ length: 60 / step }, (_, i) => i * step);

const TIMES_OF_DAY: [string, Times][] = [
  ['30 2 * * *', { hours: [2], minutes: [30] }],
  ['0 0 * * *', { hours: [0], minutes: [0] }],
  ['15 0,1,3 * * *', { hours: [0, 1, 3], minutes: [15] }],
  ['10,40 1-2,22-23 * * *', { hours: [1, 2, 22, 23], minutes: [10, 40] }],
  ['5 2 * * 0', { hours: [2], minutes: [5], weekday: 0 }],
];

/** With the longest wait where no clock is changed. */
const INTERVALS: [string, Times, longestMs: number][] = [
  ['*/5 * * * *', { hours: EVERY_HOUR, minutes: every(5) }, 5 * MINUTE],
  ['*/20 * * * *', { hours: EVERY_HOUR, minutes: every(20) }, 20 * MINUTE],
  ['30 * * * *', { hours: EVERY_HOUR, minutes: [30] }, HOUR],
  ['0 */2 * * *', { hours: EVERY_HOUR.filter((hour) => hour % 2 === 0), minutes: [0] }, 2 * HOUR],
  ['45 */3 * * *', { hours: EVERY_HOUR.filter((hour) => hour % 3 === 0), minutes: [45] }, 3 * HOUR],
];

interface Change {
  at: number;
  /** The clock around it. */
  minutes: { at: number; shows: number }[];
  zones: string[];
}

const zones = Intl.supportedValuesOf('timeZone');
/** Zones with the same clock around a change share what is expected of them. */
const changes = new Map<string, Change>();
const unchanged: string[] = [];

beforeAll(() => {
  for (const zone of zones) {
    const read = clockOf(zone);
    const jumps = jumpsOf(read, YEAR);
    if (jumps.length === 0) unchanged.push(zone);
    for (const at of jumps) {
      const key = [at, read(at - MINUTE), read(at)].join();
      const change = changes.get(key) ?? {
        at,
        minutes: minutesOf(read, at - 12 * HOUR, at + 36 * HOUR),
        zones: [],
      };
      change.zones.push(zone);
      changes.set(key, change);
    }
  }
});

const opened = new Map<string, Zone>();
function open(zone: string): Zone {
  if (!opened.has(zone)) opened.set(zone, openZone(zone));
  return opened.get(zone)!;
}

function occurrences(expression: string, zone: string, minutes: readonly { at: number }[]): number[] {
  const parsed = parseCron(expression);
  if ('problem' in parsed) throw new Error(parsed.problem);
  const clock = open(zone);
  const found: number[] = [];
  const end = minutes.at(-1)!.at;
  for (let at = minutes[0]!.at - 1; ; ) {
    at = nextOccurrence(parsed.cron, clock, at);
    if (at > end) return found;
    found.push(at);
  }
}

const iso = (instants: readonly number[]) => instants.map((at) => new Date(at).toISOString());

test('the zones are those of the whole world, with changes by 30 minutes, 1 hour and 2 hours', () => {
  expect(zones.length).toBeGreaterThan(400);
  const sizes = [...changes.values()].map(({ at, minutes }) => {
    const i = minutes.findIndex((minute) => minute.at === at);
    return (minutes[i]!.shows - minutes[i - 1]!.shows - MINUTE) / MINUTE;
  });
  expect([...new Set(sizes)].sort((a, b) => a - b)).toEqual([-120, -60, -30, 30, 60, 120]);
  const of = (zone: string) => [...changes.values()].filter((change) => change.zones.includes(zone)).length;
  for (const zone of ['Australia/Lord_Howe', 'Antarctica/Troll', 'Africa/Casablanca', 'Africa/El_Aaiun']) {
    expect([zone, of(zone)]).toEqual([zone, 2]);
  }
});

describe('over each change of the clock', () => {
  test.each(TIMES_OF_DAY)(
    '%s occurs once for each time, as soon as the clock shows it or a later one',
    (expression, times) => {
      for (const { minutes, zones: same } of changes.values()) {
        const expected = iso(expectTimesOfDay(times, minutes));
        for (const zone of same) {
          expect([zone, ...iso(occurrences(expression, zone, minutes))]).toEqual([zone, ...expected]);
        }
      }
    },
  );

  test.each(INTERVALS)('%s never waits longer than on other days', (expression, times, longestMs) => {
    for (const { at, minutes: wide, zones: same } of changes.values()) {
      const minutes = wide.filter((minute) => Math.abs(minute.at - at) <= 2.5 * HOUR + longestMs);
      const shown = minutes.filter(({ shows }) => matches(times, shows)).map((minute) => minute.at);
      for (const zone of same) {
        const found = occurrences(expression, zone, minutes);
        const waits = found.slice(1).map((each, i) => each - found[i]!);
        const extra = found.filter((each) => !shown.includes(each));
        expect({
          zone,
          longestMs: Math.max(...waits),
          missing: shown.filter((each) => !found.includes(each)),
        }).toEqual({
          zone,
          longestMs,
          missing: [],
        });
        // Beyond the times that the clock shows, it occurs at most once, one interval after the last.
        expect([zone, extra.length <= 1 && extra.every((each) => found.includes(each - longestMs))]).toEqual([
          zone,
          true,
        ]);
      }
    }
  });
});

test('in a zone without a change the clock alone decides', () => {
  const hourly = { hours: EVERY_HOUR, minutes: [30] };
  for (const zone of unchanged) {
    const from = Date.UTC(YEAR, 2, 29);
    const minutes = minutesOf(clockOf(zone), from, from + 6 * HOUR);
    const expected = minutes.filter(({ shows }) => matches(hourly, shows)).map(({ at }) => at);
    expect([zone, ...iso(occurrences('30 * * * *', zone, minutes))]).toEqual([zone, ...iso(expected)]);
    expect([zone, openZone(zone).changeWithin(Date.UTC(YEAR, 0, 1), Date.UTC(YEAR + 1, 0, 1))]).toEqual([
      zone,
      undefined,
    ]);
  }
});
