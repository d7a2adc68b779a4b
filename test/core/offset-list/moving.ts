/** Any list with any history of changes, read by the frontier rule, and what must hold of what is stored. */
import { expect } from '@jest/globals';
import fc from 'fast-check';
import { exportEvents } from '../../../src/core/export.ts';
import type { Json } from '../../../src/core/source.ts';
import { newCounters } from '../../../src/core/store.ts';
import { BEFORE_ALL } from '../../../src/core/ticks.ts';
import { type Change, type ModelOptions, type ModelSource, type ModelStore, placeOf, STEP } from './model.ts';

export const RUNS = Number(process.env.PROPERTY_RUNS ?? 1500);
const MAX_TIES = 4;

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({
    kind: fc.constant('append' as const),
    gap: fc.nat(3),
    content: fc.nat(1),
    ties: fc.nat(MAX_TIES - 1),
  }),
  fc.record({
    kind: fc.constant('late' as const),
    at: fc.double({ min: 0, max: 0.99, noNaN: true }),
    content: fc.nat(2),
  }),
  fc.record({ kind: fc.constant('deleteHead' as const), count: fc.integer({ min: 1, max: 12 }) }),
  fc.record({
    kind: fc.constant('delete' as const),
    at: fc.double({ min: 0, max: 0.99, noNaN: true }),
    count: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({ kind: fc.constant('cap' as const), cap: fc.integer({ min: MAX_TIES * 2 + 3, max: 20 }) }),
  fc.constant({ kind: 'none' as const }),
);

/**
 * Any list, any history; with at most `MAX_TIES` rows (and as many unreadable ones) a group, any cap holds a group. With a short step a
 * group has rows of several times, and a list that is shuffled shows them in any order.
 */
export const moving = fc.record({
  step: fc.constantFrom(STEP, 3_000n, 700n),
  gaps: fc.array(fc.oneof(fc.constant(0), fc.nat(3)), { maxLength: 80 }),
  contents: fc.array(fc.nat(2), { minLength: 1, maxLength: 7 }),
  unreadableAfter: fc.uniqueArray(fc.nat(80), { maxLength: 4 }),
  history: fc.array(change, { maxLength: 60 }),
  isShuffling: fc.boolean(),
  cap: fc.oneof(fc.constant(1000), fc.integer({ min: MAX_TIES * 2 + 3, max: 20 })),
  maxTies: fc.constant(MAX_TIES),
  seed: fc.integer(),
}) satisfies fc.Arbitrary<ModelOptions>;

export const reading = fc.record({
  pageSize: fc.integer({ min: 2, max: 25 }),
  concurrency: fc.integer({ min: 1, max: 5 }),
});

interface Reading {
  pageSize: number;
  concurrency: number;
}

export async function read(
  source: ModelSource,
  store: ModelStore,
  options: Reading & { frontier?: bigint; from?: bigint | undefined; resume?: Json; until?: bigint },
) {
  source.requests = 0;
  await exportEvents(source, store, newCounters(), {
    start: { frontier: options.frontier, from: options.from, known: store.known, resume: options.resume },
    until: options.until,
    pageSize: options.pageSize,
    concurrency: options.concurrency,
    signal: new AbortController().signal,
  });
}

export function expectNothingLost(
  source: ModelSource,
  store: ModelStore,
  from: bigint = BEFORE_ALL,
  to = BigInt(Number.MAX_SAFE_INTEGER),
) {
  const stored = store.stored();
  const lost = [...source.lastingRows(from)].filter(
    ([key, count]) => count > 0 && placeOf(key) < to && !store.has(key, count, stored),
  );
  // Called at each of millions of commits; `expect` alone took longer than the rule.
  if (lost.length > 0) expect(lost).toEqual([]);
}

/** What a response showed is stored, even if the source has deleted it before its group was complete. */
export function expectShownStored(source: ModelSource, store: ModelStore) {
  const stored = store.stored();
  const lost = [...source.shown].filter(([key, count]) => !store.has(key, count, stored));
  if (lost.length > 0) expect(lost).toEqual([]);
}

export function expectNothingDoubled(source: ModelSource, store: ModelStore) {
  const doubled = [...store.stored()].filter(([key, count]) => count > source.everExisted(key));
  if (doubled.length > 0) expect(doubled).toEqual([]);
}
