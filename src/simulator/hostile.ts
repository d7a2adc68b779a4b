import { detailsText, makeEvent } from './events.ts';

/** A row that has broken, or could break, a program that stores it. */
export interface HostileRow {
  /** Unique; describes what is unusual. */
  name: string;
  /** Exact JSON text; no JSON serializer would write some of it. */
  text: string;
  /**
   * `rejected`: not an object, a missing or unreadable `createdOn`, or one of the nine known fields of a wrong type.
   * Everything else is an `event`.
   */
  expected: 'event' | 'rejected';
}

/** JSON text by field; `undefined` omits the field. */
type FieldTexts = Record<string, string | undefined>;

const NULLABLE = [
  'category',
  'action',
  'auditLogDetails',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'source',
];
const DEPTH = 100_000;
const DEEP = '['.repeat(DEPTH) + ']'.repeat(DEPTH);
const THIRTY_DIGITS = '123456789012345678901234567890';

/** Returns about 200 rows, the same at every call, each with its own `createdOn` unless that is the unusual part. */
export function hostileRows(): HostileRow[] {
  const events = [
    ...oddStrings(),
    ...absentFields(),
    ...oddDetails(),
    ...unknownFields(),
    ...oddTexts(),
    ...readableTimes(),
  ];
  const rejected = [...wrongTypes(), ...unreadableTimes()];
  let number = 0;
  const toRow = (expected: HostileRow['expected']) => (odd: { name: string; fields: FieldTexts }) => ({
    name: odd.name,
    text: rowText(odd.fields, number++),
    expected,
  });
  return [
    ...events.map(toRow('event')),
    ...duplicateFields(),
    ...rejected.map(toRow('rejected')),
    ...['null', '5', '"text"', 'true', '[]', '[{"createdOn":"2023-05-01T00:00:00Z"}]', DEEP].map((text) => ({
      name: `a row that is ${text.length > 40 ? 'a deep array' : text}`,
      text,
      expected: 'rejected' as const,
    })),
  ];
}

function rowText(fields: FieldTexts, number: number): string {
  const createdOn = new Date(Date.UTC(2023, 4, 1) + number * 1000).toISOString().replace('Z', '0001+00:00');
  const plain = Object.entries(makeEvent('login', { createdOn })).map(([name, value]) => [
    name,
    JSON.stringify(value),
  ]);
  const all: FieldTexts = { ...Object.fromEntries(plain), ...fields };
  const members = Object.entries(all).flatMap(([name, text]) =>
    text === undefined ? [] : [`${JSON.stringify(name)}:${text}`],
  );
  return `{${members.join(',')}}`;
}

type Odd = { name: string; fields: FieldTexts };

function oddStrings(): Odd[] {
  const oddities = {
    'a NUL': '"before\\u0000after"',
    'a lone high surrogate': '"before\\ud83dafter"',
    'a lone low surrogate': '"before\\ude00after"',
    'an empty string': '""',
    'a string of blanks': '" \\t "',
  };
  const more = {
    'surrogates in the wrong order': '"\\ude00\\ud83d"',
    'a high surrogate at the end': '"abc\\udbff"',
    'an escaped emoji': '"\\ud83d\\ude00"',
    'line separators, a byte order mark and a non-character': '"\\u2028\\u2029\\ufeff\\uffff"',
    'every control character but NUL': JSON.stringify(
      String.fromCharCode(...Array.from({ length: 31 }, (_, i) => i + 1)),
    ),
    'a COPY end marker and backslashes': JSON.stringify('\\.\n\\N\t\\\\'),
    'SQL and HTML': JSON.stringify(`'); drop table audit.events; --<script>alert("1")</script>`),
    '1 MB of text': JSON.stringify('ü'.repeat(524_288)),
  };
  return [
    ...Object.entries(oddities).flatMap(([odd, text]) =>
      NULLABLE.map((field) => ({ name: `${odd} in ${field}`, fields: { [field]: text } })),
    ),
    ...Object.entries(more).map(([odd, text]) => ({
      name: `${odd} in userName`,
      fields: { userName: text },
    })),
  ];
}

