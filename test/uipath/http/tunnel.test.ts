import https from 'node:https';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import { afterEach, expect, test } from '@jest/globals';
import { cert, key } from '../../support/certificate.ts';
import { listen, openRawServer, openTunnelProxy } from '../../support/http-proxy.ts';
import { closeAll, openBench } from '../support.ts';

const open: { close(): Promise<void> }[] = [];

function opened<T extends { close(): Promise<void> }>(server: T): T {
  open.push(server);
  return server;
}

afterEach(async () => {
  await closeAll();
  for (const server of open.splice(0)) await server.close();
});

const token = { kind: 'token' as const, accessToken: 'a-fixed-token' };
const source = { url: 'https://source.example' };

test('https goes through the proxy, which sees a tunnel and no token', async () => {
  const origin = opened(await listen(https.createServer({ key, cert })));
  const proxy = opened(await openTunnelProxy(origin.port));
  const environment = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` };
  const { fetchPage } = openBench(source, { credentials: token, environment });
  // The tunnel works: only the certificate behind it is rejected.
  await expect(fetchPage()).rejects.toThrow(
    /certificate of source\.example is not trusted .*through the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\).*such as that of the proxy/,
  );
  expect(proxy.tunnels).toEqual(['source.example:443']);
  expect(proxy.passed()).not.toContain('a-fixed-token');
});

/** Responds to everything with `head`, and closes. */
const respond = (head: string) => (socket: Socket) => {
  socket.once('data', () => socket.end(`HTTP/1.1 ${head}\r\nContent-Length: 4\r\n\r\nbody`));
};

const REFUSED = 'refused to connect to source\\.example:443: HTTP';
const ALLOWS = 'Check that HTTPS_PROXY names an HTTP proxy that allows CONNECT to source\\.example:443\\.';

/** What the proxy does, and the rest of the message after its name. */
const FINAL: [string, (socket: Socket) => void, string][] = [
  [
    '407',
    respond('407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="a, b"'),
    `${REFUSED} 407 Proxy Authentication Required \\(it accepts Basic\\)\\. Set HTTPS_PROXY to http://user:password@.*percent-encoded`,
  ],
  ['407 without a scheme', respond('407 No'), `${REFUSED} 407 No\\. Set HTTPS_PROXY to`],
  [
    '407 with other schemes',
    respond('407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM abc'),
    `${REFUSED} 407 No \\(it accepts Negotiate, NTLM\\)\\. This program sends only Basic credentials: run a local proxy`,
  ],
  [
    '403',
    respond('403 Forbidden'),
    `${REFUSED} 403 Forbidden\\. Have source\\.example:443 added to the proxy's allow list, or set NO_PROXY=source\\.example`,
  ],
  [
    '302',
    respond('302 Found\r\nLocation: http://login.corp.example/x?y'),
    `${REFUSED} 302 Found, a redirect to login\\.corp\\.example\\. ${ALLOWS}`,
  ],
  ['302 without target', respond('302 Found'), `${REFUSED} 302 Found\\. ${ALLOWS}`],
  ['400', respond('400 Bad Request'), `${REFUSED} 400 Bad Request\\. ${ALLOWS}`],
  ['401', respond('401 Unauthorized'), `${REFUSED} 401 Unauthorized\\. ${ALLOWS}`],
  ['404', respond('404 Not Found'), `${REFUSED} 404 Not Found\\. ${ALLOWS}`],
  ['405', respond('405 Method Not Allowed'), `${REFUSED} 405 Method Not Allowed\\. ${ALLOWS}`],
  ['204', respond('204 No Content'), `${REFUSED} 204 No Content\\. ${ALLOWS}`],
  [
    'garbage',
    (socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
    'did not respond as an HTTP proxy \\(.*HPE_.*\\)\\. Check HTTPS_PROXY; if it expects TLS, HTTPS_PROXY must begin with https://',
  ],
  [
    'a TLS alert',
    (socket) => socket.once('data', () => socket.end(Buffer.from('15030100020246', 'hex'))),
    'did not respond as an HTTP proxy .*must begin with https://',
  ],
  [
    'endless headers',
    (socket) => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const more = () => {
        while (socket.write(`X-Filler: ${'x'.repeat(8_000)}\r\n`));
      };
      socket.on('drain', more);
      socket.once('data', more);
    },
    'did not respond as an HTTP proxy .*HPE_HEADER_OVERFLOW',
  ],
];

