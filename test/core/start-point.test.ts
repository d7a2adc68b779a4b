import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nextFrontier, resumedFrontier } from '../../src/core/start-point.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS, parseTicks } from '../../src/core/ticks.ts';

const HOUR_MS = 3_600_000;

describe('a run begins', () => {
  const frontierOf = (watermark: string, lookbackMs = 0) =>
    formatTicks(nextFrontier({ ticks: parseTicks(watermark)! }, { lookbackMs }));

  test('at the millisecond of the newest stored event: its other rows may come later', () => {
    expect(frontierOf('2026-01-01T10:00:00.1234567Z')).toBe('2026-01-01T10:00:00.1230000Z');
    expect(frontierOf('2026-01-01T10:00:00.1230000Z')).toBe('2026-01-01T10:00:00.1230000Z');
    expect(frontierOf('1969-12-31T23:59:59.9999999Z')).toBe('1969-12-31T23:59:59.9990000Z');
  });

  test('the lookback earlier, where one is set', () => {
    expect(frontierOf('2026-01-01T10:00:00.1234567Z', HOUR_MS)).toBe('2026-01-01T09:00:00.1230000Z');
  });

  // The watermark is never an event that is dated ahead of the source's clock: no clock is needed here.
  test('there at any time', () => {
    expect(frontierOf('2099-01-01T00:00:00Z', HOUR_MS)).toBe('2098-12-31T23:00:00.0000000Z');
  });

  test('at the first instant there is, at the earliest', () => {
    expect(frontierOf('0001-01-01T00:30:00Z', HOUR_MS)).toBe('0001-01-01T00:00:00.0000000Z');
  });

  test('less than a millisecond before the watermark less the lookback, with any of them', () => {
    const ticks = fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS });
    fc.assert(
      fc.property(ticks, fc.nat(10 * HOUR_MS), (watermark, lookbackMs) => {
        const frontier = nextFrontier({ ticks: watermark }, { lookbackMs });
        const bound = watermark - BigInt(lookbackMs) * 10_000n;
        const isNear = frontier <= bound && frontier > bound - 10_000n && frontier % 10_000n === 0n;
        expect(isNear || (frontier === MIN_TICKS && bound < MIN_TICKS)).toBe(true);
      }),
    );
  });
});

describe('a resumed backfill starts', () => {
  const LATER = new Date('2026-01-02T00:00:00Z');
  const reached = parseTicks('2026-01-01T10:00:00Z')!;
  const earlier = parseTicks('2026-01-01T09:00:00Z')!;

  test('the lookback before the frontier it had reached', () => {
    expect(
      resumedFrontier({ frontier: reached, startedAt: LATER }, { from: undefined, lookbackMs: HOUR_MS }),
    ).toBe(earlier);
    expect(
      resumedFrontier({ frontier: reached, startedAt: LATER }, { from: earlier - 1n, lookbackMs: HOUR_MS }),
    ).toBe(earlier);
  });

  test('but not before its range', () => {
    expect(
      resumedFrontier({ frontier: reached, startedAt: LATER }, { from: earlier + 1n, lookbackMs: HOUR_MS }),
    ).toBe(earlier + 1n);
  });

  test('and not before the first instant there is', () => {
    expect(
      resumedFrontier({ frontier: MIN_TICKS, startedAt: LATER }, { from: undefined, lookbackMs: HOUR_MS }),
    ).toBe(MIN_TICKS);
  });

  test('the time it began at, where an event dated in the future led it beyond', () => {
    const startedAt = new Date('2025-12-31T10:00:00Z');
    const frontier = resumedFrontier(
      { frontier: reached, startedAt },
      { from: undefined, lookbackMs: HOUR_MS },
    );
    expect(formatTicks(frontier)).toBe('2025-12-31T09:00:00.0000000Z');
  });
});
