import { describe, expect, test } from '@jest/globals';
import type { Page, PageRequest } from '../../../src/core/offset-list/page.ts';
import { createPrefetcher } from '../../../src/core/offset-list/prefetch.ts';

interface Asked extends PageRequest {
  signal: AbortSignal;
  /** The answer is here, the page not yet. */
  receive: () => void;
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
  const fetchPage: Parameters<typeof createPrefetcher>[0] = (request, { signal, onReceived }) => {
    mostUnderWay = Math.max(mostUnderWay, ++underWay);
    return new Promise<Page>((resolve, reject) => {
      const answer = () => resolve(pageOf(request, length, how.cap));
      asked.push({ ...request, signal, receive: onReceived!, fail: reject, answer });
      signal.addEventListener('abort', () => reject(new Error('dropped')));
      if (!how.isPatient) answer();
    }).finally(() => {
      underWay--;
    });
  };
  const prefetcher = createPrefetcher(fetchPage, concurrency, how.countRetries);
  return { asked, prefetcher, mostUnderWay: () => mostUnderWay, skips: () => asked.map(({ skip }) => skip) };
}

/** As `openList`, with each request answered when the test says so. */
function openPatient(length: number, concurrency: number, how: { countRetries?: () => number } = {}) {
  const list = openList(length, concurrency, { ...how, isPatient: true });
  const answer = async (request: Asked) => {
    request.answer();
    await settled();
  };
  return {
    ...list,
    answer,
    async prepareFirst(): Promise<Page> {
      const first = list.prefetcher.fetch({ skip: 0, top: 100 });
      await answer(list.asked[0]!);
      list.prefetcher.prepare({ skip: 99, top: 100 }, await first);
      return first;
    },
  };
}

/** Whatever the answers so far lead to has happened. */
function settled(): Promise<void> {
  return new Promise(setImmediate);
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
    const { prefetcher, skips } = openList(300, 2);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    expect(page.skip).toBe(99);
    expect(skips()).toEqual([0, 99, 197, 295]);
  });

  test('serve a request that begins a few rows later', async () => {
    const { prefetcher, asked } = openList(150, 1);
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

  test('are fewer after some were of no use, and one more again once a round of them served', async () => {
    const { prefetcher, asked, answer, prepareFirst } = openPatient(100_000, 8);
    await prepareFirst();
    expect(asked.length).toBe(1 + 8);
    const other = prefetcher.fetch({ skip: 5000, top: 100 });
    await answer(asked.at(-1)!);
    prefetcher.prepare({ skip: 5099, top: 100 }, await other);
    expect(asked.length).toBe(1 + 8 + 1 + 4);
    let request = { skip: 5099, top: 100 };
    const underWay: number[] = [];
    // Those that were under way when the limit was halved are not counted: seven responses, of which one is in.
    for (let i = 10; i < 10 + 6 + 4 + 5; i++) {
      await answer(asked[i]!);
      const served = await prefetcher.fetch(request);
      request = { skip: served.skip + 98, top: 100 };
      prefetcher.prepare(request, served);
      underWay.push(asked.length - 1 - i);
    }
    expect(underWay).toEqual([4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6]);
  });

  test('are fewer after a request had to be sent again', async () => {
    let retries = 0;
    const { asked, answer, prepareFirst } = openPatient(100_000, 8, { countRetries: () => retries });
    await prepareFirst();
    retries = 3;
    for (let i = 1; i <= 4; i++) await answer(asked[i]!);
    expect(asked.length).toBe(1 + 8);
    await answer(asked[5]!);
    expect(asked.length).toBe(1 + 8 + 1);
  });

  test('go on as soon as one is answered, whosever turn it is', async () => {
    const { asked, skips, answer, prepareFirst } = openPatient(1000, 2);
    await prepareFirst();
    await answer(asked[2]!);
    expect(skips()).toEqual([0, 99, 197, 295]);
  });

  test('go on when an answer is received, before its page can be had', async () => {
    const { asked, skips, answer, prepareFirst } = openPatient(1000, 1);
    await prepareFirst();
    asked[1]!.receive();
    expect(skips()).toEqual([0, 99, 197]);
    await answer(asked[1]!);
    expect(skips()).toEqual([0, 99, 197]);
  });

  test('wait once three pages more than the concurrency are there or under way, until one is used', async () => {
    const { prefetcher, asked, skips, answer, prepareFirst } = openPatient(10_000, 3);
    await prepareFirst();
    for (let i = 1; i < asked.length; i++) await answer(asked[i]!);
    expect(asked.length).toBe(1 + 6);
    await prefetcher.fetch({ skip: 99, top: 100 });
    expect(skips().slice(7)).toEqual([687]);
  });

  test('end with one that failed', async () => {
    const { prefetcher, asked, prepareFirst } = openPatient(1000, 2);
    await prepareFirst();
    asked[2]!.fail(new Error('away'));
    await settled();
    asked[1]!.answer();
    await prefetcher.fetch({ skip: 99, top: 100 });
    expect(asked.length).toBe(3);
  });

  test('but for the first stay under way where a tie group at the end of a page makes the next one begin earlier', async () => {
    const { prefetcher, asked, answer } = openPatient(10_000, 3);
    const fetched = prefetcher.fetch({ skip: 0, top: 1000 });
    await answer(asked[0]!);
    const first = await fetched;
    prefetcher.prepare({ skip: 999, top: 1000 }, first);
    await answer(asked[1]!);
    prefetcher.prepare({ skip: 990, top: 1000 }, first);
    // Never more at once than the concurrency: the last one makes room, and is asked for again later.
    expect(asked.map(({ skip, signal }) => [skip, signal.aborted])).toEqual([
      [0, false],
      [999, true],
      [1989, false],
      [2979, false],
      [3969, true],
      [990, false],
    ]);
    await answer(asked[5]!);
    expect((await prefetcher.fetch({ skip: 990, top: 1000 })).skip).toBe(990);
    expect(asked.slice(6).map(({ skip }) => skip)).toEqual([3969]);
  });

  test('are dropped also when their answer is here and may yet have to be asked for again', async () => {
    const { prefetcher, asked, prepareFirst } = openPatient(1000, 1);
    await prepareFirst();
    asked[1]!.receive();
    prefetcher.drop();
    expect(asked.slice(1).map(({ signal }) => signal.aborted)).toEqual([true, true]);
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
