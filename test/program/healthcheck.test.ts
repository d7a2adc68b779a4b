/** The container's healthcheck as a process of its own, beside a server that responds as `start` does. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { machineEnvironment } from '../support/program.ts';
import { ROOT } from '../support/root.ts';

let directory: string;
let server: Server | undefined;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'audit-healthcheck-'));
});
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(async () => {
  rmSync(join(directory, '.env'), { force: true });
  await new Promise<void>((resolve) => (server ? server.close(() => resolve()) : resolve()));
  server = undefined;
});

/** Serves `/readyz` with `status`, and returns the port. */
async function serve(host: string, status = 200, body = ''): Promise<string> {
  server = createServer((request, response) => {
    response.writeHead(request.url === '/readyz' ? status : 404, { Connection: 'close' }).end(body);
  });
  await new Promise<void>((resolve) => server!.listen(0, host, resolve));
  return String((server.address() as AddressInfo).port);
}

function healthcheck(environment: Record<string, string>): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'dist', 'healthcheck.js')], {
    cwd: directory,
    env: { ...machineEnvironment(), ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stderr })));
}

const HEALTHY = { code: 0, stderr: '' };

test.each([
  ['127.0.0.1', '127.0.0.1'],
  ['127.0.0.1', '0.0.0.0'],
  ['::1', '::1'],
  ['::', '::'],
  ['127.0.0.1', '"127.0.0.1"'],
  ['127.0.0.1', ''],
  ['::1', " '::1' "],
])('a worker on %s is healthy with STATUS_HOST=%s', async (host, value) => {
  const port = await serve(host);
  for (const written of [port, `"${port}"`, ` '${port}' `])
    expect(await healthcheck({ STATUS_HOST: value, STATUS_PORT: written })).toEqual(HEALTHY);
});

test('.env is read, the environment overrides it, and a service link of Kubernetes does not', async () => {
  const port = await serve('127.0.0.1');
  writeFileSync(join(directory, '.env'), `STATUS_PORT="${port}" # of the status page\nSTATUS_HOST=0.0.0.0\n`);
  expect(await healthcheck({})).toEqual(HEALTHY);
  expect(await healthcheck({ STATUS_PORT: 'tcp://10.0.0.1:8080' })).toEqual(HEALTHY);
  expect(await healthcheck({ STATUS_PORT: '1' })).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^No response from http:\/\/127\.0\.0\.1:1\/readyz: .+\n$/),
  });
});

test('without a server there is nothing to check', async () => {
  for (const off of ['off', '"off"']) expect(await healthcheck({ STATUS_PORT: off })).toEqual(HEALTHY);
});

test.each([
  ['0', /^STATUS_PORT=0 takes any free port/],
  ['http', /STATUS_PORT: expected a whole number/],
])('STATUS_PORT=%s is unhealthy, and says why', async (port, reason) => {
  expect(await healthcheck({ STATUS_PORT: port })).toEqual({
    code: 1,
    stderr: expect.stringMatching(reason),
  });
});

test('a worker that responds with an error is unhealthy', async () => {
  const port = await serve('127.0.0.1', 503);
  expect(await healthcheck({ STATUS_PORT: port })).toEqual({
    code: 1,
    stderr: `http://127.0.0.1:${port}/readyz responded with HTTP 503\n`,
  });
});

test('a worker that is not ready is unhealthy, and says why', async () => {
  const body = '{"ready":false,"reasons":["last run: HTTP 503","database: refused"]}';
  const port = await serve('127.0.0.1', 503, body);
  expect(await healthcheck({ STATUS_PORT: port })).toEqual({
    code: 1,
    stderr: `http://127.0.0.1:${port}/readyz responded with HTTP 503: last run: HTTP 503; database: refused\n`,
  });
});
