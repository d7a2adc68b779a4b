/**
 * Shapes of hostile input through the real program as a process, against a real PostgreSQL, each with its outcome.
 * `HOSTILE_TABLE=1 npm test -- test/hostile-process` writes them into docs/hostile-input.md, which this test compares with.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { errorIn, runProgram } from '../support/program.ts';
import { fieldsOf, KEPT_ASIDE, STORED_EVENTS, storedFieldsOf } from '../support/truth.ts';

const DOCUMENT = new URL('../../docs/hostile-input.md', import.meta.url);
const ESCAPES = '\u001b]0;owned\u0007\u001b[2J\u009b31m\r\u0008red';
const SQL = `'); drop table audit.events; --"\\`;

/** Eight rows; the fourth is the hostile one, where it is a row that is hostile. */
const ROWS = 8;
const HOSTILE = 3;
/** Rows of the page before a hostile one. Its last might have a twin on the next; it is stored when that page fails. */
const BEFORE = 5;

interface Outcome {
  code: number;
  /** Rows stored as events, and kept verbatim. */
  stored: number;
  rejected: number;
  says: string;
}

/** Sends an answer in place of `page`, the right one. */
type Respond = (response: ServerResponse, page: string) => void;

interface Shape {
  name: string;
  expected: { code: number; stored: number; rejected: number };
  /** The exact text or bytes of the fourth row. */
  row?: string | Buffer;
  /** Answers every request but the first, which gave a good page of five. */
  respond?: Respond;
  environment?: Record<string, string>;
}

const row = (n: number, fields: Record<string, unknown> = {}) =>
  JSON.stringify({
    createdOn: `2024-05-01T12:00:0${n}.1234567+00:00`,
    category: 'User',
    action: 'Login',
    auditLogDetails: `{\r\n "number": ${n}\r\n}`,
    userName: 'Ana Wagner',
    email: null,
    message: 'User logged in',
    detailsVersion: '1.0',
    source: 'Cis',
    ...fields,
  });
const ALL = [
  'category',
  'action',
  'auditLogDetails',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'source',
];
const inAll = (value: unknown) => row(HOSTILE, Object.fromEntries(ALL.map((name) => [name, value])));
const withText = (member: string) => `{${member},${row(HOSTILE).slice(1)}`;
const at = (createdOn: unknown) => row(HOSTILE, { createdOn });

