import { describe, expect, test } from '@jest/globals';
import type { Page } from '../../src/core/event.ts';
import { createPrefetcher, type PageRequest } from '../../src/core/prefetch.ts';

interface Asked extends PageRequest {
  signal: AbortSignal;
  fail: (error: Error) => void;
  answer: () => void;
}

/** A list of `length` rows; each request is answered when the test says so, or at once. */
function openList(
  length: number,
  concurrency: number,
  how: { isPatient?: boolean; cap?: number; countRetries?: () => number } = {},
) {
  const asked: Asked[] = [];
  let underWay = 0;
  let mostUnderWay = 0;
  const fetchPage = (request: PageRequest, signal: AbortSignal): Promise<Page> => {
    mostUnderWay = Math.max(mostUnderWay, ++underWay);
    return new Promise<Page>((resolve, reject) => {
      const answer = () => resolve(pageOf(request, length, how.cap));
      asked.push({ ...request, signal, fail: reject, answer });
      signal.addEventListener('abort', () => reject(new Error('dropped')));
      if (!how.isPatient) answer();
    }).finally(() => {
      underWay--;
    });
  };
  const prefetcher = createPrefetcher(fetchPage, concurrency, how.countRetries);
  return { asked, prefetcher, mostUnderWay: () => mostUnderWay, skips: () => asked.map(({ skip }) => skip) };
}

function pageOf({ skip, top }: PageRequest, length: number, cap = top): Page {
  const count = Math.max(0, Math.min(top, cap, length - skip));
  const rows = Array.from({ length: count }, (_, i) => ({
    ticks: BigInt(skip + i),
    rejected: { reason: '', text: '' },
  }));
  return { skip, top, rows, totalCount: length, requestedAt: new Date(0) };
}

describe('requests made ahead', () => {
  test('are as many as the concurrency allows, and each page overlaps the one before', async () => {
    const { prefetcher, skips } = openList(1000, 4);
    const first = await prefetcher.fetch({ skip: 0, top: 100 });
    prefetcher.prepare({ skip: 99, top: 100 }, first);
    expect(skips()).toEqual([0, 99, 197, 295, 393]);
  });

  test('with a concurrency of 1 there is only the next one', async () => {
    const { prefetcher, skips } = openList(1000, 1);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 99]);
  });

  test('are never more at once than the concurrency', async () => {
    const { prefetcher, mostUnderWay } = openList(10_000, 3);
    let request = { skip: 0, top: 100 };
    for (let i = 0; i < 20; i++) {
      const page = await prefetcher.fetch(request);
      request = { skip: page.skip + 98, top: 100 };
      prefetcher.prepare(request, page);
    }
    expect(mostUnderWay()).toBe(3);
  });

  test('serve the request that comes, which then costs nothing', async () => {
    const { prefetcher, asked } = openList(1000, 2);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    expect(page.skip).toBe(99);
    expect(asked.length).toBe(3);
  });

  test('serve a request that begins a few rows later', async () => {
    const { prefetcher, asked } = openList(1000, 1);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect((await prefetcher.fetch({ skip: 101, top: 100 })).skip).toBe(99);
    expect(asked.length).toBe(2);
  });

  test.each([
    ['one row earlier', { skip: 98, top: 100 }],
    ['much later', { skip: 150, top: 100 }],
    ['with more rows', { skip: 99, top: 200 }],
  ])('are dropped for a request %s, which is asked for itself', async (_, request) => {
    const { prefetcher, asked } = openList(1000, 3, { isPatient: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    asked[0]!.answer();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    const wanted = prefetcher.fetch(request);
    expect(asked.slice(1, 4).map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
    asked.at(-1)!.answer();
    expect(await wanted).toMatchObject(request);
  });

  test('are dropped when the next request turns out to be another one', async () => {
    const { prefetcher, asked } = openList(1000, 2);
    const first = await prefetcher.fetch({ skip: 0, top: 100 });
    prefetcher.prepare({ skip: 99, top: 100 }, first);
    prefetcher.prepare({ skip: 500, top: 100 }, first);
    expect(asked.map(({ skip, signal }) => [skip, signal.aborted])).toEqual([
      [0, false],
      [99, true],
      [197, true],
      [500, false],
    ]);
  });

  test('are fewer after they were asked for in vain, and one more again once a round of them served', async () => {
    const { prefetcher, asked } = openList(100_000, 8);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(asked.length).toBe(1 + 8);
    const page = await prefetcher.fetch({ skip: 5000, top: 100 });
    prefetcher.prepare({ skip: 5099, top: 100 }, page);
    expect(asked.length).toBe(1 + 8 + 1 + 4);
    let request = { skip: 5099, top: 100 };
    const askedAfterEach: number[] = [];
    // Those that the first waste left under way are not counted.
    for (let i = 0; i < 12; i++) {
      const served = await prefetcher.fetch(request);
      request = { skip: served.skip + 98, top: 100 };
      prefetcher.prepare(request, served);
      askedAfterEach.push(asked.length - (1 + 8 + 1 + 4));
    }
    expect(askedAfterEach).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13]);
  });

  test('are fewer after a request had to be sent again', async () => {
    let retries = 0;
    const { prefetcher, asked } = openList(100_000, 8, { countRetries: () => retries });
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    retries = 3;
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    for (let i = 0; i < 4; i++) await prefetcher.fetch({ skip: 197 + i * 98, top: 100 });
    prefetcher.prepare({ skip: 589, top: 100 }, page);
    expect(asked.length).toBe(1 + 8 + 1);
  });

  test('do not go beyond the end of the list', async () => {
    const { prefetcher, skips } = openList(150, 4);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 99]);
  });

  test('go by the rows that came where the source caps its pages', async () => {
    const { prefetcher, skips } = openList(1000, 3, { cap: 50 });
    prefetcher.prepare({ skip: 49, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 49, 97, 145]);
  });

  test.each([1, 2])('are one at a time where the source gives %i rows a page', async (cap) => {
    const { prefetcher, skips } = openList(1000, 4, { cap });
    prefetcher.prepare({ skip: 1, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 1]);
  });

  test('that fail are an error only once their turn comes', async () => {
    const { prefetcher, asked } = openList(1000, 2, { isPatient: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    asked[0]!.answer();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    asked[2]!.fail(new Error('away'));
    asked[1]!.answer();
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    prefetcher.prepare({ skip: 197, top: 100 }, page);
    await expect(prefetcher.fetch({ skip: 197, top: 100 })).rejects.toThrow('away');
  });

  test('that fail after they were dropped are nobody’s error', async () => {
    const { prefetcher, asked } = openList(1000, 2, { isPatient: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    asked[0]!.answer();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    prefetcher.drop();
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked.slice(1).every(({ signal }) => signal.aborted)).toBe(true);
  });
});
