/** The token of the status server: what it protects, in which forms it is accepted, and how it is renewed. */
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createLog } from '../../src/log.ts';
import { createAccess } from '../../src/status/access.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createRoutes } from '../../src/status/routes.ts';
import { activity, statusReport } from './support.ts';

const directory = mkdtempSync(join(tmpdir(), 'audit-access-'));
const file = join(directory, 'token');
let logged: string[];
let tokens: string[];

afterAll(() => rmSync(directory, { recursive: true }));
beforeEach(() => {
  logged = [];
  tokens = [];
});

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

function open(value: string, path?: string) {
  const log = createLog({ level: 'silent' });
  const keep = (message: unknown) => void logged.push(String(message));
  const watched = Object.assign(Object.create(log), { warn: keep, info: keep });
  return createAccess({ value, file: path }, { log: watched, onToken: (token) => void tokens.push(token) });
}

describe('a request is allowed', () => {
  const TOKEN = 'a:b+/=~!';

  test.each([
    ['with the bearer token', `Bearer ${TOKEN}`, true],
    ['whatever the case of the scheme', `bEARER  ${TOKEN} `, true],
    ['with it as a password', basic(`alice:${TOKEN}`), true],
    ['with it as a password without a user name', basic(`:${TOKEN}`), true],
    ['not without a header', undefined, false],
    ['not with an empty one', '', false],
    ['not with another token', 'Bearer other', false],
    ['not with its beginning', `Bearer ${TOKEN.slice(0, -1)}`, false],
    ['not with more than it', `Bearer ${TOKEN}x`, false],
    ['not in capitals', `Bearer ${TOKEN.toUpperCase()}`, false],
    ['not without a scheme', TOKEN, false],
    ['not with another scheme', `Digest ${TOKEN}`, false],
    ['not as a user name', basic(`${TOKEN}:x`), false],
    ['not with Basic without a colon', basic(TOKEN.slice(2)), false],
    ['not with Basic that is no base64', `Basic ${TOKEN}`, false],
    ['not with two tokens', `Bearer ${TOKEN} ${TOKEN}`, false],
  ])('%s', (_how, header, isAllowed) => {
    expect(open(TOKEN)(header)).toBe(isAllowed);
  });

  test('by everybody without a token', () => {
    const access = createAccess(undefined, { log: createLog({ level: 'silent' }) });
    expect([access(undefined), access('Bearer x')]).toEqual([true, true]);
  });
});

test('a new token in the file takes effect at the next request, and the old one ends', () => {
  writeFileSync(file, 'one\n');
  const access = open('one', file);
  expect([access('Bearer one'), access('Bearer two')]).toEqual([true, false]);
  // As Kubernetes and careful scripts replace a file.
  writeFileSync(`${file}.new`, 'two\r\n');
  renameSync(`${file}.new`, file);
  expect([access('Bearer two'), access('Bearer one')]).toEqual([true, false]);
  expect([tokens, logged]).toEqual([['two'], ['STATUS_TOKEN_FILE has a new token']]);
});

test.each([
  ['is empty', '\n', 'the file is empty'],
  ['holds two tokens', 'two\nthree\n', 'the file holds a space or line break in the token'],
  ['is gone', null, 'the file cannot be read (ENOENT: no such file or directory)'],
])('while the file %s the last token stays valid, and the log says so once', (_how, content, problem) => {
  writeFileSync(file, 'one');
  const access = open('one', file);
  if (content === null) rmSync(file);
  else writeFileSync(file, content);
  expect([access('Bearer one'), access('Bearer one'), access('Bearer two'), access(undefined)]).toEqual([
    ...[true, true, false, false],
  ]);
  expect(logged).toEqual([`STATUS_TOKEN_FILE: ${problem}. The last token stays valid`]);
  writeFileSync(file, 'one');
  expect(access('Bearer one')).toBe(true);
  chmodSync(file, 0o600);
});

test('page and metrics need the token, health and readiness do not', async () => {
  const routes = createRoutes({
    ...{ health: createHealth(['acme']), metrics: createMetrics(), nextRunAt: () => undefined },
    ...{ readStatus: async () => statusReport(), readActivity: async () => activity(), statusAgeMs: 0 },
    access: open('one'),
  });
  const statuses = async (authorization?: string) =>
    Promise.all(
      ['/', '/?organization=acme', '/metrics', '/healthz', '/readyz', '/nothing'].map(
        async (url) => (await routes({ method: 'GET', url, authorization })).status,
      ),
    );
  expect(await statuses()).toEqual([401, 401, 401, 200, 200, 404]);
  expect(await statuses('Bearer two')).toEqual([401, 401, 401, 200, 200, 404]);
  expect(await statuses('Bearer one')).toEqual([200, 200, 200, 200, 200, 404]);
  expect(await statuses(basic('any:one'))).toEqual([200, 200, 200, 200, 200, 404]);
  const { headers, body } = await routes({ method: 'GET', url: '/' });
  expect(headers?.['WWW-Authenticate']).toMatch(
    /^Basic realm="[^"]+", charset="UTF-8", Bearer realm="[^"]+"$/,
  );
  expect(body).not.toMatch(/acme|current/);
});
