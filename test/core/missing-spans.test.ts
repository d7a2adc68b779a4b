import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createMissingSpans, type Span, spanOf } from '../../src/core/missing-spans.ts';

const MS = 10_000n;
const at = (milliseconds: number) => BigInt(milliseconds) * MS;
const span = (from: number, to: number): Span => ({ from: at(from), to: at(to) });

test('the span of an event is its millisecond, also before 1970', () => {
  expect(spanOf(123_456n)).toEqual({ from: 120_000n, to: 130_000n });
  expect(spanOf(-1n)).toEqual({ from: -10_000n, to: 0n });
});

test('missing events without a stored one between them are one span', () => {
  const spans = createMissingSpans();
  for (const [ms, isMissing] of [
    [1, false],
    [5, true],
    [9, true],
    [12, false],
    [20, true],
  ] as const) {
    spans.add(at(ms), isMissing);
  }
  expect(spans.read()).toEqual([span(5, 10), span(20, 21)]);
});

test('at most so many spans, the nearest joined, and each missing millisecond is in one', () => {
  const instants = fc.uniqueArray(fc.integer({ min: 0, max: 500 }), { maxLength: 60 });
  fc.assert(
    fc.property(instants, fc.integer({ min: 1, max: 8 }), (list, max) => {
      const spans = createMissingSpans(max);
      for (const ms of list) spans.addSpan(spanOf(at(ms)));
      const found = spans.read();
      expect(found.length).toBeLessThanOrEqual(max);
      for (const ms of list) expect(found.some(({ from, to }) => from <= at(ms) && at(ms) < to)).toBe(true);
      for (const [i, { from }] of found.entries()) if (i > 0) expect(from > found[i - 1]!.to).toBe(true);
    }),
  );
});
