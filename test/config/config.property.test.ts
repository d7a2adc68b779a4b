/** No variable, secret file or .env crashes the program, hangs it or makes it show a secret. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Environment, loadEnvironment, type Needs, parseConfig } from '../../src/config/config.ts';
import { knownNames, variableNames, variableOf } from '../../src/config/variables.ts';
import { ExportError } from '../../src/core/errors.ts';
import { processorMsOf } from '../support/processor.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 300);
/** Parsing usually takes milliseconds; backtracking over the longest texts below would take many seconds. */
const LONGEST_MS = 1_000;
/** Part of every secret, and of nothing else. */
const MARK = 'Tr0ub4dor';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'config-property-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const listed = (text: string) => text.split('|');

/** Texts that make a careless pattern or parser of the configuration backtrack. */
const units = [
  ...listed(' |/|\n|\r\n|"|\'|{|{a}|{organization}|1|1,|1-|*/|* |9|.|-|%|%2|a.|a:|@|//|//a:|http://|Bearer '),
  ...listed(
    'eyJ-|eyJaaaaaaaa.|password|password\\"|\\|_SERVICE_|_PORT_1|_|\0|\u200b|\ud800|é|😀|#|=|A=|A="|`|export ',
  ),
];
const begins = listed('|https://h/|https://|postgres://|postgres://u:|/|Bearer|0-|Europe/|1');
const repeated = fc
  .tuple(fc.constantFrom(...units), fc.constantFrom(1, 5, 300, 100_000), fc.constantFrom('', 'x', '\n', '!'))
  .map(([unit, length, end]) => unit.repeat(Math.ceil(length / unit.length)) + end);
const plausible = fc.constantFrom(
  ...listed(
    'off|true|no|0|60|-1|1e3|0x10|30s|999999999999999d|UTC|Europe/Berlin|acme|..|en|EN|nowhere|/|/dev/null',
  ),
  ...listed(
    'https://h|http://[::1]:1/x|https://u@h|https://h?q|ftp://h|{base}/t|{base}|http://h/{organization}',
  ),
  ...listed('postgres://u:p%40@h:5432/d?sslmode=require|postgres:///d?host=/tmp|/proc/self/mem'),
  ...listed('0 0 31 2 *|0-999999999 * * * *|*/0 * * * *|* * * * * *|*/5 * * * *'),
);
const value = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
  plausible,
  fc.tuple(fc.constantFrom(...begins), repeated).map((parts) => parts.join('')),
);
const name = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...knownNames) },
  fc
    .tuple(
      fc.constantFrom('UIPATH_', 'EXPORT_', 'HTTP_', 'STATUS_', 'database_', 'LOG_'),
      fc.oneof(fc.string(), repeated),
    )
    .map(([prefix, rest]) => prefix + rest),
  fc.constantFrom('__proto__', 'constructor', 'HTTPS_PROXY', 'UIPATH_SERVICE_HOST', ''),
);
const isSecret = (name: string) =>
  knownNames.includes(name) && (name.endsWith('_FILE') || variableOf(name as never).secret);

/** The value of a secret variable contains the mark, in arbitrary text or as the password of a URL. */
const entry = fc.tuple(name, value, fc.nat({ max: 3 })).map(([name, text, form]): [string, string] => {
  if (!isSecret(name)) return [name, text];
  const forms = [`${MARK}${text}`, `postgres://u:${MARK}@h/d${text}`, `${text}${MARK}`, MARK];
  if (!name.endsWith('_FILE') || form < 2) return [name, forms[form]!];
  // A path is shown; text that does not look like one may be a secret.
  return [name, text];
});
const complete = {
  UIPATH_ORGANIZATION: 'acme',
  UIPATH_CLIENT_ID: 'an-id',
  UIPATH_CLIENT_SECRET: `${MARK}-1`,
};
const environment = fc
  .tuple(fc.boolean(), fc.array(entry, { maxLength: 6 }))
  .map(([isComplete, entries]) => ({ ...(isComplete ? complete : {}), ...Object.fromEntries(entries) }));