test.each(FINAL)('a proxy that responds with %s is an error of configuration', async (_, work, message) => {
  const { port } = opened(await openRawServer(work));
  const environment = { HTTPS_PROXY: `http://127.0.0.1:${port}` };
  for (const credentials of [token, undefined]) {
    const { fetchPage, waits } = openBench(source, { ...(credentials && { credentials }), environment });
    await expect(fetchPage()).rejects.toMatchObject({
      code: 'configuration',
      message: expect.stringMatching(
        new RegExp(
          `^No connection to source\\.example: the proxy 127\\.0\\.0\\.1:${port} \\(HTTPS_PROXY\\) ${message}`,
        ),
      ),
    });
    expect(waits).toEqual([]);
  }
});

const RETRIED: [string, (socket: Socket) => void, string][] = [
  ['502', respond('502 Bad Gateway'), `${REFUSED} 502 Bad Gateway`],
  ['503', respond('503 Service Unavailable'), `${REFUSED} 503 Service Unavailable`],
  ['504', respond('504 Gateway Timeout'), `${REFUSED} 504 Gateway Timeout`],
  ['429', respond('429 Too Many Requests'), `${REFUSED} 429 Too Many Requests`],
  [
    'a reset',
    (socket) => socket.once('data', () => socket.resetAndDestroy()),
    'closed the connection without',
  ],
  [
    'its end',
    (socket) => socket.once('data', () => socket.end()),
    'closed the connection without .*; if it expects TLS',
  ],
  ['half a response', (socket) => socket.once('data', () => socket.end('HTTP/1.1 200 O')), '.*'],
  ['silence', () => {}, 'opened no connection within 0\\.2 s; if it expects TLS'],
  [
    'one byte',
    (socket) => socket.once('data', () => socket.write('H')),
    'opened no connection within 0\\.2 s',
  ],
];

test.each(RETRIED)('a proxy that responds with %s is retried', async (_, work, message) => {
  const { port } = opened(await openRawServer(work));
  const environment = { https_proxy: `127.0.0.1:${port}` };
  const { fetchPage, waits, lines, meter } = openBench(source, {
    credentials: token,
    environment,
    timeoutMs: message.includes('within') ? 200 : 20_000,
  });
  await expect(fetchPage()).rejects.toMatchObject({
    code: 'source-away',
    message: expect.stringMatching(
      new RegExp(
        `^No response from https://source\\.example/.* after 4 attempts: the proxy 127\\.0\\.0\\.1:${port} \\(https_proxy\\) ` +
          `${message.replaceAll('HTTPS_PROXY', 'https_proxy')}.* check the proxy and the variable that names it\\.$`,
      ),
    ),
  });
  expect(waits).toHaveLength(3);
  expect(lines[0]!.fields).toMatchObject({ reason: 'proxy failure' });
  expect(meter).toMatchObject({ retriesBy: { 'proxy failure': 3 } });
});

test('Retry-After of a proxy is respected', async () => {
  const { port } = opened(await openRawServer(respond('503 Busy\r\nRetry-After: 7')));
  const environment = { HTTPS_PROXY: `http://127.0.0.1:${port}` };
  const { fetchPage, waits } = openBench(source, { credentials: token, environment });
  await expect(fetchPage()).rejects.toThrow('503 Busy');
  expect(waits).toEqual([7000, 7000, 7000]);
});

