import { spawnSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { AxiosError, AxiosHeaders } from 'axios';
import { createLog, type LogOptions } from '../src/log.ts';
import { createRedactor } from '../src/text/redaction.ts';

function record(options: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  const log = createLog({ level: 'trace', destination, ...options });
  return { log, lines, fields: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

function axiosError(): AxiosError {
  const headers = new AxiosHeaders({ Authorization: 'Bearer tell-no-one' });
  const config = { url: 'https://h/x', headers, data: 'client_secret=tell-no-one' };
  return new AxiosError('Request failed', 'ERR_BAD_REQUEST', config, { secretRequest: 'tell-no-one' });
}

describe('a log line', () => {
  test('is JSON with an ISO time, the name of its level and a line end', () => {
    const { log, lines, fields } = record();
    log.info({ pages: 3 }, 'run done');
    expect(lines[0]!.endsWith('}\n')).toBe(true);
    expect(fields()).toMatchObject([{ level: 'info', pages: 3, msg: 'run done', pid: process.pid }]);
    expect(fields()[0]!.time).toBe(new Date(fields()[0]!.time as string).toISOString());
  });

  test('below the level is not written', () => {
    const { log, fields } = record({ level: 'warn' });
    log.info('quiet');
    log.warn('loud');
    expect(fields().map(({ msg }) => msg)).toEqual(['loud']);
  });

  test('for a terminal has no pid and no JSON, and colours only if enabled', () => {
    const { log, lines } = record({ pretty: true, colours: false });
    log.warn({ pages: 3n }, 'run done');
    expect(lines).toEqual([
      expect.stringMatching(/^\[\d{4}-\d\d-\d\dT[\d:.]+Z\] WARN: run done \{"pages":"3"\}\n$/),
    ]);
    const coloured = record({ pretty: true, colours: true });
    coloured.log.warn('run done');
    expect(coloured.lines[0]).toContain('\u001b[33m');
  });

  test('for a terminal is one line: of a run only its message, of a message of several lines all', () => {
    const { log, lines } = record({ pretty: true, colours: false });
    log.info(
      { kind: 'run', outcome: 'succeeded', inserted: 110, ledger: { batch: 3 } },
      'run 6 succeeded: 110 new',
    );
    log.warn('two problems:\n  - one\n  - two');
    expect(lines).toEqual([
      expect.stringMatching(/^\[[^\]]+\] INFO: run 6 succeeded: 110 new\n$/),
      expect.stringMatching(/^\[[^\]]+\] WARN: two problems: - one - two\n$/),
    ]);
  });

  test('contains a bigint as text, at any depth', () => {
    const { log, fields } = record();
    log.info({ ticks: 17_600_000_000_000_000_001n, range: { from: [2n ** 64n] } });
    expect(fields()).toMatchObject([
      { ticks: '17600000000000000001', range: { from: ['18446744073709551616'] } },
    ]);
    log.child({ ticks: 1n }).info('of a child');
    expect(fields()[1]).toMatchObject({ msg: 'of a child' });
  });

  test('accepts fields that are circular, deeply nested or bytes', () => {
    const { log, fields } = record();
    const circle: Record<string, unknown> = { bytes: Buffer.from('tell-no-one'), at: new Date(0) };
    circle.self = circle;
    const endless = { toJSON: (): unknown => ({ more: { toJSON: endless.toJSON } }) };
    log.info({ circle, endless }, 'written');
    expect(fields()).toMatchObject([
      { circle: { self: '[circular]', bytes: '[11 bytes]', at: '1970-01-01T00:00:00.000Z' }, msg: 'written' },
    ]);
    expect(JSON.stringify(fields()[0]!.endless)).toContain('[nested too deeply]');
  });
});

describe('an error in the log', () => {
  test('shows its type, message, code, stack and the messages of its causes', () => {
    const { log, fields } = record();
    const refused = Object.assign(new Error('connect refused'), { code: 'ECONNREFUSED' });
    const cause = new AggregateError([refused], '', { cause: 'a text' });
    const error = Object.assign(new TypeError('page failed', { cause }), { code: 7, private: 'tell-no-one' });
    log.error({ err: error }, 'failed');
    expect(fields()[0]!.err).toEqual({
      type: 'TypeError',
      message: 'page failed',
      code: 7,
      stack: error.stack,
      causes: ['AggregateError: ', 'Error: connect refused (ECONNREFUSED)', 'a text'],
    });
  });

  test('that is its own cause is printed once', () => {
    const { log, fields } = record();
    const error = new Error('round');
    error.cause = error;
    log.error(error);
    expect(fields()).toMatchObject([{ msg: 'round', err: { type: 'Error', message: 'round' } }]);
  });

  test('of axios never shows its request, at any depth or in a child', () => {
    const { log, lines } = record();
    log.error(axiosError());
    log.error({ deep: { down: [{ cause: axiosError() }] } });
    log.child({ err: axiosError() }).error('of a child');
    log.error(new Error('around', { cause: axiosError() }));
    log.error('%j and %o', axiosError(), { password: 'x' });
    for (const line of lines.slice(0, 4)) expect(line).toContain('ERR_BAD_REQUEST');
    expect(lines.slice(0, 4).join()).not.toContain('tell-no-one');
  });

  test('is printed with its stack for a terminal', () => {
    const { log, lines } = record({ pretty: true, colours: false });
    log.error({ err: new Error('page failed') }, 'failed');
    expect(lines[0]).toMatch(/ERROR: failed/);
    expect(lines[0]).toMatch(/\n +at /);
  });
});

describe('a field with the name of a secret', () => {
  const names = [
    'authorization',
    'Authorization',
    'headers',
    'client_secret',
    'clientSecret',
    'access_token',
    'password',
  ];

  test.each([...names, 'set-cookie', 'Proxy-Authorization', 'refreshToken'])(
    'is redacted at any depth: %s',
    (name) => {
      const { log, lines } = record();
      log.info({ [name]: 'hidden' });
      log.info({ a: { b: [{ c: { d: { [name]: { inside: 'hidden' } } } }] } });
      expect(lines).toHaveLength(2);
      for (const line of lines) {
        expect(line).toContain('[redacted]');
        expect(line).not.toContain('hidden');
      }
    },
  );

  test.each(names)('is redacted in the bindings of a child logger: %s', (name) => {
    const { log, lines } = record();
    log.child({ [name]: 'hidden', a: { [name]: 'hidden', b: { [name]: 'hidden' } } }).info('x');
    expect(lines[0]).not.toContain('hidden');
    expect(lines[0]).toContain('"[redacted]"');
  });
});

describe('a known secret', () => {
  const secret = 'Pä"ss/w\\0rd+ &?';
  const json = JSON.stringify(secret).slice(1, -1);
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const forms: [string, string][] = [
    ['as it stands', secret],
    ['JSON-escaped', json],
    ['JSON-escaped twice', JSON.stringify(json).slice(1, -1)],
    ['URL-encoded', encodeURIComponent(secret)],
    ['URL-encoded in lower case', encodeURIComponent(secret).replace(/%../g, (code) => code.toLowerCase())],
    ['in a form', new URLSearchParams({ x: secret }).toString().slice(2)],
  ];

  test.each(forms)('is redacted %s, in message, value, name, array, error and child', (_, form) => {
    const { log, fields } = record({ secrets: ['other-secret', secret] });
    const at = `<${form}>`;
    log.info({ value: at, [at]: 1, list: [{ deep: at }] }, at);
    log.child({ bound: at }).error(new Error(at));
    const [line, ofError] = fields();
    expect(line).toMatchObject({ value: '<[redacted]>', '<[redacted]>': 1, msg: '<[redacted]>' });
    expect(line!.list).toEqual([{ deep: '<[redacted]>' }]);
    expect(ofError).toMatchObject({
      bound: '<[redacted]>',
      err: { message: '<[redacted]>' },
      level: 'error',
    });
    expect((ofError!.err as { stack: string }).stack).toMatch(/^Error: <\[redacted\]>\n/);
  });

  test.each(['', 'a', 'ab'])('is redacted in base64 behind "%s"', (before) => {
    const redact = createRedactor([secret]);
    for (const text of [
      base64(`${before}${secret}`),
      Buffer.from(`${before}${secret}xyz`).toString('base64url'),
    ]) {
      const redacted = redact(`x ${text} y`);
      expect(redacted).toContain('[redacted]');
      expect(redacted.length).toBeLessThan('x [redacted] y'.length + 12);
    }
  });

  test('is redacted for a terminal too', () => {
    const { log, lines } = record({ secrets: [secret], pretty: true, colours: false });
    log.info({ value: secret }, `with ${secret}`);
    expect(lines[0]).toMatch(/INFO: with \[redacted\] \{"value":"\[redacted\]"\}/);
  });

  test('leaves the line valid JSON with its level and time, even if it is a number or a word of the log', () => {
    const years = Array.from({ length: 100 }, (_, i) => String(2000 + i));
    const { log, fields } = record({ secrets: ['info', '12345', ...years] });
    log.info({ n: 1123456, info: 1 }, 'info');
    expect(fields()).toMatchObject([{ level: 'info', n: '[redacted]', '[redacted]': 1, msg: '[redacted]' }]);
    expect(fields()[0]!.time).toMatch(/^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  });

  test('that starts with another is redacted completely', () => {
    expect(createRedactor(['pass-word', 'pass-word-long'])('<pass-word-long>')).toBe('<[redacted]>');
  });

  test('added later is redacted from then on', () => {
    const redactor = createRedactor();
    const { log, fields } = record({ redactor });
    redactor.add('a-new-token');
    log.info('got a-new-token');
    expect(fields()).toMatchObject([{ msg: 'got [redacted]' }]);
  });

  test('added later is redacted until the limit of newer ones is reached', () => {
    const redactor = createRedactor([], { maxTemporary: 6 });
    const tokens = Array.from({ length: 7 }, (_, i) => `token-number-${i}`);
    for (const token of tokens) redactor.add(token);
    expect(tokens.map(redactor)).toEqual([tokens[0], ...Array(6).fill('[redacted]')]);
  });

  test('of fewer than four characters does not damage the text', () => {
    expect(createRedactor(['', 'a'])('a cat sat')).toBe('a cat sat');
  });
});

describe('text that looks like a secret is redacted', () => {
  test.each([
    ['Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123', 'Authorization: Bearer [redacted]'],
    ['token eyJhbGciOiJSUzI1.eyJzdWIiOiIxMjM0.c2ln-bmF0 end', 'token [redacted] end'],
    ['to postgres://user:pw@host/db', 'to postgres://user:[redacted]@host/db'],
    ['grant_type=x&client_secret=abc&scope=y', 'grant_type=x&client_secret=[redacted]&scope=y'],
    ['{"access_token":"abc","expires_in":3600}', '{"access_token":"[redacted]","expires_in":3600}'],
  ])('%s', (text, expected) => {
    expect(createRedactor()(text)).toBe(expected);
    const { log, fields } = record();
    log.info(text);
    expect(fields()[0]!.msg).toBe(expected);
  });

  test('ordinary words stay', () => {
    const text =
      'Bearer authentication failed: UIPATH_CLIENT_SECRET: expected a secret at https://h:8080/a@b';
    expect(createRedactor()(text)).toBe(text);
  });
});

test('every line is written to standard error before the next statement, and none to standard output', () => {
  // dist is built by the global set-up.
  const script = `
    import { createLog } from ${JSON.stringify(new URL('../dist/log.js', import.meta.url))};
    const log = createLog({ level: 'info' });
    for (let n = 0; n < 2_000; n++) log.info({ n }, 'x'.repeat(200));
    log.fatal('final line');
    process.kill(process.pid, 'SIGKILL');`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  const lines = stderr.trimEnd().split('\n');
  expect([stdout, lines.length]).toEqual(['', 2_001]);
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ level: 'fatal', msg: 'final line' });
});
