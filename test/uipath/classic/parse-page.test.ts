import { describe, expect, test } from '@jest/globals';
import type { SourceRow } from '../../../src/core/event.ts';
import { parseTicks } from '../../../src/core/ticks.ts';
import { parsePage } from '../../../src/uipath/classic/parse-page.ts';

const createdOn = '2021-10-14T13:10:15.1964174+00:00';
const ticks = parseTicks(createdOn)!;
const row = {
  createdOn,
  category: 'User',
  action: 'Login',
  auditLogDetails: '{\r\n "userName": "System Administrator admin",\r\n "email": ""\r\n}',
  userName: 'System Administrator',
  email: '',
  message: "User 'System Administrator admin' logged in",
  detailsVersion: '1.0',
  source: 'Cis',
};
const { createdOn: _createdOn, ...fields } = row;
const event = { ...fields, createdOnTicks: ticks, createdOnRaw: createdOn, extra: null, raw: null };

function parse(body: string | Uint8Array) {
  return parsePage(typeof body === 'string' ? Buffer.from(body) : body);
}

function rowsOf(body: string | Uint8Array): SourceRow[] {
  const page = parse(body);
  if (page.unreadable !== undefined) throw new Error(page.unreadable);
  return page.rows;
}

/** The row with this text, read between two good ones, which must come out whole. */
function between(text: string): SourceRow {
  const good = JSON.stringify(row);
  const [before, middle, after, ...more] = rowsOf(`{"totalCount":3,"results":[${good}, ${text} ,${good}]}`);
  expect([before, after, more]).toEqual([{ ticks, event }, { ticks, event }, []]);
  return middle!;
}

const withField = (field: string, value: string) =>
  `{"createdOn":"${createdOn}",${JSON.stringify(field)}:${value}}`;

describe('the response', () => {
  test('the documented response, including white space', () => {
    const body = JSON.stringify({ totalCount: 29, results: [row, row] }, null, 4).replaceAll('\n', '\r\n');
    expect(parse(`\t${body}\r\n `)).toEqual({
      totalCount: 29,
      rows: [
        { ticks, event },
        { ticks, event },
      ],
    });
  });

  test('a byte order mark is passed over', () => {
    expect(parse('\uFEFF{"totalCount":0,"results":[]}')).toEqual({ totalCount: 0, rows: [] });
  });

  test('members may stand in any order, be unknown, be escaped, and hold what looks like results', () => {
    const trap = '{"results":[1,2],"totalCount":7}';
    const body =
      `{"next":${trap},"text":"\\"results\\":[","\\u0072esults":[${withField('nested', trap)}],` +
      `"list":[${trap}],"totalCount":5}`;
    expect(parse(body)).toMatchObject({
      totalCount: 5,
      rows: [{ ticks, event: { extra: `{"nested":${trap}}` } }],
    });
  });

  test('null results are an empty list', () => {
    expect(parse('{"totalCount":4,"results":null}')).toEqual({ totalCount: 4, rows: [] });
  });

  test.each([
    ['9007199254740993', Number.MAX_SAFE_INTEGER],
    ['1e300', Number.MAX_SAFE_INTEGER],
    ['12.0', 12],
  ])('a totalCount of %s counts as %i', (text, totalCount) => {
    expect(parse(`{"totalCount":${text},"results":[]}`)).toMatchObject({ totalCount });
  });

  test.each([
    ['{"results":[]}', 'a "totalCount" that is missing'],
    ['{"totalCount":null,"results":[]}', 'a "totalCount" that is null'],
    ['{"totalCount":"29","results":[]}', 'a "totalCount" that is a string'],
    ['{"totalCount":-1,"results":[]}', 'a "totalCount" of -1'],
    ['{"totalCount":1.5,"results":[]}', 'a "totalCount" of 1.5'],
    ['{"totalCount":1e999,"results":[]}', 'a "totalCount" of Infinity'],
    ['{"totalCount":[],"results":[]}', 'a "totalCount" that is an array'],
    ['{"totalCount":1}', 'a "results" that is missing'],
    ['{"totalCount":1,"results":{}}', 'a "results" that is an object'],
    ['{"totalCount":1,"results":"[]"}', 'a "results" that is a string'],
    ['{"totalCount":1,"results":[],"results":[]}', '"results" twice'],
    ['{"totalCount":1,"totalCount":2,"results":[]}', '"totalCount" twice'],
    ['[]', 'with an array'],
    ['null', 'with null'],
    ['"text"', 'with a string'],
  ])('%s is not a response of the list', (body, found) => {
    expect(() => parse(body)).toThrow(found);
    expect(() => parse(body)).toThrow(expect.objectContaining({ code: 'source-invalid' }));
  });

  test.each([
    ['', 'the body is empty'],
    ['\uFEFF\uFEFF{"totalCount":0,"results":[]}', 'the body of 35 bytes is not JSON'],
    ['upstream connect error', 'the body of 22 bytes is not JSON'],
    ['{"totalCount":1,"results":[{"createdOn"', 'the body of 39 bytes is incomplete or damaged JSON'],
    ['{"totalCount":1,"results":[]} trailing', 'the body of 38 bytes is incomplete or damaged JSON'],
    ['{"totalCount":1x,"results":[]}', 'the body of 30 bytes is incomplete or damaged JSON'],
    ['{"totalCount":1,"results":nil}', 'the body of 30 bytes is incomplete or damaged JSON'],
    ['{"totalCount":1,"results":[]]}', 'the body of 30 bytes is incomplete or damaged JSON'],
  ])('%j is unreadable', (body, unreadable) => {
    expect(parse(body)).toEqual({ unreadable });
  });
});