function absentFields(): Odd[] {
  const all = (text: string | undefined): FieldTexts =>
    Object.fromEntries(NULLABLE.map((field) => [field, text]));
  return [
    ...NULLABLE.map((field) => ({ name: `null in ${field}`, fields: { [field]: 'null' } })),
    ...NULLABLE.map((field) => ({ name: `no ${field}`, fields: { [field]: undefined } })),
    { name: 'null in all eight nullable fields', fields: all('null') },
    { name: 'nothing but createdOn', fields: all(undefined) },
    { name: 'empty strings in all eight nullable fields', fields: all('""') },
  ];
}

function oddDetails(): Odd[] {
  const details: Record<string, string> = {
    'details that are not JSON': 'User logged in from 10.0.0.1',
    'details that are JSON cut in the middle': '{\r\n "userName": "A',
    'details that are a JSON scalar': '5',
    'details that are the JSON null': 'null',
    'details with a NUL escape': '{"a":"x\\u0000y"}',
    'details with a NUL escape in a key': '{"\\u0000":1}',
    'details with an escaped backslash before u0000': '{"path":"C:\\\\u0000"}',
    'details with a lone surrogate escape': '{"a":"\\ud800"}',
    'details with duplicate keys': '{"a":1,"a":2,"b":{"c":1,"c":2}}',
    'details with a 30-digit number': `{"a":${THIRTY_DIGITS},"b":0.${THIRTY_DIGITS}}`,
    'details with the number 1e400000': '{"a":1e400000}',
    'details with -0 and trailing zeros': '{"a":-0,"b":1.10,"c":1E2}',
    'details nested 100,000 levels deep': DEEP,
    'details with a byte order mark': '\ufeff{"a":1}',
    'details with NaN': '{"a":NaN}',
    'details with a __proto__ key': '{"__proto__":{"polluted":true}}',
    'details with a key of 100,000 characters': `{"${'k'.repeat(100_000)}":1}`,
    'details of 1 MB of JSON': detailsText(
      Array.from({ length: 18_000 }, (_, i) => ({ rule: `ST-NMG-${i}`, level: 'Warning' })),
    ),
    'details of 1 MB that are not JSON': 'not JSON, '.repeat(104_858),
  };
  return Object.entries(details).map(([name, text]) => ({
    name,
    fields: { auditLogDetails: JSON.stringify(text) },
  }));
}

function unknownFields(): Odd[] {
  const values: Record<string, string> = {
    string: '"new"',
    null: 'null',
    number: '5',
    'number of 30 digits': THIRTY_DIGITS,
    'number 1e400000': '1e400000',
    'number with trailing zeros': '1.10',
    'nested object': '{"a":[1,{"b":null}]}',
    'object with duplicate keys': '{"a":1,"a":2}',
    'array nested 100,000 levels deep': DEEP,
    'string with a NUL': '"a\\u0000b"',
    'string with a lone surrogate': '"\\ud800"',
  };
  const names = ['', '__proto__', 'constructor', 'a\u0000b', 'CreatedOn', 'ticks', 'id'];
  return [
    ...Object.entries(values).map(([kind, text]) => ({
      name: `an unknown field: ${kind}`,
      fields: { tenantInfo: text },
    })),
    ...names.map((name) => ({
      name: `an unknown field named ${JSON.stringify(name)}`,
      fields: Object.fromEntries([[name, '"x"']]),
    })),
    {
      name: '500 unknown fields',
      fields: Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`field${i}`, `"${i}"`])),
    },
  ];
}

function oddTexts(): Odd[] {
  return [
    { name: 'letters written as escapes', fields: { action: '"\\u004cogin\\/\\u0041"' } },
    { name: 'blanks and line ends around a value', fields: { action: ' \r\n\t "Login" \r\n' } },
  ];
}

