/** The real program as a process against a source that speaks TLS: which certificates it trusts, and what a proxy gets to see. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { cert, key } from '../support/certificate.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, errorIn, runProgram } from '../support/program.ts';

let database: TestDatabase;
let directory: string;
let simulator: Simulator;
let front: Server;
let proxy: Server;
/** Where each connection to the front came from, what the proxy was asked, and all bytes it passed on. */
let arrivals: number[];
let asked: string[];
let passed: string;
let environment: Record<string, string>;
const sockets = new Set<Socket>();

beforeAll(async () => {
  database = await createMigratedDatabase();
  directory = await mkdtemp(join(tmpdir(), 'audit-tls-'));
  await writeFile(join(directory, 'ca.pem'), cert);
  simulator = await createSimulator({ events: 20, clientSecret: 'a-secret-that-no-proxy-sees' });
  const { port } = new URL(simulator.url);
  front = createTlsServer({ key, cert }, (socket) => {
    arrivals.push(socket.remotePort!);
    joinSockets(socket, connect(Number(port), '127.0.0.1'));
  });
  proxy = createHttpServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    response.writeHead(500).end();
  }).on('connect', (request, socket: Socket) => {
    asked.push(`CONNECT ${request.url} ${JSON.stringify(request.headers)}`);
    const onward = connect(portOf(front), '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const end of [socket, onward])
      end.on('data', (bytes: Buffer) => (passed += bytes.toString('latin1')));
    joinSockets(socket, onward);
  });
  for (const server of [front, proxy])
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  environment = {
    ...environmentFor(simulator, database.url),
    UIPATH_BASE_URL: `https://127.0.0.1:${portOf(front)}`,
    LOG_LEVEL: 'trace',
  };
});

beforeEach(() => {
  [arrivals, asked, passed] = [[], [], ''];
  simulator.clearRequests();
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const server of [front, proxy]) await new Promise((resolve) => server.close(resolve));
  await simulator.close();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;

function joinSockets(one: Socket, other: Socket): void {
  for (const socket of [one, other]) sockets.add(socket.on('error', () => one.destroy() && other.destroy()));
  one.pipe(other).pipe(one);
}

const trusting = () => ({ ...environment, NODE_EXTRA_CA_CERTS: join(directory, 'ca.pem') });

test('a private authority is trusted by NODE_EXTRA_CA_CERTS', async () => {
  const { code, stderr } = await runProgram(['run'], trusting());
  expect([code, stderr]).toEqual([0, expect.stringMatching(/run \d+ succeeded/)]);
  expect(simulator.counts).toMatchObject({ token: 1, list: 3 });
});

test.each([
  ['without it', {}],
  [
    'even where NODE_TLS_REJECT_UNAUTHORIZED=0 was set for another program',
    { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
  ],
])('%s nothing is sent, and the error says what to set', async (_, given) => {
  const { code, stderr } = await runProgram(['run'], { ...environment, ...given });
  expect([code, errorIn(stderr)]).toEqual([
    2,
    expect.stringMatching(/^The certificate of 127.* NODE_EXTRA_CA_CERTS/),
  ]);
  expect(simulator.counts.token + simulator.counts.list).toBe(0);
});

test('a proxy without that certificate is refused, too, when NODE_TLS_REJECT_UNAUTHORIZED=0', async () => {
  const given = { HTTPS_PROXY: `http://127.0.0.1:${portOf(proxy)}`, NODE_TLS_REJECT_UNAUTHORIZED: '0' };
  const { code } = await runProgram(['run'], { ...environment, ...given });
  expect([code, asked.length > 0, simulator.counts.token]).toEqual([2, true, 0]);
});

test('a .env is too late to name an authority, and the error says so', async () => {
  const envFile = join(directory, 'late.env');
  await writeFile(envFile, `NODE_EXTRA_CA_CERTS=${join(directory, 'ca.pem')}\n`);
  const { code, stderr } = await runProgram(['run', '--env-file', envFile], environment);
  expect([code, stderr]).toEqual([2, expect.stringContaining('in the environment and not in .env')]);
});

test('HTTPS_PROXY is asked for a tunnel and sees neither secret nor token nor event', async () => {
  const given = { HTTPS_PROXY: `http://u:pr0xy-pass@127.0.0.1:${portOf(proxy)}` };
  const { code, stderr, stdout } = await runProgram(['run'], { ...trusting(), ...given });
  expect([code, stderr]).toEqual([0, expect.stringMatching(/run \d+ succeeded/)]);
  expect(asked.length).toBeGreaterThan(0);
  for (const request of asked) {
    expect(request).toMatch(new RegExp(`^CONNECT 127\\.0\\.0\\.1:${portOf(front)} `));
    expect(request).not.toContain('Bearer');
  }
  expect(arrivals).toHaveLength(asked.length);
  const token = simulator.requests
    .find(({ kind }) => kind === 'list')!
    .headers.authorization!.slice('Bearer '.length);
  for (const secret of [token, simulator.clientSecret, 'auditlogs', 'createdOn'])
    expect(passed).not.toContain(secret);
  expect(passed.length).toBeGreaterThan(1000);
  expect(stdout + stderr).not.toContain('pr0xy-pass');
});

test.each(['http', 'https'])('a redirect to another host by %s carries no token', async (protocol) => {
  simulator.set({
    faults: [{ fault: 'redirect', on: 'both', location: `${protocol}://127.0.0.1:${portOf(proxy)}/x` }],
  });
  try {
    const { code, stderr } = await runProgram(['run'], trusting());
    expect([code, stderr]).toEqual([2, expect.stringContaining('It was not followed')]);
    expect(asked).toEqual([]);
  } finally {
    simulator.set({ faults: [] });
  }
});
