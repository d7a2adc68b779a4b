import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { describe, expect, jest, test } from '@jest/globals';
import { TRACE_ID } from '../../src/simulator/error-bodies.ts';
import { ERROR_SHAPES, parseFaultRule } from '../../src/simulator/faults.ts';
import {
  fetchToken,
  getList,
  LIST_PATH,
  postToken,
  readPage,
  readRaw,
  readTimes,
  rowAt,
  withSimulator,
} from './client.ts';

const TIE = '2023-05-01T00:00:01Z';
const ties = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => rowAt(TIE, name));

describe('ties', () => {
  test('keep their order by default', () =>
    withSimulator({ rows: ties }, async (simulator) => {
      const orders = await ordersOf(simulator, 10);
      expect(orders).toEqual(new Set(['abcdefgh']));
    }));

  test('are in a different order at each request, none is lost, and their neighbours stay in place', () =>
    withSimulator(
      {
        rows: [rowAt('2023-05-01T00:00:00Z', '<'), ...ties, rowAt('2023-05-01T00:00:02Z', '>')],
        shuffleTies: true,
      },
      async (simulator) => {
        const orders = await ordersOf(simulator, 10);
        expect(orders.size).toBeGreaterThan(8);
        for (const order of orders)
          expect([order[0], [...order].sort().join(''), order.at(-1)]).toEqual(['<', '<>abcdefgh', '>']);
      },
    ));

  test('are shuffled across a page boundary', () =>
    withSimulator({ rows: ties, shuffleTies: true }, async (simulator) => {
      const firsts = new Set<unknown>();
      for (let i = 0; i < 30; i++)
        firsts.add((await readPage(simulator, 'skip=3&top=1')).results![0]!.action);
      expect(firsts.size).toBeGreaterThan(4);
    }));

  async function ordersOf(simulator: Parameters<typeof readPage>[0], times: number): Promise<Set<string>> {
    const orders = new Set<string>();
    for (let i = 0; i < times; i++) {
      orders.add((await readPage(simulator)).results!.map((row) => row.action).join(''));
    }
    return orders;
  }
});

describe('the list', () => {
  test('caps top, and changes the cap from request to request', () =>
    withSimulator({ events: 100, cap: [10, 3] }, async (simulator) => {
      const lengths: number[] = [];
      for (let i = 0; i < 4; i++) lengths.push((await readTimes(simulator, 'top=50')).length);
      simulator.set({ cap: 7 });
      lengths.push(
        (await readTimes(simulator, 'top=50')).length,
        (await readTimes(simulator, 'top=2')).length,
      );
      simulator.set({ cap: Number.POSITIVE_INFINITY, bom: false });
      lengths.push((await readTimes(simulator, 'top=50')).length);
      expect(lengths).toEqual([10, 3, 10, 3, 7, 2, 50]);
    }));

  test('is newest first although ascending order was requested', () =>
    withSimulator({ events: 50, ignoreSortOrder: true }, async (simulator) => {
      const newestFirst = simulator.rows.map((row) => JSON.parse(row.text).createdOn).reverse();
      expect(await readTimes(simulator)).toEqual(newestFirst);
    }));

  test('changes after each response by the configured rates', () =>
    withSimulator({ events: 1000 }, async (simulator) => {
      simulator.set({ moves: { append: 3, insertLate: 0.5, deleteHead: 2, deleteMiddle: 1 } });
      const { totalCount } = await readPage(simulator, 'top=1');
      expect(totalCount).toBe(1000);
      for (let i = 1; i < 40; i++) await readPage(simulator, 'top=1');
      expect(simulator.removed).toHaveLength(40 * 3);
      const late = simulator.length - 1000;
      expect(late).toBeGreaterThan(5);
      expect(late).toBeLessThan(35);
    }));

  test('sends a wrong totalCount', () =>
    withSimulator({ events: 10, totalCount: (right) => right - 4 }, async (simulator) => {
      const page = await readPage(simulator);
      expect([page.totalCount, page.results!.length]).toEqual([6, 10]);
    }));

  test('has null results, or no rows, for the next requests only', () =>
    withSimulator({ events: 10, faults: [{ fault: 'null-results', next: 1 }] }, async (simulator) => {
      expect(await readPage(simulator)).toEqual({ totalCount: 10, results: null });
      simulator.set({ faults: [{ fault: 'empty', next: 1 }] });
      expect(await readPage(simulator)).toEqual({ totalCount: 10, results: [] });
      expect((await readPage(simulator)).results).toHaveLength(10);
    }));

  test('starts with a byte order mark', () =>
    withSimulator({ events: 1, bom: true }, async (simulator) => {
      const { bytes, error } = await readRaw(simulator);
      expect([error, bytes.toString('latin1', 0, 4)]).toEqual([undefined, '\xef\xbb\xbf{']);
    }));

  test('responds after the configured latency', () =>
    withSimulator({ events: 1 }, async (simulator) => {
      const token = await fetchToken(simulator);
      simulator.set({ latencyMs: [60, 70] });
      const startedAt = performance.now();
      await readPage(simulator, '', token);
      expect(performance.now() - startedAt).toBeGreaterThan(55);
    }));
});