/** Built as text, since no object can have duplicate keys. */
function duplicateFields(): HostileRow[] {
  const rows: Record<string, (plain: string) => string> = {
    'a known key twice, the same value': (plain) => `{${plain},"action":"Login"}`,
    'a known key twice, another value': (plain) => `{"action":"Logout",${plain}}`,
    'createdOn twice, both readable': (plain) => `{"createdOn":"2023-05-02T00:00:00Z",${plain}}`,
    'an unknown key twice': (plain) => `{${plain},"x":1,"x":2}`,
    'a known key first of a wrong type': (plain) => `{"action":5,${plain}}`,
  };
  return Object.entries(rows).map(([name, text], i) => ({
    name,
    text: text(rowText({}, 5000 + i).slice(1, -1)),
    expected: 'event',
  }));
}

function readableTimes(): Odd[] {
  const digits = Array.from(
    { length: 8 },
    (_, n) => `2023-06-01T10:00:0${n}${n ? '.' : ''}${'1234567'.slice(0, n)}Z`,
  );
  const others = [
    '2023-06-02T10:00:00.5000000+00:00',
    '2023-06-02T10:00:00.1234567+05:30',
    '2023-06-02T10:00:00.1234567-08:00',
    '2023-06-02T10:00:00-00:00',
    '2024-02-29T23:59:59.9999999Z',
    '2099-12-31T23:59:59.9999999+00:00',
    '0001-01-01T00:00:00.0000000+00:00',
    '9999-12-31T23:59:59.9999999+00:00',
    '1969-12-31T23:59:59.9999999Z',
    '2023-06-03T10:00:00.12345678Z',
    '2023-06-03T10:00:01.123456789+00:00',
    '2023-06-03T10:00:02.999999999999999999999999999999Z',
    '2023-06-03T10:00:03+0000',
    '2023-06-03T10:00:04+00',
    '2023-06-03T10:00:05.1234567-0530',
    '2023-06-03T10:00:06-08',
    '2023-06-03 10:00:07Z',
    '2023-06-03 10:00:08.123456789+0100',
    '2023-06-03t10:00:09z',
  ];
  return [...digits, ...others].map((time) => ({
    name: `createdOn ${time}`,
    fields: { createdOn: `"${time}"` },
  }));
}

function unreadableTimes(): Odd[] {
  const times = [
    ...[
      '',
      'yesterday',
      '2023-06-01',
      '2023-06-01T10:00:00',
      '2023-06-01 10:00:00',
      '2023-06-01T10:00:00,5Z',
      '2023-06-01T10:00:00+0',
      '2023-06-01T10:00:00Z ',
      '2023-02-30T10:00:00Z',
    ],
    ...['2023-02-29T10:00:00Z', '2023-06-01T24:00:00Z', '2023-06-01T10:00:60Z', '2023-06-01T10:00:00+25:00'],
    ...[
      '0000-01-01T00:00:00Z',
      '10000-01-01T00:00:00Z',
      '2023-06-01 10:00',
      '/Date(1685613600000)/',
      ' 2023-06-01T10:00:00Z',
    ],
    ...['2023-06-01T10:00:00Z\u0000', '٢٠٢٣-06-01T10:00:00Z', '2023-13-01T10:00:00Z', '2023-00-10T10:00:00Z'],
  ];
  return [
    ...times.map((time) => ({
      name: `createdOn ${JSON.stringify(time)}`,
      fields: { createdOn: JSON.stringify(time) },
    })),
    { name: 'a lone surrogate in createdOn', fields: { createdOn: '"2023-06-01T10:00:00Z\\ud800"' } },
    { name: 'no createdOn', fields: { createdOn: undefined } },
    { name: 'null in createdOn', fields: { createdOn: 'null' } },
  ];
}

function wrongTypes(): Odd[] {
  const values = { number: '1.0', boolean: 'true', object: '{"a":1}', array: '["a"]', 'deep array': DEEP };
  return ['createdOn', ...NULLABLE].flatMap((field) =>
    Object.entries(values)
      .filter(([type]) => type !== 'deep array' || field === 'auditLogDetails')
      .map(([type, text]) => ({ name: `${field} of type ${type}`, fields: { [field]: text } })),
  );
}