describe('a row', () => {
  test('a missing field is null, and an empty string is not', () => {
    const missing = { ...event, email: '' };
    for (const field of ['category', 'action', 'source', 'userName', 'message', 'detailsVersion'] as const) {
      Object.assign(missing, { [field]: null });
    }
    expect(between(`{"createdOn":"${createdOn}","email":"","auditLogDetails":null}`)).toEqual({
      ticks,
      event: { ...missing, auditLogDetails: null },
    });
  });

  test.each([
    ['no JSON', '{"createdOn": nope}', 'not valid JSON'],
    ['a wrong bracket', '{"createdOn":"x"]', 'not valid JSON'],
    ['a bracket too many', `${JSON.stringify(row)}}`, 'not valid JSON'],
    ['two rows without a comma', '{"a":1} {"a":2}', 'not valid JSON'],
    ['a raw control character', withField('email', '"\u0000"'), 'not valid JSON'],
    ['nothing', '', 'not valid JSON'],
    ['null', 'null', 'not a JSON object but null'],
    ['an array', '[{}, [] ]', 'not a JSON object but an array'],
    ['a number', '12e3', 'not a JSON object but a number'],
    ['a string', '"},{\\"createdOn"', 'not a JSON object but a string'],
    ['no createdOn', '{"email":"a"}', 'createdOn is missing'],
    ['a null createdOn', '{"createdOn":null}', 'createdOn is null'],
    ['a number as createdOn', '{"createdOn":1634217015}', 'createdOn is a number'],
    [
      'an unreadable createdOn',
      '{"createdOn":"yesterday"}',
      'createdOn is not a date-time with an offset from UTC',
    ],
  ])('%s is kept verbatim without ticks', (_what, text, reason) => {
    expect(between(text)).toEqual({ ticks: undefined, rejected: { reason, text } });
  });

  test.each(Object.keys(fields))('a %s that is no string is rejected in its place', (field) => {
    const text = withField(field, '{ "a": [1] }');
    const reason = `${field} is an object, neither a string nor null`;
    expect(between(text)).toEqual({ ticks, rejected: { reason, text } });
  });

  test('a row nested beyond what jsonb takes is rejected in its place', () => {
    const text = withField('deep', `${'['.repeat(200_000)}${']'.repeat(200_000)}`);
    expect(between(text)).toEqual({ ticks, rejected: { reason: 'nested deeper than 1000 levels', text } });
  });
});

describe('what would take more memory than the body is long', () => {
  const many = 1_000_001;

  test.each([
    ['commas', ','.repeat(many)],
    ['empty objects', `{}${',{}'.repeat(many)}`],
  ])('more than a million rows, of %s, are refused', (_what, rows) => {
    expect(() => parse(`{"totalCount":1,"results":[${rows}]}`)).toThrow(
      expect.objectContaining({ code: 'source-invalid', message: expect.stringContaining('1000000 rows') }),
    );
  });

  test.each([
    ['arrays within arrays', `${'['.repeat(many)}${']'.repeat(many)}`],
    ['objects', withField('x', `[{}${',{}'.repeat(many)}]`)],
    ['members', `{"a":1${',"a":1'.repeat(many)}}`],
  ])('a row of more than a million %s is kept verbatim, unparsed', (_what, text) => {
    expect(between(text)).toEqual({
      ticks: undefined,
      rejected: { reason: 'not read: more than 1000000 values', text },
    });
  });

  test.each([
    ['totalCount', `{"totalCount":${'['.repeat(many)}${']'.repeat(many)},"results":[]}`],
    ['results', `{"totalCount":1,"results":${'{"a":'.repeat(many)}1${'}'.repeat(many)}}`],
    ['anything', `${'['.repeat(many)}${']'.repeat(many)}`],
  ])('%s in its place is not read either', (_where, body) => {
    expect(parse(body)).toHaveProperty('unreadable');
  });
});

