import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExportError } from '../../src/core/errors.ts';
import type { SourceRow } from '../../src/core/event.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS } from '../../src/core/ticks.ts';
import { parsePage } from '../../src/uipath/parse-page.ts';

const FIELDS = [
  'category',
  'action',
  'source',
  'userName',
  'email',
  'message',
  'detailsVersion',
  'auditLogDetails',
];

const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/);
const hostileText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\0', '\uD800', '"', '\\', '\\"', '},{', ']}', '"results":[', '\u{1F600}', "it's"),
  fc
    .array(fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', '\n', 'a', 'é'))
    .map((parts) => parts.join('')),
);

/** A JSON string that says `text`, with a random part of its characters escaped. */
const spell = (text: string) =>
  fc.array(fc.boolean(), { minLength: text.length, maxLength: text.length }).map((escapes) => {
    const characters = [...text.split('')].map((character, i) => {
      const mustEscape =
        character < ' ' || character === '"' || character === '\\' || !character.isWellFormed();
      if (!escapes[i] && !mustEscape) return character;
      return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
    });
    return `"${characters.join('')}"`;
  });

const member = (key: string, value: fc.Arbitrary<string>) =>
  fc
    .tuple(spell(key), space, space, value, space)
    .map(([name, a, b, text, c]) => `${a}${name}${b}:${b}${text}${c}`);

const createdOn = fc.bigInt({ min: MIN_TICKS, max: MAX_TICKS }).map(formatTicks);

interface Sample {
  text: string;
  fields: Record<string, string | null>;
  createdOn: string;
}

const fields = fc.record(Object.fromEntries(FIELDS.map((field) => [field, fc.option(hostileText)])), {
  requiredKeys: [],
}) as fc.Arbitrary<Sample['fields']>;

const goodRow: fc.Arbitrary<Sample> = fc.tuple(createdOn, fields).chain(([at, texts]) =>
  fc
    .shuffledSubarray(Object.entries({ createdOn: at, ...texts }), {
      minLength: 1 + Object.keys(texts).length,
    })
    .chain((entries) =>
      fc.tuple(
        ...entries.map(([key, value]) => member(key, value === null ? fc.constant('null') : spell(value))),
      ),
    )
    .map((members) => ({ text: `{${members.join(',')}}`, fields: texts, createdOn: at })),
);

const badRow = fc.oneof(
  fc.json().filter((text) => !text.startsWith('{')),
  fc.constantFrom(
    '{]',
    '{"a" 1}',
    '{"createdOn":7}',
    'nil',
    '"\\x"',
    '{"a":1}}',
    '\u0001',
    '{"createdOn":"x"}x',
  ),
  fc
    .tuple(
      createdOn,
      fc.json().filter((text) => !/^(null|")/.test(text)),
    )
    .map(([at, value]) => `{"createdOn":"${at}","email":${value.trim()}}`),
);

const page = fc
  .record({
    rows: fc.array(fc.oneof(goodRow, badRow), { maxLength: 6 }),
    totalCount: fc.nat(),
    isCountFirst: fc.boolean(),
    other: fc.option(
      fc.tuple(
        fc.string().filter((key) => key !== 'results' && key !== 'totalCount'),
        fc.json(),
      ),
    ),
    space,
  })
  .map(({ rows, totalCount, isCountFirst, other, space }) => {
    const texts = rows.map((row) => (typeof row === 'string' ? row : row.text));
    const results = `"results":${space}[${space}${texts.join(`${space},${space}`)}${space}]`;
    const count = `${space}"totalCount"${space}:${totalCount}${space}`;
    const members = isCountFirst ? [count, results] : [results, count];
    if (other) members.unshift(`${JSON.stringify(other[0])}:${other[1]}`);
    return { rows, totalCount, body: `{${members.join(',')}}` };
  });

function check(found: SourceRow, sent: Sample | string): void {
  if (typeof sent === 'string') {
    expect(found.rejected?.text).toBe(sent);
    return;
  }
  const missing = Object.fromEntries(FIELDS.map((field) => [field, null]));
  const isStorable = Object.values(sent.fields).every(
    (text) => !text?.includes('\0') && (text ?? '').isWellFormed(),
  );
  expect(found.event).toEqual({
    ...missing,
    ...sent.fields,
    createdOnRaw: sent.createdOn,
    createdOnTicks: found.ticks,
    extra: null,
    raw: isStorable ? null : sent.text,
  });
  expect(formatTicks(found.ticks!)).toBe(sent.createdOn);
}

test('every row of a page comes out as sent, good ones field by field and bad ones word for word', () => {
  fc.assert(
    fc.property(page, ({ rows, totalCount, body }) => {
      const parsed = parsePage(Buffer.from(body));
      if (parsed.unreadable !== undefined) throw new Error(parsed.unreadable);
      expect(parsed.totalCount).toBe(totalCount);
      expect(parsed.rows).toHaveLength(rows.length);
      rows.forEach((row, i) => {
        check(parsed.rows[i]!, row);
      });
    }),
    { numRuns: 1000 },
  );
});

test('a body cut anywhere is never taken for a shorter list', () => {
  fc.assert(
    fc.property(page, ({ body }) => {
      const bytes = Buffer.from(body);
      for (let length = 0; length < bytes.length; length++) {
        if (parsePage(bytes.subarray(0, length)).unreadable === undefined)
          throw new Error(`taken at ${length}`);
      }
    }),
    { numRuns: 30 },
  );
});

test('no damage to a body makes the parser throw anything but a complaint about the source', () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(page, damage, ({ body }, changes) => {
      const bytes = Buffer.from(body);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      expectOrderly(bytes);
    }),
    { numRuns: 2000 },
  );
});

test('no bytes at all make the parser throw anything but a complaint about the source', () => {
  const bytes = fc.oneof(
    fc.uint8Array(),
    fc.json().map((text) => Buffer.from(text)),
  );
  fc.assert(fc.property(bytes, expectOrderly), { numRuns: 1000 });
});

function expectOrderly(bytes: Uint8Array): void {
  try {
    const parsed = parsePage(bytes);
    for (const row of parsed.unreadable === undefined ? parsed.rows : []) {
      expect(row.event === undefined).not.toBe(row.rejected === undefined);
    }
  } catch (error) {
    if (!(error instanceof ExportError) || error.code !== 'source-invalid') throw error;
  }
}

test.each([
  ['brackets', '['],
  ['quotation marks', '"'],
  ['backslashes in a string', '\\'],
  ['empty members', '"":'],
])(
  'five million characters of %s are read in linear time',
  (_what, unit) => {
    const body = `{"totalCount":1,"results":["${unit.repeat(5_000_000 / unit.length)}`;
    expect(parsePage(Buffer.from(body))).toHaveProperty('unreadable');
  },
  5000,
);