test('any variables give a frozen configuration or one error without a secret, quickly', () => {
  fc.assert(
    fc.property(environment, fc.constantFrom<Needs>('source', 'database'), (env, needs) => {
      within(LONGEST_MS, () => expectOrderly(env, needs));
    }),
    { numRuns: RUNS },
  );
}, 600_000);

test('each variable parses each long text quickly', () => {
  const texts = units.flatMap((unit) =>
    ['', 'https://h/'].map((begin) => `${begin}${unit.repeat(60_000 / unit.length)}!`),
  );
  for (const name of variableNames) {
    for (const text of texts)
      within(LONGEST_MS, () => expectOrderly({ ...complete, [name]: text }, 'source'), name);
  }
}, 120_000);

test('a secret file with any content gives the secret or one error without it, quickly', () => {
  const path = join(directory, 'secret');
  const content = fc.oneof(
    fc.uint8Array(),
    fc.tuple(repeated, value).map(([a, b]) => Buffer.from(`${MARK}${a}${b}`)),
  );
  fc.assert(
    fc.property(content, fc.constantFrom('UIPATH_CLIENT_SECRET', 'DATABASE_URL'), (bytes, name) => {
      writeFileSync(path, bytes);
      const env: Environment = { ...complete, [name]: undefined, [`${name}_FILE`]: path };
      within(LONGEST_MS, () => expectOrderly(env, 'source'));
    }),
    { numRuns: RUNS },
  );
}, 600_000);

test('a .env of any bytes gives variables that the process environment overrides, or one error, quickly', () => {
  const path = join(directory, '.env');
  const line = fc
    .tuple(name, fc.constantFrom('=', ': ', ' = ', ''), value, fc.constantFrom('\n', '\r\n', '\r', ''))
    .map((parts) => parts.join(''));
  const content = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.array(fc.oneof(line, repeated), { maxLength: 6 }).map((lines) => Buffer.from(lines.join(''))),
  );
  fc.assert(
    fc.property(content, (bytes) => {
      writeFileSync(path, bytes);
      const given = { LOG_LEVEL: 'warn', PATH: '/bin' };
      const loaded = within(LONGEST_MS, () => loadOrRefuse(given));
      if (loaded === undefined) return;
      expect(loaded).toMatchObject(given);
      expect(Object.values(loaded).every((text) => typeof text === 'string')).toBe(true);
      expect(Object.getPrototypeOf({})).toBe(Object.prototype);
      within(LONGEST_MS, () => expectOrderly(loaded, 'source', { isMarked: false }));
    }),
    { numRuns: RUNS },
  );
}, 600_000);

/** `undefined` if the file is not UTF-8. */
function loadOrRefuse(given: Environment): Environment | undefined {
  try {
    return loadEnvironment({ directory }, given);
  } catch (error) {
    if (error instanceof ExportError && /its encoding is /.test(error.message)) return undefined;
    throw error;
  }
}

function expectOrderly(env: Environment, needs: Needs, { isMarked = true } = {}): void {
  try {
    const { config, warnings } = parseConfig(env, needs);
    expect(isFrozenDeep(config)).toBe(true);
    if (isMarked) expect(warnings.join('\n')).not.toContain(MARK);
  } catch (error) {
    if (!(error instanceof ExportError) || error.code !== 'configuration') throw error;
    if (isMarked) expect(error.message).not.toContain(MARK);
    // The message must stay readable.
    expect(error.message.length).toBeLessThan(20_000);
  }
}

function isFrozenDeep(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isFrozenDeep);
}

function within<T>(mostMs: number, work: () => T, what = ''): T {
  let result: T;
  const tookMs = processorMsOf(() => {
    result = work();
  });
  if (tookMs > mostMs) throw new Error(`took ${Math.round(tookMs)} ms ${what}`);
  return result!;
}
