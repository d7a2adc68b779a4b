/** What a run may say it has read without a hole. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type CoveredRange, describeGap, extendCovered, gapBefore } from '../../src/core/coverage.ts';
import { TICKS_PER_MILLISECOND } from '../../src/core/ticks.ts';
import { ticksAt } from '../support/batch.ts';

const NOW = ticksAt('2026-01-01T12:00:00Z');
const MS = TICKS_PER_MILLISECOND;

type Reading = Parameters<typeof extendCovered>[1];

function resultOf(frontier: bigint, given: Partial<Reading> = {}): Reading {
  return { frontier, head: undefined, unproven: undefined, ...given };
}

const extend = (before: CoveredRange | undefined, result: Reading, start?: bigint) =>
  extendCovered(before, result, { start, now: NOW });

describe('what a run has covered', () => {
  test.each<[string, CoveredRange | undefined, bigint | undefined, Reading, CoveredRange | undefined]>([
    [
      'a first run: from the oldest event that the source has',
      ...([undefined, undefined, resultOf(50n, { head: 10n })] as const),
      { from: 10n, to: 50n, isFromHead: true },
    ],
    [
      'a run from a watermark: from there, where the source is older than it',
      ...([undefined, 20n, resultOf(50n, { head: 10n })] as const),
      { from: 20n, to: 50n, isFromHead: false },
    ],
    [
      'a run from a watermark without sight of the oldest event',
      ...([undefined, 20n, resultOf(50n)] as const),
      { from: 20n, to: 50n, isFromHead: false },
    ],
    [
      'a run from a watermark that the source no longer reaches back to: from the oldest event',
      ...([undefined, 20n, resultOf(50n, { head: 30n })] as const),
      { from: 30n, to: 50n, isFromHead: true },
    ],
    [
      'a later page: the piece so far, longer',
      ...([{ from: 10n, to: 50n, isFromHead: true }, undefined, resultOf(80n)] as const),
      { from: 10n, to: 80n, isFromHead: true },
    ],
    [
      'a later page of a list whose head is still behind the piece',
      ...([{ from: 20n, to: 50n, isFromHead: false }, 20n, resultOf(80n, { head: 49n })] as const),
      { from: 20n, to: 80n, isFromHead: false },
    ],
    [
      'a list that begins where the piece ends: a new piece',
      ...([{ from: 10n, to: 50n, isFromHead: true }, undefined, resultOf(80n, { head: 50n })] as const),
      { from: 50n, to: 80n, isFromHead: true },
    ],
    [
      'a tie group that may be incomplete: a new piece behind its millisecond',
      ...([{ from: 10n, to: 50n, isFromHead: true }, 0n, resultOf(8n * MS, { unproven: 6n * MS })] as const),
      { from: 7n * MS, to: 8n * MS, isFromHead: false },
    ],
    ['a page that shows nothing of where it lies', undefined, undefined, resultOf(80n), undefined],
  ])('%s', (_name, before, frontier, result, expected) => {
    expect(extend(before, result, frontier)).toEqual(expected);
  });

  test('ends at the latest when the page was requested, even if events have later dates', () => {
    const late = resultOf(NOW + 1_000n, { head: 10n });
    expect(extend(undefined, late)).toEqual({ from: 10n, to: NOW, isFromHead: true });
  });

  test('never claims a time before the head, beyond the frontier, or of a hole', () => {
    const ticks = fc.bigInt({ min: 0n, max: 100n * MS });
    const place = fc.bigInt({ min: 0n, max: 100n }).map((ms) => ms * MS);
    const step = fc.record({
      advance: fc.bigInt({ min: 0n, max: 20n }).map((ms) => ms * MS),
      head: fc.option(ticks, { nil: undefined }),
      isUnproven: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.option(place, { nil: undefined }),
        fc.array(step, { maxLength: 20 }),
        (frontier, steps) => {
          let covered: CoveredRange | undefined;
          let reached = frontier ?? 0n;
          for (const { advance, head, isUnproven } of steps) {
            const before = covered;
            reached += advance;
            const unproven = isUnproven ? reached - MS : undefined;
            covered = extend(before, resultOf(reached, { head, unproven }), frontier);
            if (covered === undefined) {
              expect([before, frontier, head]).toEqual([undefined, undefined, undefined]);
              continue;
            }
            expect(covered.to).toBe(reached);
            if (unproven !== undefined) {
              // Every tick of the millisecond may be incomplete.
              expect(covered.from).toBe(unproven + MS);
              continue;
            }
            // It extends the covered range, unless the page shows that the list starts after it.
            const end = before?.to ?? frontier;
            const isNew = head !== undefined && (end === undefined || head >= end);
            expect(covered.from).toBe(isNew ? head : (before?.from ?? frontier));
          }
        },
      ),
    );
  });
});

describe('the gap before what the source still has', () => {
  test.each<[string, bigint | undefined, bigint | undefined, { from: bigint; to: bigint } | undefined]>([
    ['is none while nothing is known', 10n, undefined, undefined],
    ['is none while the head is not seen', undefined, 10n, undefined],
    ['is none where the head is older than what is known', 9n, 10n, undefined],
    ['is none where the head is the newest event known', 10n, 10n, undefined],
    ['lies between the two where the head is newer', 11n, 10n, { from: 10n, to: 11n }],
  ])('%s', (_name, head, known, gap) => {
    expect(gapBefore(head, known)).toEqual(gap);
  });

  test('is described with both its ends', () => {
    const text = describeGap({ from: ticksAt('2026-01-01T10:00:00Z'), to: ticksAt('2026-01-02T10:00:00Z') });
    expect(text).toContain('2026-01-01T10:00:00');
    expect(text).toContain('2026-01-02T10:00:00');
  });
});
