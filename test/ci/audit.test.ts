import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const SCRIPT = fileURLToPath(new URL('../../.ci/audit', import.meta.url));

/** Runs the gate's audit against a registry that answers so. */
async function audit(
  answer: RequestListener,
  timeoutMs = 20_000,
): Promise<{ code: number | null; output: string }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const registry = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  // npm remembers what it judged before.
  const cache = await mkdtemp(join(tmpdir(), 'audit-npm-'));
  try {
    const child = spawn(SCRIPT, {
      env: {
        PATH: process.env.PATH,
        HOME: cache,
        npm_config_registry: registry,
        npm_config_cache: cache,
        AUDIT_TIMEOUT_MS: String(timeoutMs),
      },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        output += text;
      });
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, output };
  } finally {
    await rm(cache, { recursive: true, force: true });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** A registry that knows one finding, in axios, of this severity. */
const finding =
  (severity: string): RequestListener =>
  (request, response) => {
    const advisory = {
      id: 1,
      url: 'http://127.0.0.1/1',
      title: 'A test',
      severity,
      vulnerable_versions: '*',
      cwe: [],
      cvss: { score: 9 },
    };
    const packument = {
      name: 'axios',
      'dist-tags': { latest: '1.0.0' },
      versions: { '1.0.0': { name: 'axios', version: '1.0.0' } },
    };
    const isAdvisories = request.method === 'POST';
    response
      .writeHead(200, { 'Content-Type': 'application/json' })
      .end(JSON.stringify(isAdvisories ? { axios: [advisory] } : packument));
  };

test.concurrent('a known finding that is high fails the gate and is named', async () => {
  const { code, output } = await audit(finding('high'));
  expect([code, output]).toEqual([1, expect.stringMatching(/axios .*: high\n.*1 known high or critical/)]);
});

test.concurrent('a moderate one, or none, does not', async () => {
  expect(await audit(finding('moderate'))).toEqual({
    code: 0,
    output: expect.stringContaining('0 known high'),
  });
  const none = await audit(
    (_request, response) => void response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}'),
  );
  expect(none).toEqual({ code: 0, output: expect.stringContaining('0 known high') });
});

test.concurrent.each<[string, RequestListener]>([
  [
    'does not know the request',
    (_request, response) => void response.writeHead(404).end('{"error":"not found"}'),
  ],
  ['does not allow it', (_request, response) => void response.writeHead(405).end()],
  ['gives no advisories but a page', (_request, response) => void response.writeHead(200).end('<html>')],
  ['breaks the connection', (request) => void request.socket.destroy()],
  ['does not answer', () => {}],
])('a registry that %s is no finding, and a line says so', async (what, answer) => {
  const { code, output } = await audit(answer, what === 'does not answer' ? 500 : undefined);
  expect([code, output]).toEqual([
    0,
    expect.stringMatching(/^audit: not done, because the registry did not give/m),
  ]);
});
