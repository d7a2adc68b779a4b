/** The real program behind a proxy, at a source with TLS that closes connections as servers and firewalls do. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { cert, key } from '../support/certificate.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { listen, openRawServer, openTunnelProxy, type TestProxy } from '../support/http-proxy.ts';
import { environmentFor, runProgram } from '../support/program.ts';

const EVENTS = 4_000;
const LOGIN = 'CORP\\me:50% of @:#/ü';

let directory: string;
let database: TestDatabase;
let simulator: Simulator;
let source: { port: number; close(): Promise<void> };
let proxy: TestProxy;
let environment: Record<string, string>;

/** The simulator with TLS. Each connection is closed at its second request: every other one by a reset, the rest by their end. */
async function openResettingSource(to: string) {
  const raw = new Map<number, Socket>();
  const used = new Set<number>();
  let closed = 0;
  const server = https.createServer({ key, cert }, (request, response) => {
    const port = request.socket.remotePort!;
    if (used.has(port)) {
      if (closed++ % 2 === 0) raw.get(port)?.resetAndDestroy();
      else request.socket.end();
      return;
    }
    used.add(port);
    const { method, headers } = request;
    const onward = http.request(
      `${to}${request.url}`,
      { method: method!, headers, agent: false },
      (found) => {
        const { connection: _, ...kept } = found.headers;
        response.writeHead(found.statusCode!, kept);
        found.pipe(response);
      },
    );
    request.pipe(onward);
  });
  server.on('connection', (socket: Socket) => {
    const port = socket.remotePort!;
    used.delete(port);
    raw.set(port, socket);
  });
  return await listen(server);
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'audit-proxy-'));
  const authority = join(directory, 'authority.pem');
  writeFileSync(authority, cert);
  database = await createMigratedDatabase();
  simulator = await createSimulator({ events: EVENTS });
  source = await openResettingSource(simulator.url);
  proxy = await openTunnelProxy(source.port, { login: LOGIN });
  environment = {
    ...environmentFor(simulator, database.url),
    UIPATH_BASE_URL: `https://localhost:${source.port}`,
    EXPORT_PAGE_SIZE: '50',
    RETRY_MAX_DELAY: '2m',
    NODE_EXTRA_CA_CERTS: authority,
  };
});

afterAll(async () => {
  await proxy.close();
  await source.close();
  await simulator.close();
  await database.drop();
  rmSync(directory, { recursive: true, force: true });
});

const through = (login: string) => `http://${login}@127.0.0.1:${proxy.port}`;
const encoded = LOGIN.split(':').map(encodeURIComponent).join('%3A').replace('%3A', ':');

test.each([
  ['directly', {}],
  ['through a proxy with a percent-encoded login', { HTTPS_PROXY: () => through(encoded) }],
])('connections that are reset after each response cost no retry %s', async (_, variables) => {
  await withClient((client) => client.query('truncate audit.runs, audit.watermarks, audit.events cascade'));
  const given = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, value()]));
  const { code, stderr } = await runProgram(['run'], { ...environment, ...given });
  expect([code, stderr.match(/retrying/g)]).toEqual([0, null]);
  const { rows } = await withClient((client) =>
    client.query('select outcome, requests > 50 as many, retries::int, rows_inserted::int from audit.runs'),
  );
  expect(rows).toEqual([{ outcome: 'succeeded', many: true, retries: 0, rows_inserted: EVENTS }]);
});

test('check names the proxy of each host, and no part of the login', async () => {
  const { code, stdout, stderr } = await runProgram(['check'], {
    ...environment,
    https_proxy: through(LOGIN),
    NO_PROXY: '10.0.0.0/8',
  });
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout.replace(/\s+/g, ' ')).toContain(
    ` localhost:${source.port} through the proxy 127.0.0.1:${proxy.port} (https_proxy) `,
  );
  expect(stdout).not.toMatch(/CORP|50%/);
});

test('check names NO_PROXY where it excludes the host', async () => {
  const { stdout } = await runProgram(['check'], {
    ...environment,
    HTTPS_PROXY: 'http://127.0.0.1:1',
    no_proxy: 'x, localhost',
  });
  expect(stdout).toContain(`localhost:${source.port} without a proxy, because of no_proxy`);
});

test.each([
  ['another password', () => through('CORP%5Cme:s3cret-word'), 2, /HTTP 407 .*Correct the user name/],
  [
    'no login',
    () => `http://127.0.0.1:${proxy.port}`,
    2,
    /HTTP 407 .*Set HTTPS_PROXY to http:\/\/user:password@/,
  ],
  ['a SOCKS proxy', () => 'socks5://me:s3cret-word@127.0.0.1:1080', 2, /HTTPS_PROXY names a SOCKS proxy/],
  [
    'no proxy there',
    () => 'http://127.0.0.1:1',
    75,
    /the proxy 127\.0\.0\.1:1 \(HTTPS_PROXY\) cannot be reached/,
  ],
])('run with %s says so', async (_, value, exitCode, message) => {
  const given = { HTTPS_PROXY: value(), RETRY_MAX_DELAY: '10ms' };
  const { code, stdout, stderr } = await runProgram(['run'], { ...environment, ...given });
  expect([code, stdout]).toEqual([exitCode, '']);
  expect(stderr).toMatch(message);
  expect(stderr).not.toMatch(/s3cret|UIPATH_ORGANIZATION/);
});

test('check shows the refusal of the proxy as the failure of the token', async () => {
  const refusing = await openRawServer((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'));
  });
  const given = { HTTPS_PROXY: `http://127.0.0.1:${refusing.port}` };
  const { code, stdout } = await runProgram(['check'], { ...environment, ...given });
  await refusing.close();
  expect(code).toBe(2);
  expect(stdout.replace(/\s+/g, ' ')).toMatch(
    /✗ token No connection to localhost:\d+: the proxy 127\.0\.0\.1:\d+ \(HTTPS_PROXY\) refused to connect to localhost:\d+: HTTP 403 Forbidden\. Have/,
  );
});

async function withClient<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
