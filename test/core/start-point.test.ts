import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nextFrontier, resumedFrontier } from '../../src/core/start-point.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS, parseTicks, ticksOfDate } from '../../src/core/ticks.ts';

const HOUR_MS = 3_600_000;

function frontierOf(times: { watermark: string; readAt: string; now: string }, lookbackMs = HOUR_MS): string {
  const watermark = { ticks: parseTicks(times.watermark)!, readAt: new Date(times.readAt) };
  return formatTicks(nextFrontier(watermark, { now: new Date(times.now), lookbackMs })).slice(0, 19);
}

describe('a run begins the lookback before', () => {
  test('the newest stored event, when that is older than the last reading', () => {
    const times = {
      watermark: '2026-01-01T10:00:00Z',
      readAt: '2026-01-01T12:00:00Z',
      now: '2026-01-01T12:05:00Z',
    };
    expect(frontierOf(times)).toBe('2026-01-01T09:00:00');
  });

  test('the last reading, when the newest stored event is dated in the future', () => {
    const times = {
      watermark: '2099-01-01T00:00:00Z',
      readAt: '2026-01-01T12:00:00Z',
      now: '2026-01-01T12:05:00Z',
    };
    expect(frontierOf(times)).toBe('2026-01-01T11:00:00');
  });

  test('the last reading after a long downtime that followed an event of the future: nothing in between is skipped', () => {
    const times = {
      watermark: '2026-03-01T00:00:00Z',
      readAt: '2026-01-01T12:00:00Z',
      now: '2026-06-01T00:00:00Z',
    };
    expect(frontierOf(times)).toBe('2026-01-01T11:00:00');
  });

  test('now, when the clock was set back behind the last reading and the newest event is dated in the future', () => {
    const times = {
      watermark: '2099-01-01T00:00:00Z',
      readAt: '2026-01-01T12:00:00Z',
      now: '2026-01-01T08:00:00Z',
    };
    expect(frontierOf(times)).toBe('2026-01-01T07:00:00');
  });

  test('the newest stored event to the tick, when nothing is looked back for', () => {
    const ticks = parseTicks('2026-01-01T10:00:00.0000001Z')!;
    const now = new Date('2026-01-02T00:00:00Z');
    expect(nextFrontier({ ticks, readAt: now }, { now, lookbackMs: 0 })).toBe(ticks);
  });

  test('the first instant there is, at the earliest', () => {
    const times = {
      watermark: '0001-01-01T00:30:00Z',
      readAt: '2026-01-01T12:00:00Z',
      now: '2026-01-01T12:00:00Z',
    };
    expect(frontierOf(times)).toBe('0001-01-01T00:00:00');
  });

  test('and never later than any of the three, with any clocks', () => {
    const date = fc.date({ min: new Date('1970-01-01'), max: new Date('2200-01-01'), noInvalidDate: true });
    const ticks = fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS });
    fc.assert(
      fc.property(ticks, date, date, fc.nat(10 * HOUR_MS), (watermark, readAt, now, lookbackMs) => {
        const frontier = nextFrontier({ ticks: watermark, readAt }, { now, lookbackMs });
        for (const bound of [watermark, ticksOfDate(readAt), ticksOfDate(now)]) {
          expect(frontier === MIN_TICKS || frontier <= bound - BigInt(lookbackMs) * 10_000n).toBe(true);
        }
        expect(frontier >= MIN_TICKS).toBe(true);
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
