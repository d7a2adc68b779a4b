import { expect, test } from '@jest/globals';
import { windowsOf } from '../../bench/sections/growth.ts';

test('windows are of equal rows, at the begin, in the middle and at the end of what is loaded', () => {
  // The first 1,100 rows at 100 rows a second, the rest at 50.
  const looks = [
    { at: 0, count: 0 },
    { at: 11, count: 1100 },
    { at: 33, count: 2200 },
  ];
  expect(windowsOf(2200, looks)).toEqual([
    { stored: 0, rows: 200, rate: 100 },
    { stored: 1000, rows: 200, rate: 200 / 3 },
    { stored: 2000, rows: 200, rate: 50 },
  ]);
});
