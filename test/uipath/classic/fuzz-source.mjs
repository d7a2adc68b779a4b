/**
 * Damaged responses through the real client: each must result in a page or an `ExportError`, in time. A separate process, which
 * an unhandled rejection ends. `node test/uipath/classic/fuzz-source.mjs [RESPONSES]`, after `npm run build`.
 */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { ExportError } from '../../../dist/core/errors.js';
import { createUipathSource } from '../../../dist/uipath/classic/source.js';

const TIMEOUT_MS = 250;
const ATTEMPTS = 2;
/** The timeouts of all attempts, plus the delay of a busy machine. */
const MAX_MS = ATTEMPTS * TIMEOUT_MS + 5_000;
const CODES = ['source-away', 'source-invalid', 'configuration'];

const row = (n) => ({
  createdOn: `2024-05-01T12:00:0${n}.1234567+00:00`,
  category: 'User',
  action: 'Login',
  auditLogDetails: '{\r\n "userName": "Ä €"\r\n}',
  userName: 'A',
  email: null,
  message: '😀',
  detailsVersion: '1.0',
  source: 'Cis',
});
const page = Buffer.from(JSON.stringify({ totalCount: 3, results: [row(0), row(1), row(2)] }));

const damage = fc.oneof(
  fc.record({ kind: fc.constant('truncate'), at: fc.nat() }),
  fc.record({ kind: fc.constant('flip'), at: fc.nat(), bit: fc.nat({ max: 7 }) }),
  fc.record({ kind: fc.constant('insert'), at: fc.nat(), bytes: fc.uint8Array({ maxLength: 20 }) }),
  fc.record({
    kind: fc.constant('repeat'),
    at: fc.nat(),
    length: fc.nat({ max: 200 }),
    times: fc.constantFrom(1, 2, 500),
  }),
  fc.record({ kind: fc.constant('remove'), at: fc.nat(), length: fc.nat({ max: 50 }) }),
);
const response = fc.record({
  isGzipped: fc.boolean(),
  framing: fc.constantFrom('length', 'chunked', 'close'),
  /** Whether status line and headers are damaged too, or only the body. */
  isWhole: fc.boolean(),
  /** Whether the connection stays open, so that only the timeout ends the request. Rare, because it costs the timeout. */
  isHeld: fc.nat({ max: 39 }).map((n) => n === 0),
  damages: fc.array(damage, { minLength: 1, maxLength: 4 }),
});

const counts = {};
let bytes = Buffer.alloc(0);
let isHeld = false;
const server = createServer((socket) => {
  socket.on('error', () => {});
  // Each request of the client arrives in one piece, on its own connection.
  socket.once('data', () => (isHeld ? socket.write(bytes) : socket.end(bytes)));
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const source = createUipathSource({
  auditUrl: `http://127.0.0.1:${server.address().port}/acme/audit_/api/auditlogs`,
  credentials: { kind: 'token', accessToken: 'a-fixed-token' },
  language: 'en',
  timeoutMs: TIMEOUT_MS,
  maxResponseBytes: 100_000,
  retryLimit: ATTEMPTS,
  retryMaxDelayMs: 0,
  environment: {},
  sleep: async () => {},
  log: { debug() {}, warn() {} },
});

try {
  const property = fc.asyncProperty(response, async (given) => {
    bytes = render(given);
    isHeld = given.isHeld;
    const begin = performance.now();
    const outcome = await source
      .fetchPage(
        { skip: 0, top: 1 },
        { signal: new AbortController().signal, meter: { requests: 0, retries: 0 } },
      )
      .then(describePage, describeError);
    const tookMs = performance.now() - begin;
    assert(tookMs < MAX_MS, `took ${tookMs} ms`);
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  });
  await fc.assert(property, { numRuns: Number(process.argv[2] ?? 300) });
  console.log(JSON.stringify(counts));
} finally {
  source.close();
  server.close();
}
// The client must have closed every connection that is still held open here.
setTimeout(() => assert.fail('a connection is still open'), 5_000).unref();

function describePage({ rows, totalCount }) {
  assert(Number.isSafeInteger(totalCount) && totalCount >= 0);
  for (const { event, rejected } of rows) assert((event === undefined) !== (rejected === undefined));
  return 'page';
}

function describeError(error) {
  if (!(error instanceof ExportError) || !CODES.includes(error.code)) throw error;
  // A terminal shows the message: it must not contain control characters.
  assert(!/[^\P{Cc}\n]/u.test(error.message), JSON.stringify(error.message));
  assert(!error.message.includes('a-fixed-token'));
  return error.code;
}

function render({ isGzipped, framing, isWhole, damages }) {
  const packed = isGzipped ? gzipSync(page) : page;
  const body = isWhole ? packed : damages.reduce(spoil, packed);
  const head = ['HTTP/1.1 200 OK', 'Content-Type: application/json', 'Connection: close'];
  if (isGzipped) head.push('Content-Encoding: gzip');
  if (framing === 'length') head.push(`Content-Length: ${body.length}`);
  if (framing === 'chunked') head.push('Transfer-Encoding: chunked');
  const framed =
    framing === 'chunked'
      ? Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')])
      : body;
  const whole = Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), framed]);
  return isWhole ? damages.reduce(spoil, whole) : whole;
}

function spoil(before, { kind, at, bit = 0, bytes: added = [], length = 0, times = 0 }) {
  if (before.length === 0) return before;
  const place = at % before.length;
  const [head, tail] = [before.subarray(0, place), before.subarray(place)];
  if (kind === 'truncate') return head;
  if (kind === 'insert') return Buffer.concat([head, Buffer.from(added), tail]);
  if (kind === 'remove') return Buffer.concat([head, tail.subarray(length)]);
  if (kind === 'repeat') return Buffer.concat([head, ...Array(times).fill(tail.subarray(0, length)), tail]);
  const flipped = Buffer.from(before);
  flipped[place] ^= 1 << bit;
  return flipped;
}