describe('the exact text is kept where the columns cannot give it back', () => {
  test.each([
    [
      'unknown fields that are plain',
      '"a":"b", "c" : null,"d":true,"e":-12',
      '{"a":"b","c":null,"d":true,"e":-12}',
      false,
    ],
    [
      'a field named __proto__',
      '"__proto__":"x","constructor":"y"',
      '{"__proto__":"x","constructor":"y"}',
      false,
    ],
    ['a nested object', '"a":{"b":1}', '{"a":{"b":1}}', true],
    ['an array', '"a":[]', '{"a":[]}', true],
    ['a fraction', '"a":1.5', '{"a":1.5}', true],
    ['a number of 30 digits', '"a":123456789012345678901234567890', '{"a":1.2345678901234568e+29}', true],
    ['a number that reads as an integer', '"a":1.00000000000000000001', '{"a":1}', true],
    ['minus zero', '"a":-0', '{"a":0}', true],
    ['a repeated key', '"email":"b"', null, true],
    ['a repeated key in another spelling', '"\\u0065mail":"b"', null, true],
    ['NUL in an unknown field', '"a":"\\u0000"', '{"a":"\\u0000"}', true],
    ['NUL in the name of a field', '"\\u0000":"a"', '{"\\u0000":"a"}', true],
    ['a lone surrogate in an unknown field', '"a":"\\uD800"', '{"a":"\\ud800"}', true],
  ])('%s', (_what, members, extra, isKept) => {
    const text = `{"email":"a","createdOn":"${createdOn}",${members}}`;
    expect(between(text).event).toMatchObject({ extra, raw: isKept ? text : null });
  });

  test.each(Object.keys(fields))('NUL or a lone surrogate in %s', (field) => {
    for (const hostile of ['"a\\u0000"', '"\\uDC00\\uD800"']) {
      const text = withField(field, hostile);
      expect(between(text).event).toMatchObject({ [field]: JSON.parse(hostile), raw: text });
    }
    const harmless = withField(field, '"\\u0027\\uD83D\\uDE00\\\\u0000"');
    expect(between(harmless).event).toMatchObject({ [field]: "'\u{1F600}\\u0000", raw: null });
  });
});

describe('bytes that are not UTF-8', () => {
  const good = Buffer.from(JSON.stringify({ ...row, email: 'Ä€\u{1F600}' }));
  const page = (bad: Buffer) =>
    Buffer.concat([
      Buffer.from('{"totalCount":3,"results":['),
      good,
      Buffer.from(','),
      bad,
      Buffer.from(','),
      good,
      Buffer.from(']}'),
    ]);

  test.each([
    ['a Latin-1 letter', [0xe9]],
    ['an encoded surrogate', [0xed, 0xa0, 0x80]],
    ['an overlong quotation mark', [0xc0, 0xa2]],
    ['half a character', [0xf0, 0x9f]],
  ])('%s costs its own row only', (_what, bytes) => {
    const bad = Buffer.concat([
      Buffer.from(`{"createdOn":"${createdOn}","email":"`),
      Buffer.from(bytes),
      Buffer.from('"}'),
    ]);
    const neighbour = { ticks, event: { ...event, email: 'Ä€\u{1F600}' } };
    expect(rowsOf(page(bad))).toEqual([
      neighbour,
      {
        ticks,
        rejected: {
          reason: 'not valid UTF-8; its bytes are given as ISO-8859-1',
          text: bad.toString('latin1'),
        },
      },
      neighbour,
    ]);
  });

  test('a bad byte outside the rows costs none', () => {
    const body = Buffer.concat([
      Buffer.from('{"x":"'),
      Buffer.from([0xff]),
      Buffer.from('","totalCount":1,"results":['),
      good,
      Buffer.from(']}'),
    ]);
    expect(rowsOf(body)).toMatchObject([{ event: { email: 'Ä€\u{1F600}' } }]);
  });
});
