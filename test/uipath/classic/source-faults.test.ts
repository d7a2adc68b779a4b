import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, test } from '@jest/globals';
import { closeAll, emptyPage, openBench, openServer, openSimulator, sendJson } from '../support.ts';

afterEach(closeAll);

describe('a fault that passes', () => {
  test.each([
    [408, 'HTTP 408'],
    [425, 'HTTP 425'],
    [429, 'HTTP 429'],
    [500, 'HTTP 500'],
    [502, 'HTTP 502'],
    [503, 'HTTP 503'],
    [504, 'HTTP 504'],
    [524, 'HTTP 524'],
    ['reset', 'network fault'],
    ['half-length', 'unreadable body'],
    ['half-chunked', 'unreadable body'],
    ['half-clean', 'unreadable body'],
  ] as const)('%s costs retries and no rows', async (fault, reason) => {
    const simulator = await openSimulator({ events: 40, faults: [{ fault, next: 2 }] });
    const { fetchPage, lines, waits, meter } = openBench(simulator);
    expect((await fetchPage()).rows).toHaveLength(40);
    expect(waits).toEqual([500, 1000]);
    expect(meter).toEqual({ requests: 3, retries: 2, retriesBy: { [reason]: 2 } });
    const status = typeof fault === 'number' ? fault : undefined;
    const url = `${simulator.url}/acme/audit_/api/auditlogs?language=en&top=100&skip=0&sortBy=createdOn&sortOrder=asc`;
    expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
      { fields: { reason, status, attempt: 1, limit: 4, delayMs: 500, url } },
      { fields: { reason, status, attempt: 2, limit: 4, delayMs: 1000, url } },
    ]);
  });

  test.each(['half-length', 'half-chunked', 'half-clean'] as const)(
    '%s of a gzipped page is detected',
    async (fault) => {
      const simulator = await openSimulator({ events: 40, gzip: true, faults: [{ fault, next: 1 }] });
      const { fetchPage, meter } = openBench(simulator);
      expect((await fetchPage()).rows).toHaveLength(40);
      expect(meter.retries).toBe(1);
    },
  );

  test('a gzip stream cut short inside a complete response is detected', async () => {
    const body = gzipSync(JSON.stringify({ totalCount: 1, results: [], filler: Math.random() }));
    let isCut = true;
    const server = await openServer((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
      response.end(isCut ? body.subarray(0, body.length - 20) : body);
      isCut = false;
    });
    const { fetchPage, meter } = openBench(server);
    expect(await fetchPage()).toMatchObject({ totalCount: 1 });
    expect(meter.retries).toBe(1);
  });

  test('a body that is not gzip although the header says so is retried', async () => {
    let isWrong = true;
    const server = await openServer((request, response, body) => {
      if (!isWrong) return emptyPage(request, response, body);
      isWrong = false;
      response.writeHead(200, { 'Content-Encoding': 'gzip' }).end('{"totalCount":0,"results":[]}');
    });
    const { fetchPage, meter } = openBench(server);
    await fetchPage();
    expect(meter.retries).toBe(1);
  });

  test.each([
    [{ retryAfter: 40 }, 40_000, 40_000],
    [{ retryAfter: 600 }, 120_000, 120_000],
    // Less what has passed since it was said, by a clock of whole seconds.
    [{ retryAfter: 60, asDate: true }, 40_000, 60_000],
  ])('a Retry-After of %j is waited for', async (header, least, most) => {
    const simulator = await openSimulator({ faults: [{ fault: 429, next: 1, ...header }] });
    const { fetchPage, waits } = openBench(simulator);
    await fetchPage();
    expect(waits).toHaveLength(1);
    expect(waits[0]).toBeGreaterThanOrEqual(least);
    expect(waits[0]).toBeLessThanOrEqual(most);
  });

  test.each(['silence', 'drip'] as const)(
    '%s ends with the timeout, and a retry gets the page',
    async (fault) => {
      const simulator = await openSimulator({ faults: [{ fault, next: 1, bytesPerSecond: 20 }] });
      const { fetchPage, lines } = openBench(simulator, { timeoutMs: 300 });
      expect((await fetchPage()).rows).toHaveLength(5);
      expect(lines[0]).toMatchObject({
        fields: { reason: 'time-out', found: 'timeout after 0.3 s' },
      });
    },
  );
});

describe('a fault that stays', () => {
  test('ends after all attempts with the last failure', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 503, body: 'message' }] });
    const { fetchPage, waits, meter } = openBench(simulator);
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'source-away',
      message: expect.stringMatching(
        /^No usable response from http:.* after 4 attempts: HTTP 503 ".+" \(trace id .+\)\./,
      ),
    });
    expect(waits).toHaveLength(3);
    expect(meter).toEqual({ requests: 4, retries: 3, retriesBy: { 'HTTP 503': 3 } });
  });

  test('a port without a listener', async () => {
    const server = await openServer(emptyPage);
    await closeAll();
    const { fetchPage } = openBench(server, {
      credentials: { kind: 'token', accessToken: 'fixed' },
      retryLimit: 1,
    });
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'source-away',
      message: expect.stringMatching(/^No response from http:.* after 1 attempt: ECONNREFUSED/),
    });
  });

  test.each(['message', 'problem', 'errorMessage', 'error', 'oauth', 'html'] as const)(
    'the message of an error in the shape %s is shown',
    async (body) => {
      const simulator = await openSimulator({ faults: [{ fault: 500, body }] });
      const { fetchPage } = openBench(simulator, { retryLimit: 1 });
      await expect(fetchPage()).rejects.toThrow(/HTTP 500 "[^"{}<>]+"/);
    },
  );
});