const stored = { code: 0, stored: ROWS, rejected: 0 };
const keptAside = { code: 0, stored: ROWS - 1, rejected: 1 };
const rowShapes: Shape[] = [
  { name: 'a row that is a number', row: '7', expected: keptAside },
  { name: 'a row that is a string', row: '"},{\\"createdOn\\":"', expected: keptAside },
  { name: 'a row that is null', row: 'null', expected: keptAside },
  { name: 'a row that is not there, between two commas', row: '', expected: keptAside },
  { name: 'a row with a wrong bracket', row: '{"createdOn":"2024-05-01T12:00:03Z"]', expected: keptAside },
  { name: 'createdOn missing', row: '{"category":"User"}', expected: keptAside },
  { name: 'createdOn a number', row: at(1714564803), expected: keptAside },
  { name: 'createdOn in the year 10000', row: at('10000-01-01T00:00:00Z'), expected: keptAside },
  { name: 'createdOn in local time, without offset', row: at('2024-05-01T12:00:03'), expected: keptAside },
  { name: 'createdOn on 30 February', row: at('2024-02-30T12:00:03Z'), expected: keptAside },
  { name: 'an object where a string belongs', row: row(HOSTILE, { email: { a: 1 } }), expected: keptAside },
  {
    name: 'a field nested 100,000 levels',
    row: withText(`"x":${'['.repeat(1e5)}${']'.repeat(1e5)}`),
    expected: keptAside,
  },
  {
    name: 'a field of 1,000,001 empty objects',
    row: withText(`"x":[{}${',{}'.repeat(1e6)}]`),
    expected: keptAside,
  },
  {
    name: 'bytes that are not UTF-8',
    row: Buffer.from(row(HOSTILE, { email: '\u00ff' }), 'latin1'),
    expected: keptAside,
  },
  {
    name: 'a raw control character in a string',
    row: row(HOSTILE).replace('Ana', 'A\u0000na'),
    expected: keptAside,
  },
  {
    name: 'details nested 100,000 levels',
    row: row(HOSTILE, { auditLogDetails: '['.repeat(1e5) }),
    expected: stored,
  },
  {
    name: 'details of 5 MB',
    row: row(HOSTILE, { auditLogDetails: `{"a":"${'ä'.repeat(2_500_000)}"}` }),
    expected: stored,
  },
  { name: 'details that are no JSON', row: row(HOSTILE, { auditLogDetails: '{"a":' }), expected: stored },
  {
    name: 'details with the number 1e400000',
    row: row(HOSTILE, { auditLogDetails: '{"a":1e400000}' }),
    expected: stored,
  },
  { name: 'NUL in every field', row: inAll('a\u0000b'), expected: stored },
  { name: 'a lone surrogate in every field', row: inAll('a\ud800b'), expected: stored },
  { name: 'SQL in every field', row: inAll(SQL), expected: stored },
  { name: 'terminal escapes in every field', row: inAll(ESCAPES), expected: stored },
  { name: 'a key twice', row: withText('"action":"Logout"'), expected: stored },
  { name: 'a __proto__ key', row: withText('"__proto__":{"polluted":true}'), expected: stored },
  {
    name: '5,000 unknown fields',
    row: row(HOSTILE, Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`f${i}`, i]))),
    expected: stored,
  },
  { name: 'a number of 200,000 digits', row: withText(`"x":${'9'.repeat(200_000)}`), expected: stored },
];

const json =
  (body: string | Buffer): Respond =>
  (response) =>
    void response.writeHead(200, { 'Content-Type': 'application/json' }).end(body);
const typed =
  (type: string): Respond =>
  (response, page) =>
    void response.writeHead(200, { 'Content-Type': type }).end(page);
/** What Node would not let a server say. */
const raw =
  (bytes: (page: string) => string | Buffer): Respond =>
  (response, page) =>
    void response.socket!.end(bytes(page));
const ok = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n';
const asPage =
  (change: (page: { totalCount: unknown; results: unknown }) => unknown): Respond =>
  (response, page) =>
    json(JSON.stringify(change(JSON.parse(page))))(response, page);

/** `chunk` again and again, `times` or for as long as anybody reads. */
function stream(chunk: string | Buffer, times = Number.POSITIVE_INFINITY, headers = {}): Respond {
  return (response) => {
    response.writeHead(200, { 'Content-Type': 'application/json', ...headers });
    let left = times;
    const write = (): void => {
      while (left-- > 0 && !response.destroyed) {
        if (!response.write(chunk)) return void response.once('drain', write);
      }
      response.end();
    };
    write();
  };
}

