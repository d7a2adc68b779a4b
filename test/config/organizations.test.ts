import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Environment, parseConfig, secretsOf } from '../../src/config/config.ts';
import { ExportError } from '../../src/core/errors.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'config-organizations-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function file(content: unknown): string {
  const path = join(directory, `${files++}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const shared = { UIPATH_CLIENT_ID: 'shared-id', UIPATH_CLIENT_SECRET: 'shared-secret' };

function parse(entries: unknown, env: Environment = shared, organization?: string) {
  return parseConfig({ UIPATH_ORGANIZATIONS_FILE: file(entries), ...env }, 'sources', { organization });
}

/** The lines of the error message; none if the configuration is accepted. */
function problemsOf(entries: unknown, env: Environment = shared, organization?: string): string[] {
  try {
    parse(entries, env, organization);
    return [];
  } catch (error) {
    if (!(error instanceof ExportError)) throw error;
    expect(error.code).toBe('configuration');
    const lines = error.message.split('\n');
    return lines.length === 1 ? lines : lines.filter((line) => line.startsWith('  - '));
  }
}

describe('a file of organizations', () => {
  test('requires a different audit log for each organization', () => {
    const env = {
      ...shared,
      UIPATH_AUDIT_PATH: '/audit_/api/auditlogs/{partitionGlobalId}',
      UIPATH_PARTITION_GLOBAL_ID: 'b7-1',
    };
    const [acme, beta] = [{ UIPATH_ORGANIZATION: 'acme' }, { UIPATH_ORGANIZATION: 'beta' }];
    expect(problemsOf([acme, beta], env).join()).toMatch(/UIPATH_PARTITION_GLOBAL_ID/);
    const own = (entry: object, id: string) => ({ ...entry, UIPATH_PARTITION_GLOBAL_ID: id });
    expect(problemsOf([own(acme, 'b7-1'), own(beta, 'b7-2')], env)).toEqual([]);
    expect(problemsOf([own(acme, 'b7-1'), own(beta, 'b7-1')], env)).toEqual([
      expect.stringMatching(
        /a different audit log for each organization.*b7-1" for entry 1 \(acme\) and entry 2 \(beta\)/,
      ),
    ]);
    expect(
      problemsOf(
        [own(acme, 'b7-1'), { ...own(beta, 'b7-1'), UIPATH_CLIENT_ID: 'x', UIPATH_CLIENT_SECRET: 'y' }],
        env,
      ),
    ).toEqual([]);
  });

  test('uses the environment for a blank member of an entry', () => {
    const { config } = parse([{ UIPATH_ORGANIZATION: 'acme', UIPATH_CLIENT_SECRET: ' ' }]);
    expect(config.sources[0]!.credentials).toMatchObject({ clientSecret: 'shared-secret' });
  });

  test('gives one source per entry: unset members come from the environment', () => {
    const secret = file('from a file\n');
    const { config, warnings } = parse([
      { UIPATH_ORGANIZATION: 'acme' },
      {
        UIPATH_ORGANIZATION: 'beta',
        UIPATH_BASE_URL: 'https://suite.example',
        UIPATH_CLIENT_ID: 'own-id',
        UIPATH_CLIENT_SECRET_FILE: secret,
        UIPATH_AUDIT_PATH: '/{organization}/audit_/api/auditlogs/{partitionGlobalId}',
        UIPATH_PARTITION_GLOBAL_ID: 'b7-1',
        HTTP_MAX_RESPONSE_MIB: 8,
      },
    ]);
    expect(warnings).toEqual([]);
    expect(config.sources).toMatchObject([
      {
        organization: 'acme',
        auditUrl: 'https://cloud.uipath.com/acme/audit_/api/auditlogs',
        credentials: {
          clientId: 'shared-id',
          clientSecret: 'shared-secret',
          tokenUrl: 'https://cloud.uipath.com/acme/identity_/connect/token',
        },
        maxResponseBytes: 64 * 1024 * 1024,
      },
      {
        organization: 'beta',
        auditUrl: 'https://suite.example/beta/audit_/api/auditlogs/b7-1',
        credentials: {
          clientId: 'own-id',
          clientSecret: 'from a file',
          tokenUrl: 'https://suite.example/beta/identity_/connect/token',
        },
        maxResponseBytes: 8 * 1024 * 1024,
      },
    ]);
    expect(secretsOf(config)).toEqual(['shared-secret', 'from a file']);
  });

  test('may replace one kind of credentials by the other, and a secret by its file or vice versa', () => {
    const credentials = (entry: object, env: Environment) =>
      parse([{ UIPATH_ORGANIZATION: 'acme', ...entry }], env).config.sources[0]!.credentials;
    expect(credentials({ UIPATH_ACCESS_TOKEN: 'rt_1' }, shared)).toEqual({
      kind: 'token',
      accessToken: 'rt_1',
    });
    expect(credentials(shared, { UIPATH_ACCESS_TOKEN_FILE: '/nowhere' })).toMatchObject({ kind: 'client' });
    const inFile = { UIPATH_CLIENT_ID: 'an-id', UIPATH_CLIENT_SECRET_FILE: '/nowhere' };
    expect(credentials({ UIPATH_CLIENT_SECRET: 'plain' }, inFile)).toMatchObject({ clientSecret: 'plain' });
  });

  test('needs no organization in the environment; one without an entry gives a warning', () => {
    const entries = [{ UIPATH_ORGANIZATION: 'acme' }, { UIPATH_ORGANIZATION: 'beta' }];
    expect(parse(entries, { ...shared, UIPATH_ORGANIZATION: 'beta' }).warnings).toEqual([]);
    const { config, warnings } = parse(entries, { ...shared, UIPATH_ORGANIZATION: 'other' });
    expect(config.sources.map(({ organization }) => organization)).toEqual(['acme', 'beta']);
    expect(warnings).toEqual([
      expect.stringMatching(/^UIPATH_ORGANIZATION has no effect: .* no entry for "other"\.$/),
    ]);
  });

  test('accepts the example of the documentation', () => {
    const text = readFileSync(new URL('../../docs/organizations.md', import.meta.url), 'utf8');
    const example = /```json\n(.*?)```/s.exec(text)![1]!;
    for (const name of ['acme', 'beta']) writeFileSync(join(directory, name), `secret of ${name}`);
    const { config, warnings } = parse(example.replaceAll('/run/secrets', directory), {});
    expect(warnings).toEqual([]);
    expect(config.sources.map(({ organization }) => organization)).toEqual(['acme', 'beta']);
    expect(secretsOf(config)).toEqual(['secret of acme', 'secret of beta']);
  });

  test('is not read by commands that only use the database', () => {
    const { config } = parseConfig({ UIPATH_ORGANIZATIONS_FILE: '/nowhere.json' }, 'database');
    expect(config).not.toHaveProperty('sources');
  });
});

describe('problems with a file of organizations', () => {
  test('are reported together, each with its entry, and shared ones once', () => {
    const entries = [
      { UIPATH_ORGANIZATION: 'acme', UIPATH_BASE_URL: 'ftp://x' },
      { UIPATH_CLIENT_SECRET_FILE: '/nowhere' },
      { UIPATH_ORGANIZATION: 'beta', UIPATH_CLIENT_SECERT: 'Tr0ub4dor', EXPORT_PAGE_SIZE: '5' },
      { UIPATH_ORGANIZATION: 'ACME', UIPATH_SCOPE: ['a'] },
      7,
    ];
    const problems = problemsOf(entries, { ...shared, HTTP_TIMEOUT: 'soon', EXPORT_PAGE_SIZE: 'many' });
    const patterns = [
      /^ {2}- EXPORT_PAGE_SIZE: expected a whole number/,
      /_FILE: entry 3: "UIPATH_CLIENT_SECERT" is not known\. The nearest .* UIPATH_CLIENT_SECRET\.$/,
      /_FILE: entry 3: "EXPORT_PAGE_SIZE" applies to all organizations/,
      /_FILE: entry 4: UIPATH_SCOPE: expected a string, found a list\.$/,
      /_FILE: entry 5: expected an object of variables, found a number\.$/,
      /_FILE, entry 1 \(acme\): UIPATH_BASE_URL: expected an address/,
      /^ {2}- HTTP_TIMEOUT: expected a duration/,
      /_FILE, entry 2: UIPATH_CLIENT_SECRET: expected the path|_FILE, entry 2: UIPATH_CLIENT_SECRET_FILE: expected/,
      /_FILE, entry 2: UIPATH_ORGANIZATION: expected the name .*found nothing/,
      /_FILE: expected each organization once, found entry 1 \(acme\) and entry 4 \(ACME\)/,
    ];
    for (const pattern of patterns) expect(problems).toContainEqual(expect.stringMatching(pattern));
    expect(problems).toHaveLength(patterns.length);
    expect(problems.join()).not.toContain('Tr0ub4dor');
  });

  test.each([
    ['that is not there', '/nowhere.json', /found "\/nowhere\.json", which cannot be read \(ENOENT/],
    ['that is the list itself', '[{"UIPATH_CLIENT_SECRET": "Tr0ub4dor"}]', /found a text that is not shown/],
  ])('%s', (_, path, pattern) => {
    const [problem] = problemsOf([], { UIPATH_ORGANIZATIONS_FILE: path });
    expect(problem).toMatch(pattern);
    expect(problem).not.toContain('Tr0ub4dor');
  });

  test.each([
    ['broken JSON, which is not quoted', '[{"UIPATH_CLIENT_SECRET": "Tr0ub4dor" "x"}]', /which is not JSON/],
    ['an empty one', [], /found a list of 0 in/],
    ['an object', {}, /found an object in/],
  ])('%s', (_, content, pattern) => {
    const [problem, ...others] = problemsOf(content);
    expect(problem).toMatch(pattern);
    expect(problem).not.toContain('Tr0ub4dor');
    expect(others).toEqual([]);
  });

  test('are truncated for a thousand entries', () => {
    const entries = Array.from({ length: 1000 }, (_, i) => ({
      UIPATH_ORGANIZATION: `a/${i}`,
      [`X${i}`]: 'x',
    }));
    expect(problemsOf(entries).join('\n').length).toBeLessThan(20_000);
  });

  test('are always a configuration error', () => {
    const name = fc.constantFrom(
      'UIPATH_ORGANIZATION',
      'UIPATH_BASE_URL',
      'UIPATH_TOKEN_URL',
      '__proto__',
      'x',
    );
    const entry = fc.oneof(fc.dictionary(name, fc.oneof(fc.string(), fc.jsonValue())), fc.jsonValue());
    fc.assert(
      fc.property(fc.array(entry), (entries) => void problemsOf(entries)),
      { numRuns: 50 },
    );
  });
});

describe('--organization', () => {
  const entries = [{ UIPATH_ORGANIZATION: 'acme' }, { UIPATH_ORGANIZATION: 'beta' }];

  test('selects one', () => {
    const { config } = parse(entries, shared, 'beta');
    expect(config.sources.map(({ organization }) => organization)).toEqual(['beta']);
  });

  test('that is unknown is an error with the nearest name and the known names', () => {
    const [problem] = problemsOf(entries, shared, 'bet');
    expect(problem).toBe('--organization: "bet" is not known. Did you mean beta? Known: acme, beta.');
  });

  test('must match the only organization of the environment', () => {
    const env = { ...shared, UIPATH_ORGANIZATION: 'acme' };
    expect(parseConfig(env, 'sources', { organization: 'acme' }).config.sources).toHaveLength(1);
    expect(() => parseConfig(env, 'sources', { organization: 'beta' })).toThrow(
      'Did you mean acme? Known: acme.',
    );
  });

  test('is required by a command that needs one organization', () => {
    const env = { UIPATH_ORGANIZATIONS_FILE: file(entries), ...shared };
    expect(() => parseConfig(env, 'source')).toThrow('select one with --organization');
    expect(parseConfig(env, 'source', { organization: 'acme' }).config.source.organization).toBe('acme');
  });
});
