import { describe, expect, test } from '@jest/globals';
import { drawBar } from '../../src/terminal/progress.ts';

const HALF = { done: 30_417, total: 60_834, rate: 8_012, secondsLeft: 4 };

describe('a progress bar', () => {
  test.each([
    [100, 'Backfill ██████████████░░░░░░░░░░░░░░  50%  30,417 of 60,834  4 s left  8,012/s'],
    [60, 'Backfill █████░░░░  50%  30,417 of 60,834  4 s left'],
    [44, 'Backfill █████░░░░░  50%  30,417 of 60,834'],
    [30, 'Backfill 50%  30,417 of 60,834'],
    [12, 'Backfill 50…'],
  ])('has what fits in %i columns', (width, expected) => {
    expect(drawBar('Backfill', HALF, width)).toBe(expected);
  });

  test('never has more columns, and keeps its length', () => {
    for (let width = 1; width <= 120; width++) {
      const bars = [0, 1, 999, 30_417, 60_834].map((done) =>
        drawBar('Verify source of acme', { ...HALF, done, rate: done, secondsLeft: 60_834 - done }, width),
      );
      expect(bars.map((bar) => bar.length <= width)).toEqual(bars.map(() => true));
      expect(new Set(bars.map((bar) => bar.replace(/[^█░]/g, '').length)).size).toBe(1);
    }
  });

  test('of an empty list, and of more rows than expected, is full', () => {
    expect(drawBar('Export', { done: 0, total: 0, rate: 0, secondsLeft: 0 }, 80)).toContain(
      ' 100%  0 of 0  done',
    );
    expect(drawBar('Export', { done: 9, total: 5, rate: 1, secondsLeft: -4 }, 80)).toContain(
      ' 100%  9 of 5  done',
    );
  });
});
