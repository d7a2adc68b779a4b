import { describe, expect, test } from '@jest/globals';
import { type ByteBudget, createByteBudget } from '../../../src/core/offset-list/byte-budget.ts';
import type { Page, PageRequest } from '../../../src/core/offset-list/page.ts';
import { createPrefetcher } from '../../../src/core/offset-list/prefetch.ts';

interface SentRequest extends PageRequest {
  signal: AbortSignal;
  /** The response has arrived, the page is not parsed yet. */
  receive: () => void;
  fail: (error: Error) => void;
  respond: () => void;
}

/** A list of `length` rows. Each request gets its response immediately, or when the test calls `respond`. */
function openList(
  length: number,
  concurrency: number,
  options: {
    isManual?: boolean;
    cap?: number;
    countRetries?: () => number;
    bytesPerRow?: number;
    budget?: ByteBudget;
  } = {},
) {
  const sent: SentRequest[] = [];
  let inFlight = 0;
  let maxInFlight = 0;
  const fetchPage: Parameters<typeof createPrefetcher>[0] = (request, { signal, onReceived }) => {
    maxInFlight = Math.max(maxInFlight, ++inFlight);
    return new Promise<Page>((resolve, reject) => {
      const respond = () => resolve(pageOf(request, length, options));
      sent.push({ ...request, signal, receive: onReceived!, fail: reject, respond });
      signal.addEventListener('abort', () => reject(new Error('dropped')));
      if (!options.isManual) respond();
    }).finally(() => {
      inFlight--;
    });
  };
  const { bytesPerRow = 0, budget = createByteBudget(), countRetries = () => 0 } = options;
  const pageSize = { bytesOf: (top: number) => top * bytesPerRow };
  const prefetcher = createPrefetcher(fetchPage, { concurrency, countRetries, pageSize, budget });
  return { sent, prefetcher, maxInFlight: () => maxInFlight, skips: () => sent.map(({ skip }) => skip) };
}

/** Like `openList`; each request gets its response when the test calls `respond`. */
function openManual(
  length: number,
  concurrency: number,
  options: Omit<Parameters<typeof openList>[2], 'isManual'> = {},
) {
  const list = openList(length, concurrency, { ...options, isManual: true });
  const respond = async (request: SentRequest) => {
    request.respond();
    await settled();
  };
  return {
    ...list,
    respond,
    async prepareFirst(): Promise<Page> {
      const first = list.prefetcher.fetch({ skip: 0, top: 100 });
      await respond(list.sent[0]!);
      list.prefetcher.prepare({ skip: 99, top: 100 }, await first);
      return first;
    },
  };
}

/** Everything that the responses so far trigger has happened. */
function settled(): Promise<void> {
  return new Promise(setImmediate);
}

function pageOf(
  { skip, top }: PageRequest,
  length: number,
  { cap = top, bytesPerRow = 0 }: { cap?: number; bytesPerRow?: number } = {},
): Page {
  const count = Math.max(0, Math.min(top, cap, length - skip));
  const rows = Array.from({ length: count }, (_, i) => ({
    ticks: BigInt(skip + i),
    rejected: { reason: '', text: '' },
  }));
  const bytes = count * bytesPerRow;
  return { skip, top, rows, bytes, totalCount: length, requestedAt: new Date(0), sourceTime: undefined };
}

