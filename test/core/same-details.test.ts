/** When two texts of details say the same. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { canonicalDetails } from '../../src/core/same-details.ts';

const isSame = (a: string | null, b: string | null) => canonicalDetails(a) === canonicalDetails(b);

/** The value in another form: members backwards, white space, escaped characters, numbers as `12.0e0`. */
function rewrite(value: unknown): string {
  if (typeof value === 'number')
    return Number.isInteger(value) ? `${value}.0`.replace(/^(.*e.*)\.0$/, '$1') : `${value}`;
  if (typeof value === 'string') return escaped(value);
  if (Array.isArray(value)) return `[\r\n${value.map(rewrite).join(' ,\t')}\r\n]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).reverse();
  return `{ ${members.map(([name, member]) => `${escaped(name)} : ${rewrite(member)}`).join(',\n')} }`;
}

function escaped(text: string): string {
  const codes = Array.from({ length: text.length }, (_, i) =>
    text.charCodeAt(i).toString(16).padStart(4, '0'),
  );
  return `"${codes.map((code) => `\\u${code}`).join('')}"`;
}

describe('details that are JSON', () => {
  test('say the same in any order of members, white space, escapes and forms of a number', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const text = JSON.stringify(value);
        expect(canonicalDetails(rewrite(value))).toBe(canonicalDetails(text));
        expect(canonicalDetails(JSON.stringify(value, null, 2))).toBe(canonicalDetails(text));
      }),
    );
  });

  test('of other values do not', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
        const [a, b] = [JSON.stringify(one), JSON.stringify(other)];
        fc.pre(!Object.is(one, other) && JSON.stringify(sorted(one)) !== JSON.stringify(sorted(other)));
        expect(isSame(a, b)).toBe(false);
      }),
    );
  });

  test.each([
    ['1', '1.0'],
    ['100', '1e2'],
    ['-0', '0'],
    ['0.001', '1E-3'],
    ['[10]', '[1.0e+1]'],
    ['12345678901234567890', '1234567890123456789e1'],
    ['"\\u0041"', '"A"'],
    ['"\\/"', '"/"'],
    ['{"a":{"x":1,"y":2},"b":[]}', '{ "b": [ ], "a": {"y":2, "x":1} }'],
  ])('%s and %s say the same', (a, b) => {
    expect(isSame(a, b)).toBe(true);
  });

  test.each([
    ['12345678901234567890', '12345678901234567891'],
    ['1', '"1"'],
    ['"n1e0"', '1'],
    ['1', '10'],
    ['1', '-1'],
    ['[1,2]', '[2,1]'],
    ['{}', '[]'],
    ['{"a":null}', '{}'],
    ['""', '" "'],
    ['{"a":1}', '{"A":1}'],
    ['"\\r\\n"', '"\\n"'],
    ['null', ''],
  ])('%s and %s do not', (a, b) => {
    expect(isSame(a, b)).toBe(false);
  });

  test('nested deeper than the stack are compared as text', () => {
    const deep = '['.repeat(200_000) + ']'.repeat(200_000);
    expect(isSame(deep, deep)).toBe(true);
    expect(isSame(deep, `${deep} `)).toBe(false);
  });
});

test('other text says the same with any line ends, and nothing else', () => {
  expect(isSame('one\r\ntwo\rthree', 'one\ntwo\nthree')).toBe(true);
  for (const other of ['one\n\ntwo\nthree', 'one two\nthree', 'one\ntwo\nthree ', null, ''])
    expect(isSame('one\ntwo\nthree', other)).toBe(false);
  expect(isSame(null, null)).toBe(true);
  expect(isSame(null, '')).toBe(false);
  expect(isSame('text {}', '{}')).toBe(false);
});

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => [name, sorted(member)]);
}
