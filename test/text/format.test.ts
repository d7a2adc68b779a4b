import { expect, test } from '@jest/globals';
import { count, describeDuration, describeInstant, describeWhen } from '../../src/text/format.ts';

const NOW = new Date('2026-03-01T12:00:00.700Z');

test.each([
  [-5, '0 ms'],
  [949, '949 ms'],
  [950, '0.9 s'],
  [9_949, '9.9 s'],
  [9_950, '10 s'],
  [119_000, '119 s'],
  [120_000, '2 minutes'],
  [7_199_000, '120 minutes'],
  [7_200_000, '2 hours'],
  [172_800_000, '2 days'],
  [864_000_000_000, '10,000 days'],
])('%d ms are said as %s', (ms, words) => {
  expect(describeDuration(ms)).toBe(words);
});

test.each([
  ['2026-03-01T12:00:00Z', 'just now'],
  ['2026-03-01T11:59:55Z', '6 s ago'],
  ['2026-03-01T11:57:00Z', '3 minutes ago'],
  ['2026-03-01T12:05:00Z', 'in 5 minutes'],
])('%s is said as %s', (at, words) => {
  expect(describeWhen(new Date(at), NOW)).toBe(words);
});

test('an instant is said in UTC and to the second', () => {
  expect(describeInstant(NOW)).toBe('2026-03-01 12:00:00 UTC');
});

test('one of a thing is not many of it', () => {
  expect([count(1, 'gap'), count(0, 'gap'), count(1_234, 'gap')]).toEqual(['1 gap', '0 gaps', '1,234 gaps']);
});
