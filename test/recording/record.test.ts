import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Exchange } from '../../src/core/exchange.ts';
import { parseRecording } from '../../src/recording/format.ts';
import { createRecording } from '../../src/recording/record.ts';

const ALICE = 'alice.quartz@volcano-corp.example';
const USER_ID = '7d0c1f7e-5a55-4b0e-9b1f-2f6f6f1c9a11';
const TENANT = 'ProdVolcano';

/** Values of an organization that must not be in its recording, in any encoding. */
const PLANTED = [
  'volcano',
  'Volcano Corp',
  TENANT,
  ALICE,
  ALICE.toUpperCase(),
  'alice.quartz',
  'Alice Quartz',
  'Quartz',
  'Zoë Färber',
  '山田太郎',
  USER_ID,
  USER_ID.replaceAll('-', ''),
  'gw17.volcano-corp.example',
  'volcano-corp',
  '203.0.113.77',
  '2001:db8:dead::beef',
  '48213377',
  '+49 30 1234567',
  'hunter2-secret',
  'client-id-of-volcano',
  'eyJhbGciOi.eyJwcnRfaWQi.c2lnbmF0dXJl',
  'QXBwU2Vzc2lvbg==',
  '0HN7GKQ2V9L3R:00000042',
  '2031-07-09T10:11:12.1234567Z',
  'C:\\Users\\aquartz\\bot.xaml',
];

const details = {
  User: { Name: 'Alice Quartz', Email: ALICE, Id: USER_ID, Phone: '+49 30 1234567' },
  Members: { [ALICE]: true, 'Zoë Färber': false, [USER_ID]: null, Quartz: 1 },
  Path: 'C:\\Users\\aquartz\\bot.xaml',
  Link: `https://gw17.volcano-corp.example:8443/${TENANT}/users/${USER_ID}?mail=${encodeURIComponent(ALICE)}#Quartz`,
  Numbers: [7, 48213377, -48213377, 0.5, true, null, ''],
  Text: `Alice Quartz (${ALICE}) signed in from 203.0.113.77 and [2001:db8:dead::beef]`,
  Encoded: [
    Buffer.from(ALICE).toString('base64'),
    encodeURIComponent('Zoë Färber'),
    'Zo\\u00eb F\\u00e4rber',
    '&#x41;lice',
  ],
  Nested: JSON.stringify({ Inner: JSON.stringify([{ Owner: '山田太郎', Address: '203.0.113.77' }]) }),
  At: '2031-07-09T10:11:12.1234567Z',
};

const row = {
  createdOn: '2031-01-02T03:04:05.1234567Z',
  category: 'User',
  action: 'Created',
  source: 'Portal',
  message: 'Alice Quartz created 山田太郎',
  userName: 'Alice Quartz',
  email: ALICE,
  detailsVersion: '1.0',
  auditLogDetails: JSON.stringify(details),
  ipAddress: '203.0.113.77',
  flags: [1, 22],
};

const headers = {
  'content-type': 'application/json; charset=utf-8',
  date: 'Tue, 02 Jan 2031 03:04:05 GMT',
  'set-cookie': ['AppSession=QXBwU2Vzc2lvbg==; domain=.volcano-corp.example; path=/', 'b=Quartz'],
  'x-request-id': '0HN7GKQ2V9L3R:00000042',
  'x-volcano-gateway': '203.0.113.77',
  'x-unknown-company': 'a',
  server: 'gw17.volcano-corp.example',
  via: '1.1 gw17.volcano-corp.example',
  'cache-control': 'no-cache, no-store',
};

function exchange(body: unknown, changes: Partial<Exchange> = {}): Exchange {
  return {
    method: 'GET',
    url: `https://gw17.volcano-corp.example:8443/volcano/${TENANT}/audit_/api/auditlogs?language=en&top=5&skip=0&secret=hunter2-secret`,
    requestHeaders: { Authorization: `Bearer ${PLANTED[20]}`, Accept: 'application/json' },
    form: undefined,
    status: 200,
    headers,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    ...changes,
  };
}

const token = exchange(
  {
    access_token: PLANTED[20],
    expires_in: 3600,
    token_type: 'Bearer',
    scope: 'PM.Audit.Read',
    id_token: 'hunter2-secret',
  },
  {
    method: 'POST',
    url: 'https://gw17.volcano-corp.example:8443/volcano/identity_/connect/token',
    form: 'grant_type=client_credentials&client_id=client-id-of-volcano&client_secret=hunter2-secret&scope=PM.Audit.Read',
  },
);

