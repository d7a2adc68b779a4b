import type { Socket } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { closeAll, emptyPage, openBench, openServer, type Respond, sendJson } from '../support.ts';

afterEach(closeAll);

/** Treats the first request of each connection normally, and later ones as `later` says. */
function closingAfterFirst(later: (socket: Socket) => void) {
  const used = new Set<Socket>();
  const counts = { connections: 0, closed: 0 };
  const wrap = (respond: Respond): Respond => {
    return (request, response, body) => {
      if (used.has(request.socket)) {
        counts.closed++;
        return later(request.socket);
      }
      used.add(request.socket);
      counts.connections++;
      respond(request, response, body);
    };
  };
  return { counts, wrap };
}

/** Valid for less than a request takes, so that each page needs a new one. */
const shortToken: Respond = (_request, response) =>
  sendJson(response, 200, { access_token: 'a-good-token', expires_in: 0 });

const CLOSING: [string, (socket: Socket) => void][] = [
  ['a reset', (socket) => socket.resetAndDestroy()],
  ['an end', (socket) => socket.end()],
  ['a late reset', (socket) => setTimeout(() => socket.resetAndDestroy(), 20)],
];

test.each(CLOSING)('%s of a reused connection is repeated at once and not counted', async (_, later) => {
  const { counts, wrap } = closingAfterFirst(later);
  const { fetchPage, waits, lines, meter } = openBench(await openServer(wrap(emptyPage), wrap(shortToken)));
  for (let page = 0; page < 10; page++) await fetchPage();
  expect(waits).toEqual([]);
  expect(meter).toEqual({ requests: 10, retries: 0, retriesBy: {} });
  expect(lines.filter(({ level }) => level === 'warn')).toEqual([]);
  // Each page and each token but the first ones found its connection closed.
  expect(counts).toEqual({ connections: 20, closed: 18 });
});

test('requests in parallel whose connections were all closed are not counted', async () => {
  let isClosing = false;
  const server = await openServer((request, response, body) => {
    if (isClosing && idle.has(request.socket)) {
      request.socket.resetAndDestroy();
      return;
    }
    idle.add(request.socket);
    setTimeout(() => emptyPage(request, response, body), 20);
  });
  const idle = new Set<Socket>();
  const { fetchPage, waits, meter } = openBench(server);
  const all = () => Promise.all(Array.from({ length: 10 }, () => fetchPage()));
  await all();
  expect(idle.size).toBe(10);
  isClosing = true;
  await all();
  expect([waits, meter.retries]).toEqual([[], 0]);
});

test.each<[string, (socket: Socket) => void]>([
  ['a status line', (socket) => socket.write('HTTP/1.1 200 OK\r\n', () => socket.resetAndDestroy())],
  ['one byte', (socket) => socket.write('H', () => socket.end())],
  [
    'half a body',
    (socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"to', () => socket.end()),
  ],
])('a reused connection that ends after %s is counted', async (_, later) => {
  const { counts, wrap } = closingAfterFirst(later);
  const { fetchPage, waits, meter } = openBench(await openServer(wrap(emptyPage)));
  await fetchPage();
  await fetchPage();
  expect(waits).toHaveLength(1);
  expect(meter.retries).toBe(1);
  expect(counts).toEqual({ connections: 2, closed: 1 });
});

test('a reset of a fresh connection is counted, and the attempts are limited', async () => {
  let requests = 0;
  const server = await openServer((request) => {
    requests++;
    request.socket.resetAndDestroy();
  });
  const { fetchPage, waits, meter } = openBench(server);
  await expect(fetchPage()).rejects.toMatchObject({ code: 'source-away' });
  expect([requests, waits.length, meter.retries]).toEqual([4, 3, 3]);
});

test('a server that closes every connection after its first page and then refuses all is given up', async () => {
  let pages = 0;
  const server = await openServer((request, response, body) => {
    if (pages++ === 0) emptyPage(request, response, body);
    else request.socket.resetAndDestroy();
  });
  const { fetchPage, waits } = openBench(server);
  await fetchPage();
  await expect(fetchPage()).rejects.toMatchObject({ code: 'source-away' });
  // One on the reused connection, which is not counted, and four on fresh ones.
  expect([pages, waits.length]).toEqual([6, 3]);
});

test('a stop signal ends the repetition', async () => {
  const bench = openBench(
    await openServer(
      closingAfterFirst((socket) => {
        bench.abort.abort();
        socket.resetAndDestroy();
      }).wrap(emptyPage),
    ),
  );
  await bench.fetchPage();
  await expect(bench.fetchPage()).rejects.toMatchObject({ code: 'interrupted' });
});
