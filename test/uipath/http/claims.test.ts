import { expect, test } from '@jest/globals';
import { createRedactor } from '../../../src/text/redaction.ts';
import { readPartition } from '../../../src/uipath/http/claims.ts';
import { openBench } from '../support.ts';

const GUID = 'b7006b1c-11c3-4a80-802e-fee0ebf9c360';
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwtOf = (claims: unknown) => `${encode({ alg: 'RS256' })}.${encode(claims)}.c2lnbmF0dXJl`;

test.each<[string, string, string | null]>([
  ['a JWT with prt_id', jwtOf({ prt_id: GUID }), GUID],
  ['a JWT with prt_id in capitals', jwtOf({ prt_id: GUID.toUpperCase() }), GUID],
  ['a JWT without prt_id', jwtOf({ sub: 'x' }), null],
  ['a JWT whose prt_id is no text', jwtOf({ prt_id: 5 }), null],
  ['a JWT whose prt_id is empty', jwtOf({ prt_id: '' }), null],
  ['a JWT whose prt_id is a sentence', jwtOf({ prt_id: 'not an id' }), null],
  ['a JWT whose prt_id is too long', jwtOf({ prt_id: 'a'.repeat(65) }), null],
  ['a JWT whose prt_id is the client secret', jwtOf({ prt_id: 'the-client-secret' }), null],
  ['claims that are null', jwtOf(null), null],
  ['claims that are a list', jwtOf([GUID]), null],
  ['claims that are no JSON', 'a.bm90IGpzb24.c', null],
  ['two parts', `${encode({ alg: 'none' })}.${encode({ prt_id: GUID })}`, null],
  ['a personal access token', 'rt_0123456789ABCDEF', null],
])('%s', (_, token, wanted) => {
  expect(readPartition(token, createRedactor(['the-client-secret']))).toBe(wanted);
});

test.each([
  [
    'https://cloud.uipath.com/acme/audit_/api/auditlogs',
    undefined,
    'https://cloud.uipath.com',
    '/acme/audit_/api/auditlogs',
  ],
  [
    'https://HOST.example:443/audit_/api/auditlogs/',
    undefined,
    'https://host.example',
    '/audit_/api/auditlogs',
  ],
  [
    'http://127.0.0.1:8080/x/acme/list?a=b',
    'http://127.0.0.1:8080/x',
    'http://127.0.0.1:8080/x',
    '/x/acme/list',
  ],
])(
  'a source at %s has the address without default port, query and last slash',
  async (auditUrl, baseUrl, url, path) => {
    const { source } = openBench(
      { url: 'http://127.0.0.1:9' },
      { auditUrl, baseUrl, credentials: { kind: 'token', accessToken: jwtOf({ prt_id: GUID }) } },
    );
    const identity = await source.identify({ signal: new AbortController().signal });
    expect(identity).toEqual({ url, path, partition: GUID });
    source.close();
  },
);
