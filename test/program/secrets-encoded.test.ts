/** The real program against servers that quote its request in every encoding: nothing it writes holds the secret, decoded or not. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import pg from 'pg';
import { createSecretSearch } from '../../src/text/redaction-search.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { chains, ENCODINGS, encode } from '../support/encodings.ts';
import { runProgram, startProgram } from '../support/program.ts';

const SECRET = 'aB3+cD4&eF5<gH6> iJ7"kL8\'mN9\\oP%Q/=\u00fc';
const TOKEN = 'q7Rt~9sUv-W2xYz.Lk3Jh4Gf5Ds6Ap+8/Zm==';
const STATUSES = [400, 401, 403, 500, 302];
const RUNS = Number(process.env.PROPERTY_RUNS ?? 12);

/** Drawn for each process: what the next answers quote, and how. */
let scene = { isToken: true, status: 400, shape: 0, chain: ['plain'] };
let server: Server;
let database: TestDatabase;
let client: pg.Client;
let environment: Record<string, string>;

/** The documented bodies, a page, and the secret divided over two fields. */
const SHAPES: ((text: string) => unknown)[] = [
  (text) => ({ message: text, errorCode: 1, traceId: text }),
  (text) => ({ title: 'Bad', errors: { [text]: [text] } }),
  (text) => ({ errorMessage: text }),
  (text) => ({ error: { code: text, message: text } }),
  (text) => ({ error: 'invalid_client', error_description: `client_secret: ${text}` }),
  (text) => `<!DOCTYPE html><title>${text}</title><pre>${text}</pre>`,
  (text) => ({ message: text.slice(0, text.length / 2), traceId: text.slice(text.length / 2) }),
];

beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume().on('end', () => {
      const isToken = request.url!.includes('/connect/token');
      if (isToken && !scene.isToken) {
        response.end(JSON.stringify({ access_token: TOKEN, expires_in: 3600 }));
        return;
      }
      const text = encode(isToken ? SECRET : TOKEN, scene.chain);
      const body = SHAPES[scene.shape]!(text);
      const location = `https://h/${encodeURIComponent(text)}?q=${encodeURIComponent(text)}`;
      response.writeHead(scene.status, {
        Location: location,
        'WWW-Authenticate': `Bearer error="${encodeURIComponent(text)}"`,
      });
      response.end(typeof body === 'string' ? body : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  database = await createTestDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  environment = {
    UIPATH_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    UIPATH_ORGANIZATION: 'acme',
    UIPATH_CLIENT_ID: '3f2b8c1e-9a47-4d0b-b1c6-5e7f0a9d2c84',
    UIPATH_CLIENT_SECRET: SECRET,
    DATABASE_URL: database.url,
    RETRY_LIMIT: '2',
    RETRY_MAX_DELAY: '1ms',
    STATUS_PORT: '0',
    LOG_LEVEL: 'trace',
  };
});

afterAll(async () => {
  await client.end();
  await database.drop();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const holdsSecret = createSecretSearch([SECRET, TOKEN]);

/** Whole lines, since a log is longer than what is searched of one body. */
function expectNone(where: string, text: string): void {
  const lines = [...new Set(text.split('\n'))].filter((line) => line.length < 20_000);
  const found = lines.filter((line) => holdsSecret([line.replaceAll('[redacted]', '')]));
  expect([where, scene, found]).toEqual([where, scene, []]);
}

async function storedTexts(): Promise<string> {
  const texts: string[] = [];
  for (const table of ['audit.runs', 'bi.runs', 'bi.export_health']) {
    const { rows } = await client.query<{ text: string }>(`select t::text as text from ${table} t`);
    texts.push(...rows.map(({ text }) => text));
  }
  return texts.join('\n');
}

test('by run and check, in any encoding, shape and status', async () => {
  const names = Object.keys(ENCODINGS).filter((name) => !['plain', 'reversed'].includes(name));
  const scenes = fc.record({
    isToken: fc.boolean(),
    status: fc.constantFrom(...STATUSES),
    shape: fc.nat(SHAPES.length - 1),
    chain: fc.oneof(
      fc.constantFrom(...names).map((name) => [name]),
      chains(2),
    ),
  });
  await runProgram(['migrate'], environment);
  await fc.assert(
    fc.asyncProperty(scenes, fc.constantFrom(['run'], ['check', '--json']), async (drawn, args) => {
      scene = drawn;
      const { code, stdout, stderr } = await runProgram(args, environment);
      expect([scene, code === 2 || code === 75]).toEqual([scene, true]);
      expectNone('standard output', stdout);
      expectNone('standard error', stderr);
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
  expectNone('the database', await storedTexts());
}, 300_000);

test('by start on its page, its probes and its metrics', async () => {
  scene = { isToken: true, status: 400, shape: 4, chain: ['.NET'] };
  const program = startProgram(['start'], { ...environment, EXPORT_SCHEDULE: '0 0 1 1 *' });
  try {
    await program.logged(/run( \d+)? failed/);
    await program.logged(/status page.* at http/);
    const address = /status page.* at (http:\/\/[\d.]+:\d+)/.exec(program.stderr())![1]!;
    // All fetched before the first is searched: that takes long, and the server closes an idle connection after ten seconds.
    const pages: [string, string][] = [];
    for (const path of ['/', '/readyz', '/metrics'])
      pages.push([path, await fetch(address + path).then((response) => response.text())]);
    for (const [path, text] of pages) expectNone(path, text);
  } finally {
    program.kill('SIGTERM');
    const { stdout, stderr } = await program.ended;
    expectNone('output of start', stdout + stderr);
  }
  expectNone('the database', await storedTexts());
}, 60_000);