test.each([
  ['http://127.0.0.1:1', /the proxy 127\.0\.0\.1:1 \(HTTPS_PROXY\) cannot be reached \(.*ECONNREFUSED/],
  [
    'http://proxy.invalid:3128',
    /the proxy proxy\.invalid:3128 \(HTTPS_PROXY\) cannot be (found by its name|reached) \(/,
  ],
])('a proxy at %s, where none is, is retried', async (proxy, message) => {
  const environment = { HTTPS_PROXY: proxy };
  const { fetchPage, waits } = openBench(source, { credentials: token, environment });
  await expect(fetchPage()).rejects.toMatchObject({
    code: 'source-away',
    message: expect.stringMatching(message),
  });
  expect(waits).toHaveLength(3);
});

test('a proxy with TLS under http://, and one without TLS under https://, are errors of configuration or retried, with the remedy', async () => {
  const secure = opened(await listen(tls.createServer({ key, cert })));
  const plain = opened(await openTunnelProxy(1));
  const fetchThrough = (proxy: string) =>
    openBench(source, { credentials: token, environment: { HTTPS_PROXY: proxy } }).fetchPage();
  await expect(fetchThrough(`http://127.0.0.1:${secure.port}`)).rejects.toThrow(/must begin with https:\/\//);
  await expect(fetchThrough(`https://localhost:${plain.port}`)).rejects.toMatchObject({
    code: 'configuration',
    message: expect.stringMatching(/did not respond as an HTTP proxy .*must begin with http:\/\//),
  });
});

test('the certificate of a proxy with TLS is verified', async () => {
  const { port, tunnels } = opened(await openTunnelProxy(1, { isTls: true }));
  const environment = { HTTPS_PROXY: `https://localhost:${port}`, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
  const { fetchPage } = openBench(source, { credentials: token, environment });
  await expect(fetchPage()).rejects.toMatchObject({
    code: 'configuration',
    message: expect.stringMatching(
      /certificate of the proxy localhost:\d+ .* is not trusted .*NODE_EXTRA_CA_CERTS/,
    ),
  });
  expect(tunnels).toEqual([]);
});

test('a wrong password is reported without it, also when the proxy quotes it', async () => {
  const basic = Buffer.from('me:s3cret-word').toString('base64');
  const quoting = opened(await openRawServer(respond(`407 Not ${basic} and s3cret-word`)));
  const asking = opened(await openTunnelProxy(1, { login: 'me:other' }));
  for (const [{ port }, message] of [
    [asking, /HTTP 407 .*Correct the user name and the password in HTTPS_PROXY/],
    [quoting, /^No connection to source\.example: the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\): .*credential/],
  ] as const) {
    const environment = { HTTPS_PROXY: `http://me:s3cret-word@127.0.0.1:${port}` };
    const { fetchPage } = openBench(source, { credentials: token, environment });
    const { message: found } = await fetchPage().then(
      () => new Error('no failure'),
      (error: Error) => error,
    );
    expect(found).toMatch(message);
    expect(found).not.toMatch(/s3cret|czNjcmV0/);
    expect(found).not.toContain(basic);
  }
});

test('closing the source ends a tunnel that is being opened', async () => {
  let close = () => {};
  const isClosed = new Promise<void>((resolve) => {
    close = resolve;
  });
  const reached = new Promise<number>((resolve) => {
    openRawServer((socket) => {
      socket.on('close', () => close());
      socket.once('data', () => resolve(0));
    }).then((server) => {
      opened(server);
      const environment = { HTTPS_PROXY: `http://127.0.0.1:${server.port}` };
      const bench = openBench(source, { credentials: token, environment, timeoutMs: 60_000 });
      bench.fetchPage().catch(() => {});
      reached.then(() => {
        bench.abort.abort();
        bench.source.close();
      });
    });
  });
  await isClosed;
  expect(await reached).toBe(0);
});
