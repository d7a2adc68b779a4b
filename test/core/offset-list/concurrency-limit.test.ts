import { describe, expect, test } from '@jest/globals';
import {
  type ConcurrencyLimit,
  createConcurrencyLimit,
} from '../../../src/core/offset-list/concurrency-limit.ts';

const FAST = { milliseconds: 100, wasRetried: false };
const RETRIED = { milliseconds: 3000, wasRetried: true };
const SLOW = { milliseconds: 451, wasRetried: false };

/** The limit after each response. */
function limitsAfter(
  limit: ConcurrencyLimit,
  responses: { milliseconds: number; wasRetried: boolean }[],
): number[] {
  return responses.map((response) => {
    limit.recordResponse(response);
    return limit.limit;
  });
}

describe('the number of requests at once', () => {
  test('is the maximum at first, and never more', () => {
    expect(limitsAfter(createConcurrencyLimit(4), Array(20).fill(FAST))).toEqual(Array(20).fill(4));
  });

  test('is halved by a retried request, and requests in flight with it do not halve it again', () => {
    expect(limitsAfter(createConcurrencyLimit(8), Array(8).fill(RETRIED))).toEqual(Array(8).fill(4));
  });

  test('is halved again by the next retried round, down to one', () => {
    expect(limitsAfter(createConcurrencyLimit(8), Array(16).fill(RETRIED)).slice(8)).toEqual([
      2, 2, 2, 2, 1, 1, 1, 1,
    ]);
  });

  test('grows by one for each round of good responses, up to the maximum', () => {
    const limit = createConcurrencyLimit(4);
    limitsAfter(limit, [RETRIED, ...Array(3).fill(FAST)]);
    expect(limitsAfter(limit, Array(7).fill(FAST))).toEqual([2, 3, 3, 3, 4, 4, 4]);
  });

  test('is halved by a response that takes more than twice as long as the fastest and 250 ms longer', () => {
    expect(limitsAfter(createConcurrencyLimit(4), [FAST, { ...SLOW, milliseconds: 450 }, SLOW])).toEqual([
      4, 4, 2,
    ]);
  });

  test('grows again if the source stays slow: that becomes the new normal', () => {
    const limit = createConcurrencyLimit(4);
    limitsAfter(limit, Array(10).fill(FAST));
    const limits = limitsAfter(limit, Array(60).fill(SLOW));
    expect(Math.min(...limits)).toBe(1);
    expect(limits.at(-1)).toBe(4);
  });

  test('ignores the duration of a retried request as a measure of speed', () => {
    const limit = createConcurrencyLimit(2);
    limitsAfter(limit, Array(40).fill(RETRIED));
    expect(limitsAfter(limit, [SLOW, SLOW, FAST])).toEqual([2, 2, 2]);
  });

  test('is halved when prefetched pages did not fit', () => {
    const limit = createConcurrencyLimit(8);
    limit.recordWastedRequest();
    expect(limit.limit).toBe(4);
    limit.recordWastedRequest();
    limit.recordWastedRequest();
    limit.recordWastedRequest();
    expect(limit.limit).toBe(1);
  });
});
