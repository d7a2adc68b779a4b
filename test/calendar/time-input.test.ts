import { describe, expect, test } from '@jest/globals';
import { parseTimeInput } from '../../src/calendar/time-input.ts';
import { openZone } from '../../src/calendar/zone.ts';
import { formatTicks } from '../../src/core/ticks.ts';

/** 01:30 in Berlin, the next day there. */
const NOW = Date.UTC(2026, 2, 28, 23, 30);

function resolve(text: string, zone: string, now = NOW): string {
  return formatTicks(parseTimeInput(text)!.resolve(now, openZone(zone))).replace('.0000000Z', 'Z');
}

test.each([
  ['2026-01-31T08:00:00Z', 'Europe/Berlin', '2026-01-31T08:00:00Z'],
  ['2026-01-31T08:00:00.1234567+01:00', 'UTC', '2026-01-31T07:00:00.1234567Z'],
  ['now', 'Europe/Berlin', '2026-03-28T23:30:00Z'],
  ['30m', 'UTC', '2026-03-28T23:00:00Z'],
  ['12h', 'Europe/Berlin', '2026-03-28T11:30:00Z'],
  ['7d', 'Europe/Berlin', '2026-03-21T23:30:00Z'],
  ['7D', 'UTC', '2026-03-21T23:30:00Z'],
  ['7 d', 'UTC', '2026-03-21T23:30:00Z'],
  ['-7d', 'UTC', '2026-03-21T23:30:00Z'],
  ['7d ago', 'UTC', '2026-03-21T23:30:00Z'],
  ['2w', 'UTC', '2026-03-14T23:30:00Z'],
  ['0d', 'UTC', '2026-03-28T23:30:00Z'],
  ['today', 'UTC', '2026-03-28T00:00:00Z'],
  ['yesterday', 'UTC', '2026-03-27T00:00:00Z'],
  ['Tomorrow', 'UTC', '2026-03-29T00:00:00Z'],
  ['2026-03-01', 'UTC', '2026-03-01T00:00:00Z'],
  ['2026-03', 'UTC', '2026-03-01T00:00:00Z'],
  ['today', 'Europe/Berlin', '2026-03-28T23:00:00Z'],
  ['yesterday', 'Europe/Berlin', '2026-03-27T23:00:00Z'],
  // The day of the change has 23 hours.
  ['tomorrow', 'Europe/Berlin', '2026-03-29T22:00:00Z'],
  ['2026-07-01', 'Europe/Berlin', '2026-06-30T22:00:00Z'],
  ['2026-02', 'America/New_York', '2026-02-01T05:00:00Z'],
  ['yesterday', 'America/New_York', '2026-03-27T04:00:00Z'],
  ['today', 'Pacific/Kiritimati', '2026-03-28T10:00:00Z'],
  // A day without midnight, one that begins twice, and one that did not exist.
  ['2026-04-24', 'Africa/Cairo', '2026-04-23T22:00:00Z'],
  ['2026-11-01', 'America/Havana', '2026-11-01T04:00:00Z'],
  ['2011-12-30', 'Pacific/Apia', '2011-12-30T10:00:00Z'],
  ['2011-12-31', 'Pacific/Apia', '2011-12-30T10:00:00Z'],
])('%s in %s is %s', (text, zone, expected) => {
  expect(resolve(text, zone)).toBe(expected);
});

describe('what is no time is refused:', () => {
  test.each(
    [
      ['', 'soon', 'last week', '7', '7x', '7 days', 'P7D', '1d12h', '1.5d', '9999999d'],
      ['2026', '2026-13', '2026-02-30', '2026-01-31T08:00:00', '31.01.2026', '1769846400', '--to'],
    ].flat(),
  )('%j', (text) => {
    expect(parseTimeInput(text)).toBeUndefined();
  });
});

test('a duration may reach before every event', () => {
  expect(resolve('999999h', 'UTC')).toBe('1912-02-29T08:30:00Z');
});