const temporary = { code: 75, stored: BEFORE, rejected: 0 };
const invalid = { code: 1, stored: BEFORE, rejected: 0 };
const configuration = { code: 2, stored: BEFORE, rejected: 0 };
const whole = { code: 0, stored: ROWS, rejected: 0 };
const MEBIBYTE = Buffer.alloc(1_048_576, ' ');
const small = { HTTP_MAX_RESPONSE_MIB: '1' };
/** Only an answer that never ends may take so long, and none of a busy machine's. */
const hasty = { HTTP_TIMEOUT: '4s' };
const answerShapes: Shape[] = [
  { name: 'an HTML page with status 200', respond: typed('text/html'), expected: configuration },
  {
    name: 'HTML that says it is JSON',
    respond: json('<!DOCTYPE html><title>Portal</title>'),
    expected: configuration,
  },
  { name: 'an empty body', respond: json(''), expected: temporary },
  { name: '`null`', respond: json('null'), expected: invalid },
  { name: '`[]`', respond: json('[]'), expected: invalid },
  {
    name: 'results null although rows are left',
    respond: asPage((page) => ({ ...page, results: null })),
    expected: temporary,
  },
  {
    name: 'results an object',
    respond: asPage((page) => ({ ...page, results: { 0: {} } })),
    expected: invalid,
  },
  {
    name: 'results twice',
    respond: (response, page) => json(`{"results":[],${page.slice(1)}`)(response, page),
    expected: invalid,
  },
  {
    name: 'totalCount negative',
    respond: asPage((page) => ({ ...page, totalCount: -1 })),
    expected: invalid,
  },
  {
    name: 'totalCount a string',
    respond: asPage((page) => ({ ...page, totalCount: '8' })),
    expected: invalid,
  },
  {
    name: 'totalCount 1e308',
    respond: (response, page) => json(page.replace(/"totalCount":\d+/, '"totalCount":1e308'))(response, page),
    // It is never believed.
    expected: whole,
  },
  {
    name: 'two responses in one',
    respond: (response, page) => json(page + page)(response, page),
    expected: temporary,
  },
  {
    name: 'a response cut in the middle',
    respond: (response, page) => json(page.slice(0, -20))(response, page),
    expected: temporary,
  },
  {
    name: 'newest first',
    respond: asPage((page) => ({ ...page, results: [...(page.results as unknown[])].reverse() })),
    expected: invalid,
  },
  {
    name: 'a byte order mark',
    respond: (response, page) => json(`\ufeff${page}`)(response, page),
    expected: whole,
  },
  { name: 'Content-Type text/plain', respond: typed('text/plain'), expected: whole },
  {
    name: 'a body longer than Content-Length',
    respond: raw((page) => `${ok}Content-Length: ${page.length - 9}\r\n\r\n${page}`),
    expected: temporary,
  },
  {
    name: 'a body shorter than Content-Length',
    respond: raw((page) => `${ok}Content-Length: ${page.length + 9}\r\n\r\n${page}`),
    expected: temporary,
  },
  { name: 'an endless body', respond: stream(MEBIBYTE), environment: small, expected: configuration },
  {
    name: 'an endless body, a byte at a time',
    respond: (response) => {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      const timer = setInterval(() => response.write('{'), 20);
      response.once('close', () => clearInterval(timer));
    },
    environment: hasty,
    expected: temporary,
  },
  { name: 'no response at all', respond: () => {}, environment: hasty, expected: temporary },
  {
    name: '100 Continue without end',
    respond: (response) => {
      const timer = setInterval(() => response.socket?.write('HTTP/1.1 100 Continue\r\n\r\n'), 5);
      response.once('close', () => clearInterval(timer));
    },
    environment: hasty,
    expected: temporary,
  },
  { name: 'a body of 128 MiB', respond: stream(MEBIBYTE, 128), expected: configuration },
  {
    name: 'a gzip bomb of 128 MiB',
    respond: stream(Buffer.concat(Array(128).fill(gzipSync(MEBIBYTE))), 1, { 'Content-Encoding': 'gzip' }),
    expected: configuration,
  },
  {
    name: '60 MiB of commas for rows, with 512 MB of memory',
    respond: (response, page) => {
      const begin = Buffer.from('{"totalCount":9,"results":[');
      stream(Buffer.concat([begin, Buffer.alloc(60 * 1_048_576, ',')]), 1)(response, page);
    },
    environment: { NODE_OPTIONS: '--max-old-space-size=512' },
    expected: invalid,
  },
  {
    name: '60 MiB of opening brackets, with 512 MB of memory',
    respond: stream(Buffer.alloc(60 * 1_048_576, '['), 1),
    environment: { NODE_OPTIONS: '--max-old-space-size=512' },
    expected: temporary,
  },
  {
    name: 'said to be gzip, and is not',
    respond: (response, page) => void response.writeHead(200, { 'Content-Encoding': 'gzip' }).end(page),
    expected: temporary,
  },
  {
    name: 'a redirect to another host',
    respond: (response) => void response.writeHead(307, { Location: `${elsewhereUrl}/?next` }).end(),
    expected: configuration,
  },
  {
    name: 'a header of 1 MiB',
    respond: raw((page) => `${ok}X-Long: ${'a'.repeat(1_048_576)}\r\n\r\n${page}`),
    expected: temporary,
  },
  {
    name: '100,000 headers',
    respond: raw((page) => `${ok}${'X: y\r\n'.repeat(100_000)}\r\n${page}`),
    expected: temporary,
  },
  { name: 'what is no HTTP', respond: raw(() => `${ESCAPES}\r\n\r\n`), expected: temporary },
  {
    name: 'terminal escapes in an error',
    respond: (response) =>
      void response
        .writeHead(400, { 'Content-Type': 'application/json' })
        .end(JSON.stringify({ message: `Bad ${ESCAPES}`, traceId: ESCAPES })),
    expected: configuration,
  },
  {
    name: '`top` ignored: all that is left at once',
    respond: (response) => json(listing(skipOf(response), ROWS, texts()))(response, ''),
    expected: whole,
  },
  {
    name: '`skip` ignored: the first page for ever',
    respond: (response) => json(listing(0, 5, texts()))(response, ''),
    expected: temporary,
  },
];

