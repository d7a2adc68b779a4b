import { describe, expect, test } from '@jest/globals';
import { createRejectedLog, MAX_REASONS } from '../../src/runs/rejected-log.ts';
import { createRedactor, WITHHELD } from '../../src/text/redaction.ts';

const SECRET = 'Tr0ub4dor-and-more';

function linesOf(rows: { reason: string; text: string }[]): unknown[] {
  const lines: unknown[] = [];
  const log = createRejectedLog(
    { warn: (fields: unknown) => lines.push(fields) } as never,
    createRedactor([SECRET]),
  );
  for (const row of rows) log.add(row);
  log.write();
  log.write();
  return lines;
}

describe('the log of rejected rows', () => {
  test('has one line per reason, with the number of rows and the first as an example', () => {
    const rows = Array.from({ length: 600 }, (_, i) => ({ reason: i % 3 ? 'a' : 'b', text: `{"n":${i}}` }));
    expect(linesOf(rows)).toEqual([
      { reason: 'b', rows: 200, example: '{"n":0}' },
      { reason: 'a', rows: 400, example: '{"n":1}' },
    ]);
    expect(linesOf([])).toEqual([]);
  });

  test('names a bounded number of reasons and counts the rest', () => {
    const rows = Array.from({ length: 1000 }, (_, i) => ({ reason: `reason ${i}`, text: '{}' }));
    const lines = linesOf(rows);
    expect(lines).toHaveLength(MAX_REASONS + 1);
    expect(lines.at(-1)).toEqual({ reason: 'other reasons', rows: 1000 - MAX_REASONS });
  });

  test.each([
    ['a long row, cut', 'x'.repeat(100_000), 'x'.repeat(300)],
    ['a row with a secret', `{"a":"${SECRET}"}`, WITHHELD],
    ['a row with a secret across the cut', `${'x'.repeat(290)}${SECRET}`, WITHHELD],
    ['a row with a bearer token across the cut', `${'x'.repeat(280)} Bearer ${'t'.repeat(60)}`, undefined],
  ])('quotes %s', (_, text, expected) => {
    const [{ example }] = linesOf([{ reason: 'a', text }]) as [{ example: string }];
    expect(example.length).toBeLessThanOrEqual(300);
    if (expected !== undefined) expect(example).toBe(expected);
    expect(example).not.toMatch(/t{5}|Tr0u/);
  });
});