describe('a fault', () => {
  test('applies to each n-th request, after the first ones, at random, or to the token endpoint', () =>
    withSimulator({ events: 1, seed: 5 }, async (simulator) => {
      const token = await fetchToken(simulator);
      const statuses = async (rule: string, count = 8): Promise<number[]> => {
        simulator.set({ faults: [parseFaultRule(rule)] });
        const seen: number[] = [];
        for (let i = 0; i < count; i++) seen.push((await getList(simulator, '', { token })).status);
        return seen;
      };
      expect(await statuses('503:every=3')).toEqual([200, 200, 503, 200, 200, 503, 200, 200]);
      expect(await statuses('503:next=2')).toEqual([503, 503, 200, 200, 200, 200, 200, 200]);
      expect(await statuses('503:after=6')).toEqual([200, 200, 200, 200, 200, 200, 503, 503]);
      const failed = (await statuses('503:probability=0.5', 60)).filter((status) => status === 503).length;
      expect(failed).toBeGreaterThan(15);
      expect(failed).toBeLessThan(45);
      expect(await statuses('503:on=token', 2)).toEqual([200, 200]);
      expect((await postToken(simulator)).status).toBe(503);
    }));

  test('is applied by the first matching rule, and counted', () =>
    withSimulator({ events: 1, faults: [{ fault: 500, every: 2 }, { fault: 429 }] }, async (simulator) => {
      const seen = [(await getList(simulator, '')).status, (await getList(simulator, '')).status];
      expect(seen).toEqual([429, 500]);
      expect(simulator.counts.faults).toBe(2);
      expect(simulator.requests.filter((seen) => seen.kind === 'list').map((seen) => seen.fault)).toEqual([
        429, 500,
      ]);
    }));

  test.each([408, 425, 500, 501, 502, 503, 504, 524, 401, 403])('responds with HTTP %i', (status) =>
    withSimulator({ events: 1, faults: [{ fault: status }] }, async (simulator) => {
      expect((await getList(simulator, '')).status).toBe(status);
    }),
  );

  test('sends Retry-After in seconds or as a date', () =>
    withSimulator({ events: 1, faults: [{ fault: 429, retryAfter: 7 }] }, async (simulator) => {
      expect((await getList(simulator, '')).headers.get('retry-after')).toBe('7');
      simulator.set({ faults: [{ fault: 429, retryAfter: 100, asDate: true }] });
      const date = (await getList(simulator, '')).headers.get('retry-after')!;
      expect(date).toMatch(/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/);
      // Reads the clock: the header is an instant from now.
      expect((Date.parse(date) - Date.now()) / 1000).toBeGreaterThan(90);
    }));

  test('has each of the documented bodies', async () => {
    const bodies: Record<string, unknown> = {};
    for (const body of ERROR_SHAPES) {
      await withSimulator({ events: 1, faults: [{ fault: 500, body }] }, async (simulator) => {
        const { headers, text } = await getList(simulator, '');
        bodies[body] = headers.get('content-type')!.includes('json') ? JSON.parse(text) : text;
      });
    }
    const message = 'Simulated error 500';
    expect(bodies).toEqual({
      message: { message, errorCode: 1500, traceId: TRACE_ID },
      problem: expect.objectContaining({
        title: message,
        status: 500,
        errors: { request: [message] },
        traceId: TRACE_ID,
      }),
      errorMessage: { errorMessage: message },
      error: { error: { code: 'Simulated500', message } },
      oauth: { error: 'simulated_error', error_description: message },
      html: expect.stringContaining('Microsoft-Azure-Application-Gateway'),
    });
  });

  test('is the portal page with status 200', () =>
    withSimulator({ events: 1, faults: [{ fault: 'html' }] }, async (simulator) => {
      const reply = await getList(simulator, '');
      expect([reply.status, reply.headers.get('content-type')]).toEqual([200, 'text/html']);
    }));

  test('is a redirect to the configured location', () =>
    withSimulator(
      { events: 1, faults: [{ fault: 'redirect', location: 'http://localhost:1/' }] },
      async (simulator) => {
        const reply = await getList(simulator, '');
        expect([reply.status, reply.headers.get('location')]).toEqual([302, 'http://localhost:1/']);
      },
    ));

  test('revokes all tokens, so that a new one is needed', () =>
    withSimulator({ events: 1 }, async (simulator) => {
      const token = await fetchToken(simulator);
      simulator.set({ faults: [{ fault: 'revoke', next: 1 }] });
      expect((await getList(simulator, '', { token })).status).toBe(401);
      expect((await getList(simulator, '', { token })).status).toBe(401);
      expect((await getList(simulator, '')).status).toBe(200);
    }));
});

