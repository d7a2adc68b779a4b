import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'dotenv';
import fc from 'fast-check';
import {
  type Environment,
  loadEnvironment,
  type Needs,
  parseConfig,
  secretsOf,
} from '../../src/config/config.ts';
import { knownNames, type VariableName, variableNames, variableOf } from '../../src/config/variables.ts';
import { ExportError } from '../../src/core/errors.ts';

const required = {
  UIPATH_ORGANIZATION: 'acme',
  UIPATH_CLIENT_ID: 'an-id',
  UIPATH_CLIENT_SECRET: 'hush-hush',
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'config-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function configOf(env: Environment) {
  return parseConfig({ ...required, ...env }, 'source').config;
}

/** The lines of the error message; none if the configuration is accepted. */
function problemsOf(env: Environment, needs: Needs = 'source'): string[] {
  try {
    parseConfig(env, needs);
    return [];
  } catch (error) {
    if (!(error instanceof ExportError)) throw error;
    expect(error.code).toBe('configuration');
    return error.message.split('\n').filter((line) => line.startsWith('  - '));
  }
}

function problemOf(env: Environment): string {
  const problems = problemsOf({ ...required, ...env });
  expect(problems).toHaveLength(1);
  return problems[0]!;
}

describe('a configuration', () => {
  test('of an organization and a client has every default', () => {
    expect(parseConfig(required, 'source')).toEqual({
      config: {
        source: {
          organization: 'acme',
          log: 'classic',
          baseUrl: 'https://cloud.uipath.com',
          auditUrl: 'https://cloud.uipath.com/acme/audit_/api/auditlogs',
          credentials: {
            kind: 'client',
            clientId: 'an-id',
            clientSecret: 'hush-hush',
            scope: 'PM.Audit.Read',
            tokenUrl: 'https://cloud.uipath.com/acme/identity_/connect/token',
          },
          language: 'en',
          apiVersion: undefined,
          maxResponseBytes: 64 * 1024 * 1024,
          timeoutMs: 30_000,
          retryLimit: 8,
          retryMaxDelayMs: 120_000,
        },
        database: { kind: 'embedded', directory: './data/postgres' },
        export: {
          schedule: '*/5 * * * *',
          timezone: 'UTC',
          pageSize: 1000,
          concurrency: 4,
          parallelOrganizations: 4,
          lookbackMs: 0,
          scrubPages: 1,
          settleMs: 3_600_000,
          acceptSource: undefined,
          recheck: { schedule: '17 3 * * *', windowMs: 172_800_000 },
          leaseMs: 60_000,
          isSynchronous: true,
          runHistoryMs: 34_560_000_000,
          stallTimeoutMs: 1_800_000,
        },
        status: { host: '127.0.0.1', port: 8080 },
        logLevel: 'info',
        ledger: { privateKeys: [], trusted: [] },
      },
      warnings: [],
    });
  });

  test('is frozen at every depth', () => {
    const config = configOf({ DATABASE_URL: 'postgres://localhost/audit' });
    const parts = [
      config,
      config.source,
      config.source.credentials,
      config.database,
      config.export,
      config.export.recheck,
    ];
    expect(parts.every((part) => Object.isFrozen(part))).toBe(true);
  });

  test('for the database alone reads no variable of the source', () => {
    const { config } = parseConfig(
      { UIPATH_LANGUAGE: 'klingon', DATABASE_URL: 'postgresql://db/audit' },
      'database',
    );
    expect(config).not.toHaveProperty('source');
    expect(config.database).toEqual({ kind: 'url', url: 'postgresql://db/audit' });
    expect(problemsOf({ DATABASE_URL: 'mysql://db/audit' }, 'database')).toHaveLength(1);
  });

  test('treats an empty variable as unset', () => {
    expect(parseConfig({ ...required, EXPORT_PAGE_SIZE: '', UIPATH_ACCESS_TOKEN: ' ' }, 'source')).toEqual(
      parseConfig(required, 'source'),
    );
  });

  test('removes quotes and spaces around a value, with a warning for a secret', () => {
    const { config, warnings } = parseConfig(
      { ...required, EXPORT_PAGE_SIZE: ' "50" ', UIPATH_CLIENT_SECRET: "'hush-hush'" },
      'source',
    );
    expect(config.export.pageSize).toBe(50);
    expect(config.source.credentials).toMatchObject({ clientSecret: 'hush-hush' });
    expect(warnings).toEqual([expect.stringMatching(/^UIPATH_CLIENT_SECRET: .*quotes/)]);
  });

  test.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5h', 5_400_000],
    ['7d', 604_800_000],
    ['0s', 0],
  ])('reads the duration %s', (text, expected) => {
    expect(configOf({ EXPORT_LOOKBACK: text }).export.lookbackMs).toBe(expected);
  });

  test('can disable the scrub and the settling time', () => {
    const settings = { EXPORT_SCRUB_PAGES: '0', EXPORT_SETTLE: '0s', EXPORT_LOOKBACK: '0s' };
    expect(configOf(settings).export).toMatchObject({ scrubPages: 0, settleMs: 0, lookbackMs: 0 });
    expect(configOf({ EXPORT_SCRUB_PAGES: '100' }).export.scrubPages).toBe(100);
  });

  test('can disable the recheck and the status server, and use any free port', () => {
    const config = configOf({ EXPORT_RECHECK_SCHEDULE: 'off', STATUS_PORT: 'off' });
    expect([config.export.recheck, config.status]).toEqual([undefined, undefined]);
    expect(configOf({ STATUS_PORT: '0', STATUS_HOST: '::' }).status).toEqual({ host: '::', port: 0 });
  });

  test('can schedule verify, which is off by default', () => {
    expect(configOf({}).export.verifySchedule).toBeUndefined();
    expect(configOf({ EXPORT_VERIFY_SCHEDULE: '0 4 * * 0' }).export.verifySchedule).toBe('0 4 * * 0');
  });

  test('accepts a schedule with seconds', () => {
    expect(configOf({ EXPORT_SCHEDULE: '*/30 * * * * *' }).export.schedule).toBe('*/30 * * * * *');
  });
});

