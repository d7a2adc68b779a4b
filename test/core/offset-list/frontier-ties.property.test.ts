/** Tie groups that no page holds, and the number of requests. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { at, ModelSource, ModelStore } from './model.ts';
import { expectNothingDoubled, expectNothingLost, moving, RUNS, read, reading } from './moving.ts';

describe('the frontier rule, over a source that changes between any two requests', () => {
  /** Up to 24 pages of the smallest cap, 6 of the largest: each page more of a group is read as the one before. */
  const largeGroup = fc.record({
    ties: fc.integer({ min: 1, max: 48 }),
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
      fc.asyncProperty(moving, reading, fc.integer({ min: 20, max: 56 }), async (options, how, ties) => {
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