describe('a faulty response', () => {
  const complete = (simulator: Parameters<typeof readRaw>[0]) =>
    readRaw(simulator).then(({ bytes }) => bytes);

  test.each([
    ['half-length', 'ECONNRESET'],
    ['half-chunked', 'ECONNRESET'],
    ['half-clean', undefined],
  ] as const)('%s is the first half of the right body', (fault, error) =>
    withSimulator({ events: 100 }, async (simulator) => {
      const whole = await complete(simulator);
      simulator.set({ faults: [{ fault }] });
      const raw = await readRaw(simulator);
      expect(raw.bytes.equals(whole.subarray(0, Math.floor(whole.length / 2)))).toBe(true);
      expect(raw.error).toBe(error);
      expect(raw.headers['content-length']).toBe(
        {
          'half-length': String(whole.length),
          'half-chunked': undefined,
          'half-clean': String(raw.bytes.length),
        }[fault],
      );
    }),
  );

  test('is a connection that is reset', () =>
    withSimulator({ events: 1, faults: [{ fault: 'reset' }] }, async (simulator) => {
      expect(await readRaw(simulator)).toEqual({ bytes: Buffer.alloc(0), headers: {}, error: 'ECONNRESET' });
      expect(simulator.requests.at(-1)).toMatchObject({ fault: 'reset', status: 0 });
    }));

  test('is missing until the client disconnects', () =>
    withSimulator({ events: 1, faults: [{ fault: 'silence' }] }, async (simulator) => {
      const token = await fetchToken(simulator);
      const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
      const waiting = fetch(simulator.url + LIST_PATH, { headers, signal: AbortSignal.timeout(150) });
      await expect(waiting).rejects.toMatchObject({ name: 'TimeoutError' });
    }));

  test('is sent at the requested speed and completely', () =>
    withSimulator({ rows: [rowAt(TIE)] }, async (simulator) => {
      const whole = await complete(simulator);
      simulator.set({ faults: [{ fault: 'drip', bytesPerSecond: 400 }] });
      const startedAt = performance.now();
      expect((await complete(simulator)).equals(whole)).toBe(true);
      expect(performance.now() - startedAt).toBeGreaterThan((whole.length / 400) * 700);
    }));

  test('is not sent slowly, and keeps no timer, for a client that disconnected before the response', () =>
    withSimulator({ rows: [rowAt(TIE)] }, async (simulator) => {
      const token = await fetchToken(simulator);
      // Long enough for the server to see the end of the connection before it responds.
      simulator.set({ faults: [{ fault: 'drip' }], latencyMs: 1_000 });
      const startTimer = jest.spyOn(globalThis, 'setInterval');
      try {
        const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
        const leaving = new AbortController();
        const waiting = fetch(simulator.url + LIST_PATH, { headers, signal: leaving.signal });
        waiting.catch(() => {});
        while (simulator.counts.list === 0) await sleep(1);
        leaving.abort();
        await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
        while (simulator.counts.faults === 0) await sleep(10);
        await sleep(10);
        expect(startTimer).not.toHaveBeenCalled();
      } finally {
        startTimer.mockRestore();
      }
    }));

  test.each(['huge', 'bomb'] as const)('%s is the right one after the requested number of blanks', (fault) =>
    withSimulator({ events: 1 }, async (simulator) => {
      const whole = await complete(simulator);
      simulator.set({ faults: [{ fault, bytes: 3_000_000 }] });
      const { bytes } = await readRaw(simulator);
      const text = (fault === 'bomb' ? gunzipSync(bytes) : bytes).toString();
      expect(text).toBe(' '.repeat(3_000_000) + whole.toString());
      if (fault === 'bomb') expect(bytes.length).toBeLessThan(30_000);
    }),
  );
});

test.each(['5o3', '503:often=3', '503:every=x', 'reset:body=page', '199'])(
  'the fault rule %s is rejected',
  (text) => {
    expect(() => parseFaultRule(text)).toThrow(
      /is not a fault|not a setting|must be a number|is not an error body/,
    );
  },
);