describe('a signal', () => {
  const interrupted = expect.objectContaining({ code: 'interrupted' });

  test('ends a request in flight at once', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 'silence' }] });
    const { fetchPage, abort } = openBench(simulator);
    setTimeout(() => abort.abort(), 50);
    await expect(fetchPage()).rejects.toEqual(interrupted);
  });

  test('ends a request whose body is still coming', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 'drip', bytesPerSecond: 20 }] });
    const { fetchPage, abort } = openBench(simulator);
    setTimeout(() => abort.abort(), 150);
    await expect(fetchPage()).rejects.toEqual(interrupted);
  });

  test('ends the wait for a retry at once', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 503, retryAfter: 100 }] });
    const { fetchPage, abort, lines } = openBench(simulator, { sleep: undefined as never });
    const fetching = fetchPage();
    fetching.catch(() => {});
    while (lines.length === 0) await sleep(5);
    const begin = performance.now();
    abort.abort();
    await expect(fetching).rejects.toEqual(interrupted);
    expect(performance.now() - begin).toBeLessThan(10_000);
  });

  test('ends the wait for a token at once, and not the token request others wait for', async () => {
    let onRequest = (_respond: () => void) => {};
    const requested = new Promise<() => void>((resolve) => {
      onRequest = resolve;
    });
    const server = await openServer(emptyPage, (_request, response) =>
      onRequest(() => sendJson(response, 200, { access_token: 'a-good-token' })),
    );
    const { source, fetchPage, abort } = openBench(server);
    const meter = { requests: 0, retries: 0 };
    const other = source.fetchPage({ skip: 0, top: 1 }, { signal: new AbortController().signal, meter });
    const mine = fetchPage();
    const respond = await requested;
    abort.abort();
    await expect(mine).rejects.toEqual(interrupted);
    respond();
    expect(await other).toMatchObject({ totalCount: 0 });
  });

  test('that came before the request sends none', async () => {
    const server = await openServer(emptyPage);
    const { fetchPage, abort } = openBench(server, { credentials: { kind: 'token', accessToken: 'fixed' } });
    abort.abort();
    await expect(fetchPage()).rejects.toEqual(interrupted);
    expect(server.seen).toEqual([]);
  });

  test('keeps no listener of a request that is over', async () => {
    const simulator = await openSimulator({ faults: [{ fault: 503, next: 2 }] });
    const { fetchPage, abort } = openBench(simulator);
    await fetchPage();
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
  });
});

test('no secret is in any message, cause or log line, even when the source quotes it', async () => {
  const secrets = ['a-good-token', 'the-secret'];
  const quote = `token ${secrets[0]} and ${secrets[1]}`;
  const statuses = [503, 404, 401, 403, 302, 200];
  const shown: string[] = [];
  for (const status of statuses) {
    const server = await openServer((_request, response) => {
      // One secret stands where the message is cut, and once it is spelt with an escape.
      response.writeHead(status, { 'Content-Type': 'text/plain', Location: `http://x/${secrets[0]}` });
      response.end(
        JSON.stringify({ message: `${'x'.repeat(285)}${quote}`, traceId: 'TRACE' }).replace(
          'TRACE',
          '\\u0061-good-token',
        ),
      );
    });
    const bench = openBench(server);
    const error = await bench.fetchPage().catch((caught: Error) => caught as Error);
    shown.push(inspectDeep(error), inspectDeep(bench.lines));
  }
  const server = await openServer((request) => request.socket.resetAndDestroy());
  const bench = openBench(server);
  const error = await bench.fetchPage().catch((caught: Error) => caught as Error);
  shown.push(inspectDeep(error), inspectDeep(bench.lines));
  expect(shown).toHaveLength(2 * statuses.length + 2);
  for (const text of shown) {
    for (const secret of secrets) expect(text).not.toContain(secret.slice(0, 7));
  }
});

function inspectDeep(value: unknown): string {
  return inspect(value, { depth: 20, showHidden: true, maxStringLength: null });
}

test('closing closes the connections that were kept', async () => {
  const closed: Promise<unknown>[] = [];
  const server = await openServer((request, response, body) => {
    closed.push(new Promise((resolve) => request.socket.once('close', resolve)));
    emptyPage(request, response, body);
  });
  const { fetchPage, source } = openBench(server);
  await fetchPage();
  source.close();
  await Promise.all(closed);
  expect(closed).toHaveLength(1);
});