let database: TestDatabase;
let pool: pg.Pool;
let source: Server;
let elsewhere: Server;
let elsewhereUrl: string;
let elsewhereRequests = 0;
const outcomes = new Map<Shape, Outcome>();
const shapes = [...rowShapes, ...answerShapes];

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  source = createServer(answer);
  elsewhere = createServer((_request, response) => {
    elsewhereRequests++;
    response.end();
  });
  for (const server of [source, elsewhere])
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  elsewhereUrl = urlOf(elsewhere);
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < shapes.length; i = next++) outcomes.set(shapes[i]!, await runShape(i));
  };
  await Promise.all([lane(), lane(), lane()]);
}, 300_000);

afterAll(async () => {
  for (const server of [source, elsewhere]) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await pool.end();
  await database.drop();
});

const skipOf = ({ req }: ServerResponse) => Number(new URL(req.url!, 'http://h').searchParams.get('skip'));
const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** The organization's name, the first part of the path, is the number of its shape. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url!, 'http://h');
  const shape = shapes[Number(pathname.split('/')[1])]!;
  const [skip, top] = [Number(searchParams.get('skip')), Number(searchParams.get('top'))];
  const sent = texts(shape.row);
  const page = listing(skip, top, sent);
  if (skip > 0 && shape.respond) shape.respond(response, page.toString());
  else response.writeHead(200, { 'Content-Type': 'application/json' }).end(page);
}

function texts(hostile?: string | Buffer): Buffer[] {
  return Array.from({ length: ROWS }, (_, n) =>
    Buffer.from(n === HOSTILE && hostile !== undefined ? hostile : row(n)),
  );
}

function listing(skip: number, top: number, rows: readonly Buffer[]): Buffer {
  const shown = rows.slice(skip, skip + top).flatMap((row, i) => (i === 0 ? [row] : [Buffer.from(','), row]));
  return Buffer.concat([
    Buffer.from(`{"totalCount":${rows.length},"results":[`),
    ...shown,
    Buffer.from(']}'),
  ]);
}

