import { expect, test } from '@jest/globals';
import { parseCron } from '../../src/calendar/cron.ts';
import { nextOccurrence } from '../../src/calendar/occurrences.ts';
import { openZone } from '../../src/calendar/zone.ts';
import { clockOf } from './readings.ts';

/** The local times of `count` occurrences after an instant. */
function localTimes(expression: string, zone: string, after: string, count: number): string[] {
  const parsed = parseCron(expression);
  if ('problem' in parsed) throw new Error(parsed.problem);
  const read = clockOf(zone);
  let at = Date.parse(after);
  return Array.from({ length: count }, () => {
    at = nextOccurrence(parsed.cron, openZone(zone), at);
    return new Date(read(at)).toISOString().slice(5, 16).replace('T', ' ');
  });
}

test.each([
  // The clock goes from 02:00 to 03:00 at 01:00Z.
  ['30 2 * * *', 'Europe/Berlin', '2026-03-28T00:00Z', ['03-28 02:30', '03-29 03:00', '03-30 02:30']],
  ['0,15,30 2 * * *', 'Europe/Berlin', '2026-03-29T00:00Z', ['03-29 03:00', '03-30 02:00', '03-30 02:15']],
  ['30 2,3 * * *', 'Europe/Berlin', '2026-03-29T00:00Z', ['03-29 03:00', '03-29 03:30', '03-30 02:30']],
  ['*/5 2 * * *', 'Europe/Berlin', '2026-03-28T23:00Z', ['03-29 03:00', '03-30 02:00', '03-30 02:05']],
  ['30 * * * *', 'Europe/Berlin', '2026-03-28T23:45Z', ['03-29 01:30', '03-29 03:30', '03-29 04:30']],
  ['0 */2 * * *', 'Europe/Berlin', '2026-03-28T23:00Z', ['03-29 03:00', '03-29 04:00', '03-29 06:00']],
  ['0 0 29 3 *', 'Europe/Berlin', '2026-01-01T00:00Z', ['03-29 00:00', '03-29 00:00', '03-29 00:00']],
  // From 03:00 back to 02:00 at 01:00Z.
  ['30 2 * * *', 'Europe/Berlin', '2026-10-24T00:00Z', ['10-24 02:30', '10-25 02:30', '10-26 02:30']],
  // A process that starts in the second pass does not repeat what the first had.
  ['30 2 * * *', 'Europe/Berlin', '2026-10-25T01:10Z', ['10-26 02:30', '10-27 02:30', '10-28 02:30']],
  ['*/30 * * * *', 'Europe/Berlin', '2026-10-25T00:15Z', ['10-25 02:30', '10-25 02:00', '10-25 02:30']],
  ['*/30 2 * * *', 'Europe/Berlin', '2026-10-25T00:15Z', ['10-25 02:30', '10-25 02:00', '10-25 02:30']],
  ['0 */3 * * *', 'Europe/Berlin', '2026-10-24T22:00Z', ['10-25 02:00', '10-25 03:00', '10-25 06:00']],
  ['*/15 3 * * *', 'Europe/Berlin', '2026-10-25T00:30Z', ['10-25 03:00', '10-25 03:15', '10-25 03:30']],
  ['*/5 9-17 * * 1-5', 'Europe/Berlin', '2026-10-23T15:56Z', ['10-26 09:00', '10-26 09:05', '10-26 09:10']],
  // By 30 minutes: from 02:00 to 02:30 and from 02:00 to 01:30.
  ['*/20 * * * *', 'Australia/Lord_Howe', '2026-10-03T15:00Z', ['10-04 01:40', '10-04 02:30', '10-04 02:40']],
  [
    '7,27,47 * * * *',
    'Australia/Lord_Howe',
    '2026-10-03T15:10Z',
    ['10-04 01:47', '10-04 02:37', '10-04 02:47'],
  ],
  [
    '7,27,47 * * * *',
    'Australia/Lord_Howe',
    '2026-10-03T15:32Z',
    ['10-04 02:37', '10-04 02:47', '10-04 03:07'],
  ],
  ['0 * * * *', 'Australia/Lord_Howe', '2026-04-04T13:30Z', ['04-05 01:00', '04-05 01:30', '04-05 02:00']],
  ['45 1 * * *', 'Australia/Lord_Howe', '2026-04-04T13:30Z', ['04-05 01:45', '04-06 01:45', '04-07 01:45']],
  // By 2 hours, from 01:00 to 03:00.
  ['0 1,2,3 * * *', 'Antarctica/Troll', '2026-03-29T00:00Z', ['03-29 03:00', '03-30 01:00', '03-30 02:00']],
  // At midnight: that day begins at 01:00.
  ['0 0 * * *', 'Africa/Cairo', '2026-04-23T00:00Z', ['04-24 01:00', '04-25 00:00', '04-26 00:00']],
  ['*/10 * * * 5', 'Africa/Cairo', '2026-10-29T20:55Z', ['10-30 00:00', '10-30 00:10', '10-30 00:20']],
  ['0 23 * * 4', 'Africa/Cairo', '2026-10-28T00:00Z', ['10-29 23:00', '11-05 23:00', '11-12 23:00']],
  // A zone that left out a day, 30 December, when it crossed the date line.
  ['0 12 * * *', 'Pacific/Apia', '2011-12-29T00:00Z', ['12-29 12:00', '12-31 00:00', '12-31 12:00']],
  ['*/30 * * * *', 'Pacific/Apia', '2011-12-30T09:15Z', ['12-29 23:30', '12-31 00:00', '12-31 00:30']],
  ['0 0 30 12 *', 'Pacific/Apia', '2011-12-01T00:00Z', ['12-31 00:00', '12-30 00:00', '12-30 00:00']],
])('%s in %s after %s: %j', (expression, zone, after, expected) => {
  expect(localTimes(expression, zone, after, expected.length)).toEqual(expected);
});

test('the offset of a zone is exact, and changes are found within a day and over years', () => {
  const berlin = openZone('Europe/Berlin');
  expect(berlin.changeWithin(Date.UTC(2026, 2, 29, 0, 59, 59), Date.UTC(2026, 2, 29, 1))).toEqual({
    at: Date.UTC(2026, 2, 29, 1),
    before: 3_600_000,
    after: 7_200_000,
  });
  expect(berlin.changeWithin(Date.UTC(2026, 2, 29, 1), Date.UTC(2026, 9, 25, 0, 59, 59))).toBeUndefined();
  expect(openZone('America/St_Johns').offsetAt(Date.UTC(2026, 0, 1))).toBe(-3.5 * 3_600_000);
  expect(openZone('Africa/Monrovia').offsetAt(Date.UTC(1971, 0, 1))).toBe(-(44 * 60 + 30) * 1_000);
  expect(openZone('UTC').offsetAt(0)).toBe(0);
  expect(() => openZone('Europe/Nowhere')).toThrow(RangeError);
});
