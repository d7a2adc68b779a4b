import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { exportEvents } from '../../../src/core/export.ts';
import type { Json } from '../../../src/core/source.ts';
import { newCounters } from '../../../src/core/store.ts';
import { BEFORE_ALL } from '../../../src/core/ticks.ts';
import { at, type Change, type ModelOptions, ModelSource, ModelStore, placeOf, STEP } from './model.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 1500);
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
const moving = fc.record({
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

const reading = fc.record({
  pageSize: fc.integer({ min: 2, max: 25 }),
  concurrency: fc.integer({ min: 1, max: 5 }),
});

/** Any offset, right or wrong, or the resume value of another kind of source. */
const guess: fc.Arbitrary<Json> = fc.oneof(
  { arbitrary: fc.record({ skip: fc.nat(210) }), weight: 9 },
  fc.constantFrom<Json[]>(null, 7, 'next', [], {}, { skip: '12' }, { skip: -5 }, { skip: 1e300 }),
);

interface Reading {
  pageSize: number;
  concurrency: number;
}

async function read(
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

function expectNothingLost(
  source: ModelSource,
  store: ModelStore,
  from: bigint = BEFORE_ALL,
  to = BigInt(Number.MAX_SAFE_INTEGER),
) {
  const stored = store.stored();
  const lost = [...source.lastingRows(from)].filter(
    ([key, count]) => count > 0 && placeOf(key) < to && !store.has(key, count, stored),
  );
  expect(lost).toEqual([]);
}

function expectNothingDoubled(source: ModelSource, store: ModelStore) {
  const doubled = [...store.stored()].filter(([key, count]) => count > source.mostOften(key));
  expect(doubled).toEqual([]);
}

describe('the frontier rule, over a source that changes between any two requests', () => {
  test('a first run stores every row that stayed visible, once', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, async (options, how) => {
        const source = new ModelSource(options);
        const store = new ModelStore();
        await read(source, store, how);
        expectNothingLost(source, store);
        expectNothingDoubled(source, store);
      }),
      { numRuns: RUNS },
    );
  });

  test('a run from any frontier and any guess of its offset stores every row at or after it', async () => {
    const start = fc.record({ resume: guess, distance: fc.nat(300), isBounded: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(moving, reading, start, async (options, how, { resume, distance, isBounded }) => {
        const source = new ModelSource(options);
        const store = new ModelStore();
        const frontier = at(1000) + BigInt(distance) * options.step;
        // Pages show rows before the frontier, too; they are stored unless the read is bounded.
        await read(source, store, { ...how, frontier, from: isBounded ? frontier : undefined, resume });
        expectNothingLost(source, store, frontier);
        expectNothingDoubled(source, store);
        const oldest = isBounded ? frontier : BEFORE_ALL;
        for (const event of store.events.values()) {
          expect(event.createdOnTicks).toBeGreaterThanOrEqual(oldest);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test('a half-open range stores its rows and no others', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, fc.nat(80), fc.nat(80), async (options, how, distance, length) => {
        const source = new ModelSource(options);
        const store = new ModelStore();
        const frontier = at(1000) + BigInt(distance) * options.step;
        const until = frontier + BigInt(length) * options.step;
        await read(source, store, { ...how, frontier, from: frontier, until });
        expectNothingLost(source, store, frontier, until);
        for (const { createdOnTicks } of store.events.values()) {
          expect(createdOnTicks >= frontier && createdOnTicks < until).toBe(true);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test('whenever a run is cut short, everything older than the committed frontier is stored', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, async (options, how) => {
        const source = new ModelSource(options);
        const store = new ModelStore();
        store.afterCommit = ({ frontier, covered }) => {
          expectNothingLost(source, store, BEFORE_ALL, frontier);
          if (covered) expectNothingLost(source, store, covered.from, covered.to);
        };
        await read(source, store, how);
      }),
      { numRuns: RUNS },
    );
  });

  test('runs that are killed and started again from their watermark lose and double nothing', async () => {
    const deaths = fc.array(fc.nat(6), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(moving, reading, deaths, fc.nat(5), async (options, how, commits, lookback) => {
        const source = new ModelSource({ ...options, history: onlyKeepOrder(options.history) });
        const store = new ModelStore();
        for (const commitsLeft of [...commits, Number.POSITIVE_INFINITY]) {
          store.commitsLeft = commitsLeft;
          const frontier = store.newest === undefined ? undefined : store.newest - at(lookback);
          const from = frontier === undefined ? {} : { frontier, resume: store.resume };
          store.known = store.newest;
          await read(source, store, { ...how, ...from }).catch((error) => {
            expect(error.message).toBe('killed');
          });
        }
        expectNothingLost(source, store);
        expectNothingDoubled(source, store);
      }),
      { numRuns: RUNS },
    );
  });

  const largeGroup = fc.record({
    ties: fc.integer({ min: 1, max: 120 }),
    cap: fc.integer({ min: 2, max: 9 }),
  });

  test('a tie group larger than any page, twins and all, is stored completely if the list does not change', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, largeGroup, async (options, how, { ties, cap }) => {
        const gaps = [...options.gaps, 1, ...Array<number>(ties).fill(0), 2];
        const steady = { cap, maxTies: 1000, isShuffling: false, history: [] };
        const source = new ModelSource({ ...options, gaps, ...steady });
        const store = new ModelStore();
        await read(source, store, how);
        expectNothingLost(source, store);
        expectNothingDoubled(source, store);
      }),
      { numRuns: RUNS / 5 },
    );
  });

  test('a tie group larger than any page is stored completely while the list changes, if its rows differ', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, largeGroup, async (options, how, { ties, cap }) => {
        const gaps = [...options.gaps, 1, ...Array<number>(ties).fill(0), 2];
        const contents = gaps.map((_, i) => i);
        const history = options.history
          .filter(({ kind }) => kind !== 'cap')
          .slice(0, 3)
          .map((change, i) => ({ ...change, content: 1000 + i * 10, ties: 1 }));
        const steady = { cap, maxTies: 1000, isShuffling: false };
        const source = new ModelSource({ ...options, gaps, contents, history, ...steady });
        const store = new ModelStore();
        await read(source, store, how);
        expectNothingLost(source, store);
        expectNothingDoubled(source, store);
      }),
      { numRuns: RUNS / 5 },
    );
  });

  test('a tie group larger than any page, in another order at every request, is never doubled and always ends', async () => {
    await fc.assert(
      fc.asyncProperty(moving, reading, fc.integer({ min: 20, max: 90 }), async (options, how, ties) => {
        const gaps = [...options.gaps, ...Array<number>(ties).fill(0), 1, 1];
        const contents = gaps.map((_, i) => i);
        const shuffled = { cap: 20, maxTies: 1000, isShuffling: true, history: [] };
        const source = new ModelSource({ ...options, gaps, contents, ...shuffled });
        const store = new ModelStore();
        await read(source, store, how);
        expectNothingDoubled(source, store);
      }),
      { numRuns: RUNS / 5 },
    );
  });

  test('a larger top is kept until it advances the frontier', async () => {
    const gaps = [0, 0, 1, ...Array<number>(32).fill(0), 1, 1];
    const contents = gaps.map((_, i) => i);
    const shuffled = { cap: 20, maxTies: 1000, isShuffling: true, history: [], seed: 0 };
    const source = new ModelSource({ gaps, contents, unreadableAfter: [0], ...shuffled });
    await read(source, new ModelStore(), { pageSize: 2, concurrency: 1 });
  });

  test('finding a point in n rows costs O(log n) requests', async () => {
    for (const n of [1_000, 10_000]) {
      for (const part of [0.001, 0.37, 0.999]) {
        for (const skip of [0, Math.floor(n / 2), n * 3]) {
          const source = new ModelSource({
            gaps: Array<number>(n).fill(1),
            contents: [0],
            unreadableAfter: [],
            history: [],
            isShuffling: false,
            cap: 1000,
            maxTies: 1,
            seed: 1,
          });
          const frontier = at(1000 + Math.floor(n * part));
          await read(source, new ModelStore(), {
            pageSize: 10,
            concurrency: 1,
            frontier,
            until: frontier + at(3),
            resume: { skip },
          });
          expect(source.requests).toBeLessThan(3 * Math.log2(n) + 6);
        }
      }
    }
  });

  test('a steady list repeats two rows a page, and a quiet run takes one request if it knows how many rows the server sends', async () => {
    const list = {
      contents: [0],
      unreadableAfter: [],
      history: [],
      isShuffling: false,
      cap: 1000,
      maxTies: 1,
      seed: 1,
    };
    const source = new ModelSource({ ...list, gaps: Array<number>(1000).fill(1) });
    const store = new ModelStore();
    await read(source, store, { pageSize: 100, concurrency: 1 });
    expect(source.requests).toBe(Math.ceil((1000 - 2) / 98));
    await read(source, store, {
      pageSize: 100,
      concurrency: 1,
      frontier: store.newest! - at(20),
      resume: { skip: 1000 - 22, largest: 100 },
    });
    expect(source.requests).toBe(1);
    // The 22 rows may be all that the server sends at once: the last row is requested again.
    await read(source, store, {
      pageSize: 100,
      concurrency: 1,
      frontier: store.newest! - at(20),
      resume: { skip: 1000 - 22 },
    });
    expect(source.requests).toBe(2);
  });
});

/** A later run must find everything except rows that are later than the lookback. */
function onlyKeepOrder(history: Change[]): Change[] {
  return history.filter(({ kind }) => kind !== 'late');
}