async function runShape(number: number): Promise<Outcome> {
  const shape = shapes[number]!;
  const organization = String(number);
  const { code, stdout, stderr } = await runProgram(['run'], {
    UIPATH_BASE_URL: urlOf(source),
    UIPATH_ORGANIZATION: organization,
    UIPATH_ACCESS_TOKEN: 'a-fixed-token',
    DATABASE_URL: database.url,
    EXPORT_PAGE_SIZE: shape.respond ? '5' : '100',
    EXPORT_CONCURRENCY: '1',
    EXPORT_STALL_TIMEOUT: '60s',
    RETRY_LIMIT: '2',
    RETRY_MAX_DELAY: '10ms',
    ...shape.environment,
  });
  expect([shape.name, stdout + stderr]).toEqual([
    shape.name,
    expect.not.stringMatching(/[^\P{Cc}\n]|a-fixed-token/u),
  ]);
  const events = (await pool.query(STORED_EVENTS, [organization])).rows;
  const kept = (await pool.query(KEPT_ASIDE, [organization])).rows.map(({ bytes }) => bytes as Buffer);
  expectNeighbours(
    shape,
    events.map((event) => storedFieldsOf({ ...event, created_on_raw: event.created_on_raw })),
  );
  if (shape.expected.rejected > 0) expectWordForWord(shape, kept);
  const reasons = await pool.query('select reason from audit.rejected_events where organization = $1', [
    organization,
  ]);
  const error = errorIn(stderr)?.split('\n')[0];
  const says = error ?? reasons.rows[0]?.reason ?? 'stored as it was sent';
  return {
    code: code as number,
    stored: events.length,
    rejected: kept.length,
    says: tidy(says, organization),
  };
}

/** Every row that is stored is one that was sent, to the last byte, and the good ones in front of the hostile one are there. */
function expectNeighbours(shape: Shape, found: readonly string[]): void {
  const sent = texts(shape.row).flatMap((text, n) => {
    const isRead = n !== HOSTILE || shape.expected.rejected === 0;
    return isRead ? [fieldsOf(JSON.parse(text.toString()))] : [];
  });
  const missing = (shape.row === undefined ? sent.slice(0, BEFORE) : sent).filter(
    (fields) => !found.includes(fields),
  );
  expect({ shape: shape.name, missing, surplus: found.filter((fields) => !sent.includes(fields)) }).toEqual({
    shape: shape.name,
    missing: [],
    surplus: [],
  });
}

function expectWordForWord(shape: Shape, kept: readonly Buffer[]): void {
  // Bytes that are no UTF-8 are kept one character a byte.
  const sent = Buffer.isBuffer(shape.row)
    ? Buffer.from(shape.row.toString('latin1'))
    : Buffer.from(shape.row!);
  expect([shape.name, kept.map((bytes) => bytes.equals(sent))]).toEqual([shape.name, [true]]);
}

/** Without what differs from run to run, and what the table has no place for. */
function tidy(text: string, organization: string): string {
  const plain = text
    .replaceAll(`${urlOf(source)}/${organization}/audit_/api/auditlogs`, '…')
    .replaceAll(elsewhereUrl.slice('http://'.length), 'elsewhere')
    .replaceAll(/\?language=\S*sortOrder=asc/g, '')
    .replaceAll('|', '\\|');
  return plain.length > 160 ? `${plain.slice(0, 159).trimEnd()}…` : plain;
}

function renderTable(): string {
  const lines = shapes.map((shape) => {
    const { code, stored, rejected, says } = outcomes.get(shape)!;
    return `| ${shape.name} | ${code} | ${stored} | ${rejected} | ${says} |`;
  });
  return [
    '| shape | exit code | stored | rejected | what it says |',
    '|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n');
}

describe('the real program, given', () => {
  test.each(shapes.map((shape) => [shape.name, shape] as const))('%s', (_name, shape) => {
    const { code, stored, rejected, says } = outcomes.get(shape)!;
    expect({ code, stored, rejected, says }).toEqual({
      ...shape.expected,
      says: expect.stringMatching(/\w{3}/),
    });
  });
});

test('no request followed a redirect', () => {
  expect(elsewhereRequests).toBe(0);
});

test('the table in docs/hostile-input.md is what came out', () => {
  const text = readFileSync(DOCUMENT, 'utf8');
  const from = text.indexOf('| shape |');
  const head = text.slice(0, from);
  if (process.env.HOSTILE_TABLE) writeFileSync(DOCUMENT, head + renderTable());
  expect(readFileSync(DOCUMENT, 'utf8').slice(from)).toBe(renderTable());
});
