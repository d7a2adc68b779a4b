import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExportError } from '../../../src/core/errors.ts';
import type { SourceRow } from '../../../src/core/event.ts';
import { formatTicks, MAX_TICKS, MIN_TICKS } from '../../../src/core/ticks.ts';
import { parsePage } from '../../../src/uipath/classic/parse-page.ts';
import { processorMsOf } from '../../support/processor.ts';

/** How much more than usual each property is tried. */
const EFFORT = Number(process.env.PROPERTY_RUNS ?? 1500) / 1500;
const runs = (usual: number) => ({ numRuns: Math.ceil(usual * EFFORT) });
const LONG = 60_000 * Math.max(1, EFFORT);

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

test(
  'every row of a page is parsed as sent, valid ones field by field and invalid ones verbatim',
  () => {
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
      runs(1000),
    );
  },
  LONG,
);

/** Any JSON text, spelt in ways that JSON.stringify would not: numbers beyond a double, a key twice, thousands of levels. */
const anyValue: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom('null', 'true', '0', '-0', '1e400000', '1.00000000000000000001', '9'.repeat(400), '""'),
    hostileText.chain(spell),
    fc
      .tuple(fc.constantFrom('[', '{"a":'), fc.constantFrom(10, 999, 1001, 5000))
      .map(([open, depth]) => `${open.repeat(depth)}1${(open === '[' ? ']' : '}').repeat(depth)}`),
    fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join(' , ')}]`),
    fc
      .array(fc.tuple(fc.constantFrom('a', '__proto__', 'toString'), tie('value')), { maxLength: 3 })
      .map((members) => `{${members.map(([key, text]) => `"${key}":${text}`).join(',')}}`),
  ),
})).value;

const oddKey = fc.oneof(
  fc.constantFrom(
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'toJSON',
    '',
    'CreatedOn',
    'results',
    'length',
    '0',
  ),
  hostileText,
  fc.constantFrom('createdOn', ...FIELDS),
);

/** An object of any members, as a rule with a readable createdOn: whether it is an event is for `isEvent` to say. */
const oddRow = fc
  .tuple(
    fc.option(createdOn, { freq: 8 }),
    fc.array(fc.tuple(oddKey.chain(spell), anyValue), { maxLength: 5 }),
    fc.nat(),
  )
  .map(([at, members, place]) => {
    const texts = members.map(([key, text]) => `${key}:${text}`);
    if (at !== null) texts.splice(place % (texts.length + 1), 0, `"createdOn":"${at}"`);
    return `{${texts.join(',')}}`;
  });

/** By JSON.parse and the design's definition. */
function isEvent(row: Record<string, unknown>, text: string): boolean {
  const isReadable = typeof row.createdOn === 'string' && /^\d{4}-\d\d-\d\dT/.test(row.createdOn);
  return (
    isReadable &&
    FIELDS.every((field) => !Object.hasOwn(row, field) || isText(row[field])) &&
    levelsOf(text) <= 1000
  );
}

const isText = (value: unknown) => value === null || typeof value === 'string';

/** Of the text, so that a value that a later one of the same key replaces counts as well. */
function levelsOf(text: string): number {
  let level = 0;
  let deepest = 0;
  for (const [part] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/gs)) {
    if (part === '[' || part === '{') deepest = Math.max(deepest, ++level);
    else if (!part.startsWith('"')) level--;
  }
  return deepest;
}

function checkOdd(found: SourceRow, text: string): void {
  const row = JSON.parse(text) as Record<string, unknown>;
  const { event, rejected } = found;
  expect(event !== undefined).toBe(isEvent(row, text));
  if (rejected) expect(rejected.text).toBe(text);
  if (!event) return;
  for (const field of FIELDS) {
    const sent = Object.hasOwn(row, field) ? row[field] : null;
    expect((event as unknown as Record<string, unknown>)[field]).toBe(sent);
  }
  if (event.raw !== null) {
    expect(event.raw).toBe(text);
    return;
  }
  // Where the text is not kept, nothing in it is nested or said twice, and the columns and extra give all of it back.
  expect(text.match(/"(?:[^"\\]|\\.)*"\s*:/gs)).toHaveLength(Object.keys(row).length);
  const unknown = Object.entries(row).filter(([key]) => key !== 'createdOn' && !FIELDS.includes(key));
  expect(Object.entries(JSON.parse(event.extra ?? '{}'))).toEqual(unknown);
  expect(`${event.extra}`.isWellFormed() && !`${event.extra}`.includes('\\u0000')).toBe(true);
}

test(
  'an object of any members is an event or kept verbatim, and its neighbours are unchanged',
  () => {
    const rows = fc.array(fc.oneof(oddRow, goodRow, badRow), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rows, fc.boolean(), (sent, hasMark) => {
        const texts = sent.map((row) => (typeof row === 'string' ? row : row.text));
        const body = `${hasMark ? '\uFEFF' : ''}{"totalCount":${sent.length},"results":[${texts.join(',')}]}`;
        const parsed = parsePage(Buffer.from(body));
        if (parsed.unreadable !== undefined) throw new Error(parsed.unreadable);
        expect(parsed.rows).toHaveLength(sent.length);
        sent.forEach((row, i) => {
          const isObject = typeof row === 'string' && readsAsObject(row);
          if (isObject) checkOdd(parsed.rows[i]!, row);
          else check(parsed.rows[i]!, row);
        });
        expect(({} as Record<string, unknown>).polluted).toBeUndefined();
      }),
      runs(1000),
    );
  },
  LONG,
);

function readsAsObject(text: string): boolean {
  try {
    return text.startsWith('{') && typeof JSON.parse(text) === 'object';
  } catch {
    return false;
  }
}

test(
  'a body cut anywhere is never taken for a shorter list',
  () => {
    fc.assert(
      fc.property(page, ({ body }) => {
        const bytes = Buffer.from(body);
        for (let length = 0; length < bytes.length; length++) {
          if (parsePage(bytes.subarray(0, length)).unreadable === undefined)
            throw new Error(`taken at ${length}`);
        }
      }),
      runs(30),
    );
  },
  LONG,
);

test(
  'for any damaged body the parser throws only errors about the source',
  () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(page, damage, ({ body }, changes) => {
        const bytes = Buffer.from(body);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        expectOrderly(bytes);
      }),
      runs(2000),
    );
  },
  LONG,
);

test(
  'for any bytes the parser throws only errors about the source',
  () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
    );
    fc.assert(fc.property(bytes, expectOrderly), runs(1000));
  },
  LONG,
);

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
])('five million characters of %s are read in linear time', (_what, unit) => {
  const body = Buffer.from(`{"totalCount":1,"results":["${unit.repeat(5_000_000 / unit.length)}`);
  // Measured, because jest's own limit ends no test that does not wait.
  const tookMs = processorMsOf(() => expect(parsePage(body)).toHaveProperty('unreadable'));
  expect(tookMs).toBeLessThan(5_000);
});
