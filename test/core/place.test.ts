import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { afterPlace, placeOfTicks } from '../../src/core/place.ts';
import { MAX_TICKS, MIN_TICKS } from '../../src/core/ticks.ts';

test.each<[bigint, bigint]>([
  [0n, 0n],
  [1n, 0n],
  [9_999n, 0n],
  [10_000n, 10_000n],
  [-1n, -10_000n],
  [-9_999n, -10_000n],
  [-10_000n, -10_000n],
  [-10_001n, -20_000n],
])('the place of %s ticks is %s', (ticks, place) => {
  expect(placeOfTicks(ticks)).toBe(place);
});

test('a place is the start of the millisecond that its ticks are in, before 1970 as well', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS }), (ticks) => {
      const place = placeOfTicks(ticks);
      expect(place % 10_000n === 0n && place <= ticks && ticks < afterPlace(place)).toBe(true);
      expect(placeOfTicks(place)).toBe(place);
    }),
  );
});