describe('an invalid value', () => {
  const wrong: [VariableName, string][] = [
    ['UIPATH_BASE_URL', 'cloud.uipath.com'],
    ['UIPATH_BASE_URL', 'ftp://cloud.uipath.com'],
    ['UIPATH_BASE_URL', 'https://cloud.uipath.com/?x=1'],
    ['UIPATH_ALLOW_HTTP', 'maybe'],
    ['UIPATH_ORGANIZATION', 'acme/tenant'],
    ['UIPATH_ORGANIZATION', '..'],
    ['UIPATH_LOGS', 'classic,organization'],
    ['UIPATH_AUDIT_PATH', 'audit_/api'],
    ['UIPATH_AUDIT_PATH', '/audit_/api?top=1'],
    ['UIPATH_SCOPE', 'PM.Audit,  PM.Audit.Read'],
    ['UIPATH_TOKEN_URL', 'identity_/connect/token'],
    ['UIPATH_LANGUAGE', 'klingon'],
    ['UIPATH_API_VERSION', '1 0'],
    ['HTTP_TIMEOUT', '30'],
    ['HTTP_TIMEOUT', '0s'],
    ['HTTP_TIMEOUT', '25d'],
    ['RETRY_LIMIT', '0'],
    ['RETRY_MAX_DELAY', '-2m'],
    ['EXPORT_SCHEDULE', 'every day'],
    ['EXPORT_SCHEDULE', 'off'],
    ['EXPORT_SCHEDULE', '61 * * * *'],
    ['EXPORT_TIMEZONE', 'Mars/Olympus'],
    ['EXPORT_PAGE_SIZE', '1000x'],
    ['EXPORT_PAGE_SIZE', '1e3'],
    ['EXPORT_PAGE_SIZE', '0'],
    ['EXPORT_PAGE_SIZE', '10001'],
    ['EXPORT_CONCURRENCY', '65'],
    ['EXPORT_LOOKBACK', '1 fortnight'],
    ['EXPORT_LOOKBACK', '0'],
    ['EXPORT_SCRUB_PAGES', '101'],
    ['EXPORT_SCRUB_PAGES', '-1'],
    ['EXPORT_SCRUB_PAGES', '1.5'],
    ['EXPORT_SETTLE', '60'],
    ['EXPORT_SETTLE', '-1h'],
    ['EXPORT_ACCEPT_SOURCE', 'true'],
    ['EXPORT_ACCEPT_SOURCE', 'host.example'],
    ['EXPORT_ACCEPT_SOURCE', 'https://host.example/?x=1'],
    ['EXPORT_RECHECK_SCHEDULE', 'never'],
    ['EXPORT_VERIFY_SCHEDULE', 'daily'],
    ['STATUS_HOST', 'a host'],
    ['STATUS_PORT', '65536'],
    ['STATUS_PORT', '80.5'],
    ['LOG_LEVEL', 'loud'],
  ];

  test.each(wrong)('is reported with what was expected and found: %s=%s', (name, value) => {
    const problem = problemOf({ [name]: value });
    expect(problem).toMatch(new RegExp(`^  - ${name}: expected .+, found .+\\. .+$`));
    expect(problem).toContain(JSON.stringify(value));
  });

  test('is reported together with all other problems and warnings', () => {
    const problems = problemsOf({ EXPORT_PAGE_SIZE: 'ten', LOG_LEVEL: 'loud', EXPORT_PAGESIZE: '10' });
    expect(problems.map((line) => /^ {2}- (\w+)/.exec(line)![1])).toEqual([
      'EXPORT_PAGE_SIZE',
      'LOG_LEVEL',
      'UIPATH_ORGANIZATION',
      'UIPATH_CLIENT_ID',
      'EXPORT_PAGESIZE',
    ]);
  });

  test('never throws anything but a configuration error', () => {
    const name = fc.constantFrom(
      ...knownNames.filter((known) => !known.endsWith('_FILE')),
      'HTTP_PROXY',
      'LOG_',
    );
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webUrl({ withQueryParameters: true, withFragments: true }),
      fc.stringMatching(/^[{}%"'\d\smhd*/,:@.-]*$/),
    );
    fc.assert(
      fc.property(fc.dictionary(name, value), (env) => {
        problemsOf(env);
        problemsOf({ ...required, ...env });
      }),
    );
  });

  test.each([
    ['LOG_LEVEL', 'debgu', 'Did you mean debug? '],
    ['UIPATH_LANGUAGE', 'DEE', 'Did you mean de? '],
    ['UIPATH_ALLOW_HTTP', 'ture', 'Did you mean true? '],
    ['UIPATH_LOGS', 'clasic', 'Did you mean classic? '],
    ['LOG_LEVEL', 'everything', undefined],
  ])('%s=%s gets the nearest accepted word suggested, if one is near', (name, value, suggestion) => {
    const problem = problemOf({ [name]: value });
    if (suggestion === undefined) expect(problem).not.toContain('Did you mean');
    else expect(problem).toContain(`found "${value}". ${suggestion}`);
  });
});

describe('the addresses of the source', () => {
  test('contain the organization percent-encoded; the key of the rows is not encoded', () => {
    const { source } = configOf({ UIPATH_ORGANIZATION: 'Ä & B' });
    expect(source.organization).toBe('Ä & B');
    expect(source.auditUrl).toBe('https://cloud.uipath.com/%C3%84%20%26%20B/audit_/api/auditlogs');
    expect(source.credentials).toMatchObject({
      tokenUrl: 'https://cloud.uipath.com/%C3%84%20%26%20B/identity_/connect/token',
    });
  });

  test.each([
    ['https://host.example/', 'https://host.example/acme/audit_/api/auditlogs'],
    ['https://host.example:8443/proxy//', 'https://host.example:8443/proxy/acme/audit_/api/auditlogs'],
    ['HTTPS://Host.Example', 'https://host.example/acme/audit_/api/auditlogs'],
  ])('follow the base URL %s', (base, expected) => {
    expect(configOf({ UIPATH_BASE_URL: base }).source.auditUrl).toBe(expected);
  });

  test('contain the organization once if the base URL has it too, with a warning', () => {
    const env = { ...required, UIPATH_BASE_URL: 'https://cloud.uipath.com/acme/' };
    const { config, warnings } = parseConfig(env, 'source');
    expect(config.source.auditUrl).toBe('https://cloud.uipath.com/acme/audit_/api/auditlogs');
    expect(warnings).toEqual([expect.stringContaining('UIPATH_BASE_URL')]);
  });

  test.each([
    ['https://host.example/', {}],
    ['HTTPS://Host.Example//', {}],
    ['https://host.example', { UIPATH_BASE_URL: 'https://host.example/' }],
    ['https://host.example:443/acme/', { UIPATH_BASE_URL: 'https://host.example/acme' }],
    ['https://host.example/proxy', { UIPATH_BASE_URL: 'https://host.example/proxy/' }],
    ['https://host.example/%C3%84%20B', { UIPATH_ORGANIZATION: 'Ä B' }],
  ])('have the same form in EXPORT_ACCEPT_SOURCE: %s', (accepted, env: Environment) => {
    const config = configOf({
      UIPATH_BASE_URL: 'https://host.example',
      ...env,
      EXPORT_ACCEPT_SOURCE: accepted,
    });
    expect(config.export.acceptSource).toBe(config.source.baseUrl);
  });

  test.each([
    ['another host', 'https://other.example'],
    ['another port', 'https://host.example:8443'],
    ['another scheme', 'http://host.example'],
    ['another path', 'https://host.example/other'],
  ])('must be the same in EXPORT_ACCEPT_SOURCE: %s', (_, accepted) => {
    const problem = problemOf({ UIPATH_BASE_URL: 'https://host.example', EXPORT_ACCEPT_SOURCE: accepted });
    expect(problem).toContain(
      `EXPORT_ACCEPT_SOURCE: expected UIPATH_BASE_URL, https://host.example, found ${JSON.stringify(accepted)}. Correct it, or ` +
        'remove it',
    );
  });

  test('contain the partition if the path has its placeholder', () => {
    const path = '/{organization}/audit_/api/auditlogs/{partitionGlobalId}';
    const { source } = configOf({ UIPATH_AUDIT_PATH: path, UIPATH_PARTITION_GLOBAL_ID: '0f-1' });
    expect(source.auditUrl).toBe('https://cloud.uipath.com/acme/audit_/api/auditlogs/0f-1');
    expect(problemOf({ UIPATH_AUDIT_PATH: path })).toMatch(/UIPATH_PARTITION_GLOBAL_ID: .*found nothing/);
  });

  test.each([
    ['UIPATH_AUDIT_PATH', '/{organization}/{tenant}/audit_', '{tenant}'],
    ['UIPATH_AUDIT_PATH', '/{organization/audit_', '{'],
    ['UIPATH_AUDIT_PATH', '/{constructor}/audit_', '{constructor}'],
    ['UIPATH_TOKEN_URL', '{base}/{partitionGlobalId}/token', '{partitionGlobalId}'],
  ])('reject an unknown placeholder: %s=%s', (name, value, placeholder) => {
    expect(problemOf({ [name]: value })).toContain(`found "${placeholder}"`);
  });

  test('must be https, except for this machine or if http is allowed', () => {
    const http = 'http://orchestrator.example';
    expect(
      problemOf({ UIPATH_BASE_URL: 'http://127.0.0.1.example', UIPATH_TOKEN_URL: 'https://a.example/t' }),
    ).toMatch(/UIPATH_BASE_URL: expected https/);
    expect(problemOf({ UIPATH_TOKEN_URL: `${http}/token` })).toMatch(/UIPATH_TOKEN_URL: expected https/);
    for (const base of ['http://localhost:1', 'http://127.0.0.1:1', 'http://[::1]:1']) {
      expect(configOf({ UIPATH_BASE_URL: base }).source.baseUrl).toBe(base);
    }
    expect(configOf({ UIPATH_BASE_URL: http, UIPATH_ALLOW_HTTP: 'true' }).source.baseUrl).toBe(http);
  });
});

describe('credentials', () => {
  test('may be a fixed token', () => {
    const { config } = parseConfig({ UIPATH_ORGANIZATION: 'acme', UIPATH_ACCESS_TOKEN: 'rt_1' }, 'source');
    expect(config.source.credentials).toEqual({ kind: 'token', accessToken: 'rt_1' });
  });

  test('that are missing are an error that names both ways to set them', () => {
    const [problem] = problemsOf({ UIPATH_ORGANIZATION: 'acme' });
    expect(problem).toMatch(/UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET .*UIPATH_ACCESS_TOKEN/);
  });

  test('of both kinds are an error that says what to remove', () => {
    expect(problemOf({ UIPATH_ACCESS_TOKEN: 'rt_1' })).toMatch(
      /Remove UIPATH_ACCESS_TOKEN .* or UIPATH_CLIENT_ID/,
    );
  });

  test.each([
    ['UIPATH_CLIENT_ID', 'UIPATH_CLIENT_SECRET'],
    ['UIPATH_CLIENT_SECRET', 'UIPATH_CLIENT_ID'],
  ])('of a client without its %s are an error that names it', (lacks, has) => {
    expect(problemOf({ [lacks]: undefined })).toMatch(new RegExp(`^  - ${lacks}: .*since ${has} is set`));
  });
});

describe('a secret', () => {
  test.each(['UIPATH_CLIENT_ID', 'UIPATH_CLIENT_SECRET'] as const)('%s can be read from a file', (name) => {
    const path = file('secret', ' from a file \r\n');
    const { credentials } = configOf({ [name]: '', [`${name}_FILE`]: path }).source;
    expect(Object.values(credentials)).toContain(' from a file ');
  });

  test.each([
    ['UIPATH_CLIENT_SECRET_FILE', 'Tr0ub4dor+4/3=='],
    ['DATABASE_URL_FILE', 'postgres://u:Tr0ub4dor@h/d'],
  ])('set in %s by mistake is not shown', (name, value) => {
    const problem = problemOf({
      UIPATH_CLIENT_SECRET: undefined,
      UIPATH_CLIENT_SECRET_FILE: file('s', 'x'),
      [name]: value,
    });
    expect(problem).toMatch(/expected the path of a file.*not shown, which cannot be read/);
    expect(problem).not.toContain('Tr0ub4dor');
  });

  test('of the database or a token can be read from a file', () => {
    const env = {
      UIPATH_ORGANIZATION: 'acme',
      UIPATH_ACCESS_TOKEN_FILE: file('token', 'rt_2\n'),
      DATABASE_URL_FILE: file('url', 'postgres://u:p@h/d\n'),
    };
    const { config } = parseConfig(env, 'source');
    expect(config.source.credentials).toEqual({ kind: 'token', accessToken: 'rt_2' });
    expect(config.database).toEqual({ kind: 'url', url: 'postgres://u:p@h/d' });
  });

  test.each([
    ['is not there', () => join(directory, 'absent'), /cannot be read \(ENOENT: no such file/],
    ['is a directory', () => directory, /cannot be read \(EISDIR/],
    ['is empty', () => file('empty', '\n'), /which is empty/],
  ])('whose file %s is one problem with path and reason', (_, path, reason) => {
    const problem = problemOf({ UIPATH_CLIENT_SECRET: undefined, UIPATH_CLIENT_SECRET_FILE: path() });
    expect(problem).toMatch(reason);
    expect(problem).toContain(path());
  });

  test('set twice is an error', () => {
    expect(problemOf({ UIPATH_CLIENT_SECRET_FILE: '/run/secrets/x' })).toMatch(
      /UIPATH_CLIENT_SECRET_FILE, found both/,
    );
  });

  test.each([
    ['DATABASE_URL', 'postgres://user:Tr0ub4dor#@host/db'],
    ['DATABASE_URL', 'postgres://user:Tr0ub4dor%@host/db'],
    ['DATABASE_URL', 'postgres://user:1/Tr0ub4dor@host/db'],
    ['DATABASE_URL', 'mysql://user:Tr0ub4dor@host/db'],
    ['UIPATH_CLIENT_SECRET', 'Tr0ub4dor\nsecond line'],
    ['UIPATH_BASE_URL', 'https://user:Tr0ub4dor@host'],
    ['EXPORT_ACCEPT_SOURCE', 'https://user:Tr0ub4dor@host'],
    ['UIPATH_TOKEN_URL', 'https://host/token?client_secret=Tr0ub4dor'],
  ])('is not shown in the problem it causes: %s=%s', (name, value) => {
    const problem = problemOf({ [name]: value });
    expect(problem).toContain(`${name}: expected`);
    expect(problem).not.toContain('Tr0ub4dor');
  });

  test('that is a token with the word Bearer is rejected', () => {
    const [problem] = problemsOf({ UIPATH_ORGANIZATION: 'acme', UIPATH_ACCESS_TOKEN: 'Bearer rt_1' });
    expect(problem).toMatch(/without the word Bearer.*not shown/);
  });

  test('is listed from the configuration, as written and URL-decoded', () => {
    const url = 'postgres://u:p%40ss@h/d?password=other';
    expect(secretsOf(configOf({ DATABASE_URL: url }))).toEqual(['hush-hush', 'p%40ss', 'p@ss', 'other']);
    expect(secretsOf(parseConfig({ DATABASE_URL: 'postgres://h/d' }, 'database').config)).toEqual([]);
    expect(
      secretsOf(parseConfig({ UIPATH_ORGANIZATION: 'a', UIPATH_ACCESS_TOKEN: 'rt_1' }, 'source').config),
    ).toEqual(['rt_1']);
  });
});

describe('DATABASE_PASSWORD', () => {
  const url = 'postgres://audit@db:5432/audit?sslmode=require';

  test.each(['plain', 'p@ss:w/o%20rd?&=#$x"\'{}[] ü', '%', ' a'.trim()])(
    '%s is put into the URL',
    (password) => {
      const { database } = configOf({ DATABASE_URL: url, DATABASE_PASSWORD: password });
      const { username, password: encoded, host, search } = new URL((database as { url: string }).url);
      expect([username, decodeURIComponent(encoded), host, search]).toEqual([
        'audit',
        password,
        'db:5432',
        '?sslmode=require',
      ]);
      expect(secretsOf(configOf({ DATABASE_URL: url, DATABASE_PASSWORD: password }))).toContain(password);
    },
  );

  test('may be read from a file', () => {
    const path = file('database-password', 'a@b\n');
    expect(configOf({ DATABASE_URL: url, DATABASE_PASSWORD_FILE: path }).database).toEqual({
      kind: 'url',
      url: 'postgres://audit:a%40b@db:5432/audit?sslmode=require',
    });
  });

  test.each([
    ['postgres://audit:other@db/audit', 'expected one password, found another one in DATABASE_URL'],
    ['postgres://audit@db/audit?password=x', 'expected one password, found another one in DATABASE_URL'],
    ['postgres://db/audit', 'expected a user in DATABASE_URL, found none'],
  ])('with %s is a problem', (given, problem) => {
    expect(problemOf({ DATABASE_URL: given, DATABASE_PASSWORD: 'hunter2' })).toContain(problem);
    expect(problemOf({ DATABASE_URL: given, DATABASE_PASSWORD: 'hunter2' })).not.toContain('hunter2');
  });

  test('without a URL has no effect, which is a warning', () => {
    expect(parseConfig({ ...required, DATABASE_PASSWORD: 'x' }, 'source').warnings).toEqual([
      'DATABASE_PASSWORD has no effect: DATABASE_URL is not set.',
    ]);
  });
});

describe('a service link of Kubernetes', () => {
  test.each(['tcp://10.0.0.1:8080', 'tcp://[fd00::1]:8080'])(
    'STATUS_PORT=%s is ignored with a warning',
    (value) => {
      const { config, warnings } = parseConfig({ ...required, STATUS_PORT: value }, 'source');
      expect(config.status).toEqual({ host: '127.0.0.1', port: 8080 });
      expect(warnings).toEqual([
        `STATUS_PORT: ${value} is ignored: Kubernetes sets it for the service "status". Set enableServiceLinks: false in the ` +
          'pod, or set STATUS_PORT in it.',
      ]);
    },
  );

  test('does not override the .env file', () => {
    const envFile = file('linked.env', 'STATUS_PORT=9090');
    expect(loadEnvironment({ envFile }, { STATUS_PORT: 'tcp://10.0.0.1:8080' })).toEqual({
      STATUS_PORT: '9090',
    });
  });

  test.each(['http://10.0.0.1:8080', 'tcp://10.0.0.1'])('is not %s', (value) => {
    expect(problemOf({ STATUS_PORT: value })).toContain('STATUS_PORT: expected a whole number');
  });
});

test.each([
  [
    '*/90 * * * *',
    'in the minute field, */90 has a step of 90, which is larger than the field, 0 to 59, so that only the first value would be left',
  ],
  ['0 0 31 2 *', 'which never occurs: none of its months has this day'],
])('EXPORT_SCHEDULE=%s is refused with a reason', (expression, reason) => {
  const expected = 'a cron expression of five fields, or six with seconds first';
  expect(problemOf({ EXPORT_SCHEDULE: expression })).toBe(
    `  - EXPORT_SCHEDULE: expected ${expected}, found "${expression}", ${reason}. Correct it, or unset it for the default, */5 * * * *.`,
  );
  expect(problemOf({ EXPORT_RECHECK_SCHEDULE: expression })).toContain(
    `expected ${expected}, or off, found "${expression}", ${reason}.`,
  );
});

describe('an unknown variable', () => {
  test.each([
    ['UIPATH_CLIENT_SECERT', 'UIPATH_CLIENT_SECRET'],
    ['EXPORT_PAGESIZE', 'EXPORT_PAGE_SIZE'],
    ['DATABASE_URL_FIEL', 'DATABASE_URL_FILE'],
    ['log_level', 'LOG_LEVEL'],
  ])('%s gives a warning that names %s, not its value', (name, nearest) => {
    const { warnings } = parseConfig({ ...required, [name]: 'private' }, 'source');
    expect(warnings).toEqual([expect.stringMatching(new RegExp(`^${name} .*${nearest}\\.$`))]);
    expect(warnings[0]).not.toContain('private');
  });

  test('that another program uses gives no warning', () => {
    const env = {
      HTTP_PROXY: 'p',
      HTTPS_PROXY: 'p',
      http_proxy: 'p',
      NO_PROXY: 'h',
      DATABASE_SERVICE_HOST: 'h',
      UIPATH_PORT: 'tcp://10.0.0.1:8080',
      EXPORT_PORT: 'udp://[fd00::1]:53',
    };
    expect(parseConfig({ ...required, ...env, PATH: '/bin' }, 'source').warnings).toEqual([]);
  });
});

describe('the environment', () => {
  test('overrides the file, and neither is changed', () => {
    const envFile = file('given.env', 'LOG_LEVEL=debug\nSTATUS_PORT="off" # comment\n');
    const processEnv = { LOG_LEVEL: 'warn' };
    const before = { ...process.env };
    expect(loadEnvironment({ envFile }, processEnv)).toEqual({ LOG_LEVEL: 'warn', STATUS_PORT: 'off' });
    expect(processEnv).toEqual({ LOG_LEVEL: 'warn' });
    expect({ ...process.env }).toEqual(before);
  });

  test('needs no .env, which is read if it exists', () => {
    const empty = mkdtempSync(join(directory, 'cwd-'));
    expect(loadEnvironment({ directory: empty }, { A: '1' })).toEqual({ A: '1' });
    writeFileSync(join(empty, '.env'), 'B=2');
    expect(loadEnvironment({ directory: empty }, { A: '1' })).toEqual({ A: '1', B: '2' });
  });

  test('is an error that names the file if --env-file is missing', () => {
    const envFile = join(directory, 'absent.env');
    const load = () => loadEnvironment({ envFile }, {});
    expect(load).toThrow(ExportError);
    expect(load).toThrow(`Cannot read ${envFile}: ENOENT: no such file or directory.`);
  });
});

describe('STATUS_TOKEN_FILE', () => {
  test('is read without its line break, and its path is kept', () => {
    const path = file('status-token', 'a-token\n');
    const { status } = configOf({ STATUS_TOKEN_FILE: path });
    expect(status).toEqual({ host: '127.0.0.1', port: 8080, token: { value: 'a-token', file: path } });
    expect(configOf({ STATUS_TOKEN: 'a-token' }).status?.token).toEqual({
      value: 'a-token',
      file: undefined,
    });
    expect(secretsOf(configOf({ STATUS_TOKEN_FILE: path }))).toContain('a-token');
  });

  test.each([
    ['is empty', '\n', 'which is empty'],
    ['is missing', null, 'which cannot be read (ENOENT: no such file or directory)'],
    ['holds a space', 'a token', 'expected a token without spaces or line breaks'],
    ['holds two lines', 'a\nb\n', 'expected a token without spaces or line breaks'],
  ])('that %s is a problem that does not show it', (_how, content, expected) => {
    const path = content === null ? '/nowhere/token' : file('status-token', content);
    const problem = problemOf({ STATUS_TOKEN_FILE: path });
    expect(problem).toContain('STATUS_TOKEN');
    expect(problem).toContain(expected);
    expect(problem).not.toContain('a token.');
  });
});

describe('.env.example', () => {
  const example = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  const entries = [...example.matchAll(/((?:^# .*\n)*)(?:^#?\w+=.*\n)*?^#?(\w+)=(.*)$/gm)];
  /** Read by compose.yaml alone. */
  const compose = ['POSTGRES_PASSWORD', 'GRAFANA_PASSWORD', 'GRAFANA_DATABASE_PASSWORD'];
  const lines = [...example.matchAll(/^(#?)(\w+)=(.*)$/gm)];

  test('contains every known variable once and nothing else', () => {
    expect(lines.map(([, , name]) => name).sort()).toEqual([...knownNames, ...compose].sort());
  });

  test('has the defaults and descriptions of the code', () => {
    for (const name of variableNames) {
      const entry = entries.find(([, , found]) => found === name)!;
      const comment = entry[1]!.replace(/\n?^# /gm, ' ').trim();
      expect([name, entry[3], comment]).toEqual([
        name,
        variableOf(name).default ?? '',
        variableOf(name).description,
      ]);
    }
  });

  test('sets only variables without a default', () => {
    expect(Object.keys(parse(example))).toEqual([...Object.keys(required), ...compose]);
  });

  test('is accepted once the required variables are set, with its defaults commented out or not', () => {
    const filledIn = Object.entries(required).reduce(
      (content, [name, value]) => content.replace(`\n${name}=\n`, `\n${name}=${value}\n`),
      example,
    );
    const inEffect = filledIn.replace(/^#(\w+=)/gm, '$1');
    const expected = parseConfig(required, 'source');
    expect(parseConfig(parse(filledIn), 'source')).toEqual(expected);
    expect(Object.keys(parse(inEffect))).toHaveLength(knownNames.length + compose.length);
    expect(parseConfig(parse(inEffect), 'source')).toEqual(expected);
  });
});