function record(exchanges: Exchange[]) {
  const recording = createRecording({
    exchanges,
    organization: 'volcano',
    auditUrl: exchange('').url,
    tokenUrl: token.url,
    confidential: ['client-id-of-volcano', 'hunter2-secret'],
    checks: [{ name: 'token', outcome: 'ok' }],
    program: '1.2.3 (abc)',
    recordedAt: new Date('2031-01-02T03:04:06Z'),
  });
  const text = JSON.stringify(recording, null, 2);
  expect(parseRecording(text, 'FILE')).toEqual(JSON.parse(text));
  return { text, recording, bodies: recording.exchanges.map(({ response }) => response.body as typeof page) };
}

const page = { totalCount: 123_456, results: [row, { ...row, userName: null, message: 'Another' }] };

/** The forms in which a value could be in a file. */
function formsOf(value: string): string[] {
  const escaped = JSON.stringify(value).slice(1, -1);
  const unicode = value.replace(
    /[^\x20-\x7e]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const base64 = [0, 1, 2].map((before) => {
    const bytes = Buffer.concat([Buffer.alloc(before), Buffer.from(value)]);
    return bytes.toString('base64').slice(Math.ceil((before * 8) / 6), Math.floor((bytes.length * 8) / 6));
  });
  const hex = Buffer.from(value).toString('hex');
  const forms = [
    value,
    escaped,
    JSON.stringify(escaped).slice(1, -1),
    unicode,
    encodeURIComponent(value),
    hex,
    ...base64,
  ];
  return forms.filter((form) => form.length >= 5);
}

test('no planted value is in the file, in any encoding', () => {
  const error = exchange(
    { message: `No access for ${ALICE}`, traceId: `00-${USER_ID}`, errorCode: 1601 },
    { status: 403 },
  );
  const portal = exchange(`<html><title>Volcano Corp</title>${ALICE}</html>`);
  const text = exchange(`upstream gw17.volcano-corp.example: Quartz`, { status: 502 });
  const listOfText = exchange([`${ALICE}`, 48213377]);
  const found = record([token, exchange(page), error, portal, text, listOfText]).text.toLowerCase();
  const leaks = PLANTED.flatMap(formsOf).filter((form) => found.includes(form.toLowerCase()));
  expect(leaks).toEqual([]);
});

test('what tells how UiPath responds is kept', () => {
  const { recording, bodies } = record([token, exchange(page)]);
  expect(recording).toMatchObject({
    organization: 'organization-1',
    auditPath: '/organization-1/segment-1/audit_/api/auditlogs',
    tokenPath: '/organization-1/identity_/connect/token',
    checks: [{ name: 'token', outcome: 'ok' }],
  });
  expect(recording.exchanges[0]).toMatchObject({
    request: { kind: 'token', form: { grant_type: 'client_credentials', scope: 'PM.Audit.Read' } },
    response: {
      body: { access_token: 'removed', expires_in: 3600, token_type: 'Bearer', scope: 'PM.Audit.Read' },
    },
  });
  expect(recording.exchanges[0]!.request.form).not.toHaveProperty('client_id');
  expect(recording.exchanges[1]!.request.url).toMatch(
    /^https:\/\/host-1\.example:\d{4}\/organization-1\/segment-1\/audit_.*top=5&skip=0&/,
  );
  expect(recording.exchanges[1]!.response).toMatchObject({
    status: 200,
    kind: 'json',
    bytes: Buffer.byteLength(JSON.stringify(page)),
    headers: {
      'content-type': headers['content-type'],
      date: headers.date,
      'cache-control': 'no-cache, no-store',
      'set-cookie': [expect.stringMatching(/^text-/), expect.stringMatching(/^text-/)],
    },
  });
  const names = Object.keys(recording.exchanges[1]!.response.headers);
  expect(names).toEqual([
    ...[
      'content-type',
      'date',
      'set-cookie',
      'x-request-id',
      'header-1',
      'header-2',
      'server',
      'via',
      'cache-control',
    ],
  ]);
  expect(bodies[1]!.totalCount).toBe(123_456);
  const { createdOn, category, action, source, detailsVersion } = row;
  expect(bodies[1]!.results[0]).toMatchObject({ createdOn, category, action, source, detailsVersion });
});

test('shape and types are kept, and the same value has one replacement everywhere', () => {
  const [recorded] = record([exchange(page)]).bodies[0]!.results as unknown as (typeof row)[];
  const found = JSON.parse(recorded!.auditLogDetails) as typeof details;
  expect(Object.keys(recorded!)).toEqual(Object.keys(row));
  expect(found.User.Name).toBe(recorded!.userName);
  expect(found.User.Email).toBe(recorded!.email);
  expect(recorded!.email).toMatch(/^user-\d+@host-\d+\.example$/);
  expect(found.User.Id).toMatch(/^00000000-0000-4000-8000-[\da-f]{12}$/);
  expect(Object.keys(found.Members)).toEqual([
    recorded!.email,
    expect.stringMatching(/^text-/),
    found.User.Id,
    expect.stringMatching(/^text-/),
  ]);
  expect(Object.values(found.Members)).toEqual([true, false, null, 1]);
  expect(found.Numbers.map((value) => [typeof value, String(value).replace(/\d/g, '9')])).toEqual(
    details.Numbers.map((value) => [typeof value, String(value).replace(/\d/g, '9')]),
  );
  expect(found.Numbers[2]).toBe(-Number(found.Numbers[1]));
  expect(found.Text).toContain(recorded!.email);
  expect(found.Text).toContain(recorded!.userName);
  expect(recorded!.message).toContain(recorded!.userName);
  expect(found.At).toMatch(/^2000-\d\d-\d\dT00:00:00\.0000000Z$/);
  expect(JSON.parse(JSON.parse(found.Nested).Inner)[0].Address).toBe(recorded!.ipAddress);
  expect(recorded!.ipAddress).toMatch(/^198\.18\.\d+\.\d+$/);
  expect(found.Link).toMatch(/^https:\/\/host-\d+\.example:\d{4}\//);
  expect(recorded!.flags).toEqual([1, expect.any(Number)]);
});

test('a name that becomes known later is replaced in the fields that are kept, too', () => {
  const first = { ...row, category: 'Quartz', userName: null, email: null, message: '', auditLogDetails: '' };
  const { bodies } = record([exchange({ totalCount: 2, results: [first, row] })]);
  expect(bodies[0]!.results[0]!.category).toMatch(/^text-/);
  expect(bodies[0]!.results[1]!.category).toBe('User');
});

/** Puts a name into each text and each name of a field. */
function plant(value: unknown): unknown {
  if (typeof value === 'string') return `${value}${NAME}${value}`;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plant);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [`${name} ${NAME}`, plant(item)]));
}

function typesOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value === null ? null : typeof value;
  return Array.isArray(value) ? value.map(typesOf) : Object.values(value).map(typesOf);
}

const NAME = 'Quartzine';

test('names of fields that differ only in capitals stay apart', () => {
  const [found] = record([
    exchange({ results: [{ 'A B': 1, 'a b': 2, [ALICE]: 3, [ALICE.toUpperCase()]: 4 }] }),
  ]).bodies[0]!.results;
  expect(Object.values(found!)).toEqual([1, 2, 3, 4]);
});

test('no text of any JSON is kept, and its shape is', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.boolean(), (value, isText) => {
      const planted = { field: plant(value) };
      const given = { ...row, auditLogDetails: isText ? JSON.stringify(planted) : planted };
      const { text, bodies } = record([exchange({ totalCount: 1, results: [given] })]);
      expect(text.toLowerCase()).not.toContain(NAME.toLowerCase());
      const [{ auditLogDetails: found }] = bodies[0]!.results as [typeof row];
      expect(typesOf(isText ? JSON.parse(found) : found)).toEqual(typesOf(planted));
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 200) },
  );
});

describe('bodies that are no list', () => {
  test.each([
    ['', { kind: 'empty' }],
    ['<html>', { kind: 'html', body: expect.stringMatching(/^text-\d+$/) }],
    ['Busy', { kind: 'text', body: expect.stringMatching(/^text-\d+$/) }],
    ['null', { kind: 'json', body: null }],
    [
      '\uFEFF{"totalCount":0,"results":null}',
      { kind: 'json', bom: true, body: { totalCount: 0, results: null } },
    ],
    ['{"error":"invalid_client"}', { kind: 'json', body: { error: 'invalid_client' } }],
    [
      '{"results":[null,"x",5]}',
      { kind: 'json', body: { results: [null, expect.stringMatching(/^text/), 5] } },
    ],
    ['{"__proto__":{"a":"b"},"totalCount":"x"}', { kind: 'json' }],
  ])('%j', (body, expected) => {
    const { recording } = record([exchange(body, { headers: {} })]);
    expect(recording.exchanges[0]!.response).toMatchObject({ ...expected, bytes: Buffer.byteLength(body) });
  });

  test('deep nesting ends in a text', () => {
    const depth = 5_000;
    const body = `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    expect(record([exchange(body)]).text).toContain('nested too deeply');
  });
});

test.each([
  ['{', /is not JSON/],
  ['null', /has no "format"/],
  ['{"format":"uipath-audit-export recording 1"}', /lacks a field/],
])('a file that is no recording is refused: %s', (text, message) => {
  expect(() => parseRecording(text, 'x.json')).toThrow(message);
});
