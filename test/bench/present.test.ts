import { expect, test } from '@jest/globals';
import { formatBytes, formatNumber, formatSpread, renderView, viewOfTargets } from '../../bench/present.ts';
import { spreadOf } from '../../bench/statistics.ts';

test.each([
  [1234567, 0, '1,234,567'],
  [0.5, 2, '0.50'],
  [49.96, 1, '50.0'],
])('%d with %d digits is %s', (value, digits, shown) => {
  expect(formatNumber(value, digits)).toBe(shown);
});

test('a spread shows its range only where there is one', () => {
  expect(formatSpread(spreadOf([2]), 1)).toBe('2.0');
  expect(formatSpread(spreadOf([2, 1, 4]), 1)).toBe('2.0 (1.0–4.0)');
});

test.each([
  [900, '900 B'],
  [20_480, '20 kB'],
  [52_428_800, '50 MB'],
])('%d bytes are %s', (bytes, shown) => {
  expect(formatBytes(bytes)).toBe(shown);
});

test('a table names its rows on the left and says where nothing was measured', () => {
  const lines = renderView({ title: 'Title', head: ['', 'value'], rows: [['a row', undefined]] }).split('\n');
  expect(lines[0]).toBe('Title');
  expect(lines.find((line) => line.includes('a row'))).toBe('│ a row │     - │');
});

test('a target that could not be measured is neither met nor missed', () => {
  const targets = [true, false, undefined].map((isMet) => ({ what: 'w', wanted: 'x', found: 'y', isMet }));
  expect(viewOfTargets(targets).rows.map((row) => row[3])).toEqual(['met', 'not met', undefined]);
  expect(viewOfTargets(targets, { isShort: true }).rows.map((row) => row[3])).toEqual(
    Array(3).fill(undefined),
  );
});
