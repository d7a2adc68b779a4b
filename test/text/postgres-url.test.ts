import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { explainPostgresUrl, parsePostgresUrl, secretsOfPostgresUrl } from '../../src/text/postgres-url.ts';

const text = fc.string({ unit: 'binary', maxLength: 30 }).filter((value) => value.isWellFormed());
const host = fc.record({
  host: fc.constantFrom('db.example.com', '127.0.0.1', '::1', '', '/var/run/postgresql'),
  port: fc.oneof(fc.constant(''), fc.integer({ min: 0, max: 65_535 }).map(String)),
});

function write(parts: {
  user: string;
  password: string;
  database: string;
  hosts: { host: string; port: string }[];
}): string {
  const hosts = parts.hosts.map(({ host, port }) => {
    const written = host.includes(':') ? `[${host}]` : encodeURIComponent(host);
    return port === '' ? written : `${written}:${port}`;
  });
  const login = `${encodeURIComponent(parts.user)}:${encodeURIComponent(parts.password)}`;
  return `postgres://${login}@${hosts.join(',')}/${encodeURIComponent(parts.database)}?sslmode=require`;
}

test('what is percent-encoded is read back unchanged', () => {
  const parts = fc.record({
    user: text,
    password: text,
    database: text,
    hosts: fc.array(host, { minLength: 1, maxLength: 3 }),
  });
  fc.assert(
    fc.property(parts, (given) => {
      expect(parsePostgresUrl(write(given))).toEqual({
        ...given,
        parameters: new Map([['sslmode', 'require']]),
      });
      if (given.password !== '') expect(secretsOfPostgresUrl(write(given))).toContain(given.password);
    }),
  );
});

test.each([
  ['postgres://', { user: '', password: '', hosts: [{ host: '', port: '' }], database: '' }],
  [
    'postgresql:///audit?host=/tmp',
    { user: '', password: '', hosts: [{ host: '', port: '' }], database: 'audit' },
  ],
  ['POSTGRES://u@h', { user: 'u', password: '', hosts: [{ host: 'h', port: '' }], database: '' }],
  [
    'postgres://u:p@ss@h:1/d',
    { user: 'u', password: 'p@ss', hosts: [{ host: 'h', port: '1' }], database: 'd' },
  ],
  ['postgres://u:p:q@h/d', { user: 'u', password: 'p:q', hosts: [{ host: 'h', port: '' }], database: 'd' }],
])('%s', (url, expected) => {
  expect(parsePostgresUrl(url)).toMatchObject(expected);
});

test.each([
  'mysql://h/d',
  'postgres:/h/d',
  'postgres://u:p/ss@h/d',
  'postgres://u:p#ss@h/d',
  'postgres://u:p?ss@h/d',
  'postgres://u:1?ss@h/d',
  'postgres://u:p%zz@h/d',
  'postgres://h:70000/d',
  'postgres://h:x/d',
  'postgres://::1/d',
  'postgres://[::1/d',
  '',
])('%s is no such URL', (url) => {
  expect(parsePostgresUrl(url)).toBeUndefined();
});

test('an explanation contains no part of the text', () => {
  const begins = fc.constantFrom(
    'jdbc:',
    'postgresql+x://',
    'socket:',
    '/',
    'host=',
    'service = ',
    'mysql://',
  );
  fc.assert(
    fc.property(begins, (begin) =>
      expect(explainPostgresUrl(`${begin}Tr0ub4dor-1`) ?? '').not.toContain('Tr0ub4dor'),
    ),
  );
});