describe('prefetched requests', () => {
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
    const { prefetcher, maxInFlight } = openList(10_000, 3);
    let request = { skip: 0, top: 100 };
    for (let i = 0; i < 20; i++) {
      const page = await prefetcher.fetch(request);
      request = { skip: page.skip + 98, top: 100 };
      prefetcher.prepare(request, page);
    }
    expect(maxInFlight()).toBe(3);
  });

  test('serve the next request, which then costs nothing', async () => {
    const { prefetcher, skips } = openList(300, 2);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    expect(page.skip).toBe(99);
    expect(skips()).toEqual([0, 99, 197, 295]);
  });

  test('serve a request that begins a few rows later', async () => {
    const { prefetcher, sent } = openList(150, 1);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect((await prefetcher.fetch({ skip: 101, top: 100 })).skip).toBe(99);
    expect(sent.length).toBe(2);
  });

  test.each([
    ['one row earlier', { skip: 98, top: 100 }],
    ['much later', { skip: 150, top: 100 }],
    ['with more rows', { skip: 99, top: 200 }],
  ])('are dropped for a request %s, which is sent itself', async (_, request) => {
    const { prefetcher, sent } = openList(1000, 3, { isManual: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    sent[0]!.respond();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    const wanted = prefetcher.fetch(request);
    expect(sent.slice(1, 4).map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
    sent.at(-1)!.respond();
    expect(await wanted).toMatchObject(request);
  });

  test('are dropped if the next request is another one', async () => {
    const { prefetcher, sent } = openList(1000, 2);
    const first = await prefetcher.fetch({ skip: 0, top: 100 });
    prefetcher.prepare({ skip: 99, top: 100 }, first);
    prefetcher.prepare({ skip: 500, top: 100 }, first);
    expect(sent.map(({ skip, signal }) => [skip, signal.aborted])).toEqual([
      [0, false],
      [99, true],
      [197, true],
      [500, false],
    ]);
  });

  test('are fewer after some were wasted, and one more again after a round of used ones', async () => {
    const { prefetcher, sent, respond, prepareFirst } = openManual(100_000, 8);
    await prepareFirst();
    expect(sent.length).toBe(1 + 8);
    const other = prefetcher.fetch({ skip: 5000, top: 100 });
    await respond(sent.at(-1)!);
    prefetcher.prepare({ skip: 5099, top: 100 }, await other);
    expect(sent.length).toBe(1 + 8 + 1 + 4);
    let request = { skip: 5099, top: 100 };
    const inFlight: number[] = [];
    // Responses to requests in flight when the limit was halved are not counted: seven, of which one has arrived.
    for (let i = 10; i < 10 + 6 + 4 + 5; i++) {
      await respond(sent[i]!);
      const served = await prefetcher.fetch(request);
      request = { skip: served.skip + 98, top: 100 };
      prefetcher.prepare(request, served);
      inFlight.push(sent.length - 1 - i);
    }
    expect(inFlight).toEqual([4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 6]);
  });

  test('are fewer after a retried request', async () => {
    let retries = 0;
    const { sent, respond, prepareFirst } = openManual(100_000, 8, { countRetries: () => retries });
    await prepareFirst();
    retries = 3;
    for (let i = 1; i <= 4; i++) await respond(sent[i]!);
    expect(sent.length).toBe(1 + 8);
    await respond(sent[5]!);
    expect(sent.length).toBe(1 + 8 + 1);
  });

  test('continue as soon as any response arrives, in any order', async () => {
    const { sent, skips, respond, prepareFirst } = openManual(1000, 2);
    await prepareFirst();
    await respond(sent[2]!);
    expect(skips()).toEqual([0, 99, 197, 295]);
  });

  test('continue when a response is received, before its page is parsed', async () => {
    const { sent, skips, respond, prepareFirst } = openManual(1000, 1);
    await prepareFirst();
    sent[1]!.receive();
    expect(skips()).toEqual([0, 99, 197]);
    await respond(sent[1]!);
    expect(skips()).toEqual([0, 99, 197]);
  });

  test('stop when three more pages than the concurrency are received or in flight, until one is used', async () => {
    const { prefetcher, sent, skips, respond, prepareFirst } = openManual(10_000, 3);
    await prepareFirst();
    for (let i = 1; i < sent.length; i++) await respond(sent[i]!);
    expect(sent.length).toBe(1 + 6);
    await prefetcher.fetch({ skip: 99, top: 100 });
    expect(skips().slice(7)).toEqual([687]);
  });

  test('end with one that failed', async () => {
    const { prefetcher, sent, prepareFirst } = openManual(1000, 2);
    await prepareFirst();
    sent[2]!.fail(new Error('away'));
    await settled();
    sent[1]!.respond();
    await prefetcher.fetch({ skip: 99, top: 100 });
    expect(sent.length).toBe(3);
  });

  test('except the first stay in flight if a tie group at the end of a page makes the next one start earlier', async () => {
    const { prefetcher, sent, respond } = openManual(10_000, 3);
    const fetched = prefetcher.fetch({ skip: 0, top: 1000 });
    await respond(sent[0]!);
    const first = await fetched;
    prefetcher.prepare({ skip: 999, top: 1000 }, first);
    await respond(sent[1]!);
    prefetcher.prepare({ skip: 990, top: 1000 }, first);
    // Never more at once than the concurrency: the last one is cancelled and requested again later.
    expect(sent.map(({ skip, signal }) => [skip, signal.aborted])).toEqual([
      [0, false],
      [999, true],
      [1989, false],
      [2979, false],
      [3969, true],
      [990, false],
    ]);
    await respond(sent[5]!);
    expect((await prefetcher.fetch({ skip: 990, top: 1000 })).skip).toBe(990);
    expect(sent.slice(6).map(({ skip }) => skip)).toEqual([3969]);
  });

  test('are dropped also when their response has arrived but may be requested again', async () => {
    const { prefetcher, sent, prepareFirst } = openManual(1000, 1);
    await prepareFirst();
    sent[1]!.receive();
    prefetcher.drop();
    expect(sent.slice(1).map(({ signal }) => signal.aborted)).toEqual([true, true]);
  });

  test('do not exceed the end of the list', async () => {
    const { prefetcher, skips } = openList(150, 4);
    prefetcher.prepare({ skip: 99, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 99]);
  });

  test('follow the number of received rows if the source caps its pages', async () => {
    const { prefetcher, skips } = openList(1000, 3, { cap: 50 });
    prefetcher.prepare({ skip: 49, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 49, 97, 145]);
  });

  test.each([1, 2])('are one at a time if the source returns %i rows in each page', async (cap) => {
    const { prefetcher, skips } = openList(1000, 4, { cap });
    prefetcher.prepare({ skip: 1, top: 100 }, await prefetcher.fetch({ skip: 0, top: 100 }));
    expect(skips()).toEqual([0, 1]);
  });

  test('that fail are an error only when they are next in order', async () => {
    const { prefetcher, sent } = openList(1000, 2, { isManual: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    sent[0]!.respond();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    sent[2]!.fail(new Error('away'));
    sent[1]!.respond();
    const page = await prefetcher.fetch({ skip: 99, top: 100 });
    prefetcher.prepare({ skip: 197, top: 100 }, page);
    await expect(prefetcher.fetch({ skip: 197, top: 100 })).rejects.toThrow('away');
  });

  test('that fail after they were dropped are ignored', async () => {
    const { prefetcher, sent } = openList(1000, 2, { isManual: true });
    const first = prefetcher.fetch({ skip: 0, top: 100 });
    sent[0]!.respond();
    prefetcher.prepare({ skip: 99, top: 100 }, await first);
    prefetcher.drop();
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent.slice(1).every(({ signal }) => signal.aborted)).toBe(true);
  });
});
