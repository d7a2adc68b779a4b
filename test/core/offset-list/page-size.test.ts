import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createByteBudget, MAX_PREFETCHED_BYTES } from '../../../src/core/offset-list/byte-budget.ts';
import type { Page, PageRequest } from '../../../src/core/offset-list/page.ts';
import {
  createPageSize,
  MAX_PAGE_BYTES,
  MIN_ROWS,
  TARGET_BYTES,
} from '../../../src/core/offset-list/page-size.ts';
import { createOffsetListReader } from '../../../src/core/offset-list/reader.ts';
import { ModelSource, ModelStore } from './model.ts';
import { expectNothingDoubled, expectNothingLost, moving, RUNS, read, reading } from './moving.ts';

const KILOBYTE = 1000;
const MEGABYTE = 1_000_000;

/** The number of rows after each response of full pages with rows of this size, starting at 1,000 rows. */
function sizesAfter(bytesPerRow: number, responses: number, pageSize = createPageSize()): number[] {
  return Array.from({ length: responses }, () => {
    let limit = pageSize.rowsOf(1000);
    while (limit > MIN_ROWS && limit * bytesPerRow > MAX_PAGE_BYTES) limit = Math.max(MIN_ROWS, limit >> 1);
    const rows = Array(limit).fill({});
    const isCut = limit < pageSize.rowsOf(1000);
    pageSize.record({ rows, bytes: limit * bytesPerRow, limit: isCut ? limit : undefined });
    return pageSize.rowsOf(1000);
  });
}

describe('the page size', () => {
  test('stays as configured while the rows have a usual size', () => {
    expect(sizesAfter(2 * KILOBYTE, 5)).toEqual([1000, 1000, 1000, 1000, 1000]);
  });

  test.each([
    [3 * KILOBYTE, 500],
    [40 * KILOBYTE, 62],
    [400 * KILOBYTE, 4],
    [30 * MEGABYTE, MIN_ROWS],
  ])('halves for rows of %i bytes until a page has a usual size: %i rows', (bytes, expected) => {
    const sizes = sizesAfter(bytes, 10);
    expect(sizes.at(-1)).toBe(expected);
    expect(new Set(sizes.slice(3)).size).toBe(1);
  });

  test('doubles after each light page, up to the configured one', () => {
    const pageSize = createPageSize();
    sizesAfter(400 * KILOBYTE, 3, pageSize);
    expect(sizesAfter(KILOBYTE, 9, pageSize)).toEqual([8, 16, 32, 64, 128, 256, 512, 1000, 1000]);
  });

  test('expects no more of a response than is read of it', () => {
    const pageSize = createPageSize();
    expect(pageSize.bytesOf(1000)).toBe(0);
    pageSize.record({ rows: Array(4).fill({}), bytes: 4 * MEGABYTE });
    expect([pageSize.bytesOf(2), pageSize.bytesOf(1000)]).toEqual([2 * MEGABYTE, MAX_PAGE_BYTES]);
  });
});

/** Reads rows of this size, and returns the most bytes that were in flight or waiting at once, and the largest page. */
async function readHeavy(bytesPerRow: number, count: number, readers = 1) {
  let held = 0;
  let most = 0;
  let largest = 0;
  const sizes = new Map<Page, number>();
  const fetchPage = async ({ skip, top }: PageRequest): Promise<Page> => {
    let limit = top;
    while (limit > MIN_ROWS && limit * bytesPerRow > MAX_PAGE_BYTES) limit = Math.max(MIN_ROWS, limit >> 1);
    const length = Math.max(0, Math.min(limit, count - skip));
    const bytes = length * bytesPerRow;
    held += bytes;
    most = Math.max(most, held);
    largest = Math.max(largest, bytes);
    await new Promise(setImmediate);
    const rows = Array.from({ length }, (_, i) => ({
      ticks: BigInt(skip + i) * 10_000n,
      rejected: { reason: '', text: `${skip + i}` },
    }));
    const requestedAt = new Date(0);
    const page = { skip, top, rows, bytes, totalCount: count, requestedAt, ...(limit < top && { limit }) };
    sizes.set(page, bytes);
    return page;
  };
  const budget = createByteBudget();
  const seen = new Set<string>();
  const readOne = async () => {
    const source = createOffsetListReader({ fetchPage, orderAdvice: '', budget });
    const options = { pageSize: 1000, concurrency: 4, signal: new AbortController().signal };
    const meter = { requests: 0, retries: 0, pages: 0 };
    for await (const chunk of source.read({ frontier: undefined }, { ...options, meter })) {
      for (const { text } of [...chunk.rejected, ...chunk.others.rejected]) seen.add(text);
      const { page } = chunk.evidence as { page: Page };
      held -= page.bytes!;
      await new Promise(setImmediate);
    }
  };
  await Promise.all(Array.from({ length: readers }, readOne));
  return { seen: seen.size, most, largest, heldAtEnd: budget.held };
}

describe('the bytes of responses in flight and waiting', () => {
  test.each([
    [KILOBYTE, 20_000],
    [40 * KILOBYTE, 1000],
    [400 * KILOBYTE, 200],
    [4 * MEGABYTE, 30],
  ])('of rows of %i bytes are within the budget, and one page', async (bytesPerRow, count) => {
    const { seen, most, largest, heldAtEnd } = await readHeavy(bytesPerRow, count);
    expect({ seen, heldAtEnd }).toEqual({ seen: count, heldAtEnd: 0 });
    // Pages that are requested before their size is known, and dropped, are counted too.
    expect(most).toBeLessThanOrEqual(MAX_PREFETCHED_BYTES + 2 * largest);
  });

  test('are within one budget for several sources', async () => {
    const { seen, most, largest } = await readHeavy(40 * KILOBYTE, 1000, 4);
    expect(seen).toBe(1000);
    // Each source may always have the page that it waits for.
    expect(most).toBeLessThanOrEqual(MAX_PREFETCHED_BYTES + 4 * largest);
  });

  test('are few for one event that is larger than the budget', async () => {
    const { seen, largest } = await readHeavy(MAX_PREFETCHED_BYTES + 1, 10);
    expect(seen).toBe(10);
    expect(largest).toBe(MIN_ROWS * (MAX_PREFETCHED_BYTES + 1));
  });
});

/** A response has room for the largest group of `moving`, with its unreadable rows and the rows around it. */
const ROWS_OF_GROUP = 11;

test('a list with large rows, which changes between any two requests, is read whole', async () => {
  const sizes = fc.array(fc.constantFrom(0, KILOBYTE, TARGET_BYTES / 40, MAX_PAGE_BYTES / ROWS_OF_GROUP), {
    minLength: 1,
    maxLength: 9,
  });
  await fc.assert(
    fc.asyncProperty(moving, reading, sizes, async (options, how, rowSizes) => {
      const source = new ModelSource({ ...options, sizes: rowSizes });
      const store = new ModelStore();
      await read(source, store, how);
      expectNothingLost(source, store);
      expectNothingDoubled(source, store);
    }),
    { numRuns: RUNS, ...(process.env.PROPERTY_RUNS ? {} : { seed: 7 }) },
  );
});
