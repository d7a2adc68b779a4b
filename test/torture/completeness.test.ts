import { describe, expect, test } from '@jest/globals';
import {
  countDeletedInside,
  findFalseClaims,
  findFalselyGone,
  findUnnoticed,
  type Gone,
  type Shown,
  type Stored,
} from './completeness.ts';

/** A row at a millisecond, shown from 0 on. */
const shown = (name: string, at: number, changes: Partial<Shown> = {}): Shown => ({
  ...{ fields: name, ticks: BigInt(at) * 10_000n, from: 0, to: undefined, isRetention: false },
  ...changes,
});
const deleted = (name: string, at: number, to = 50): Shown => shown(name, at, { to });
const retired = (name: string, at: number, to = 50): Shown => shown(name, at, { to, isRetention: true });
const stored = (names: string, runId = 1n): Stored[] => [...names].map((fields) => ({ fields, runId }));
const gone = (fields: string, state = 'gone', suspectedRunId = 2n): Gone => ({
  fields,
  state,
  suspectedRunId,
});

const [a, b, d] = [shown('a', 1), shown('b', 2), shown('d', 4)];

describe('an event noted as gone', () => {
  test.each<[string, Shown[], Gone[], string[]]>([
    ['is right if it was deleted behind the head', [a, b, deleted('c', 3)], [gone('c')], []],
    ['is wrong if the source shows it', [a, b, shown('c', 3)], [gone('c')], ['c']],
    [
      'is wrong if the source shows it again',
      [a, b, deleted('c', 3), shown('c', 3, { from: 60 })],
      [gone('c')],
      ['c'],
    ],
    ['is wrong if retention deleted it', [retired('c', 1), b, d], [gone('c')], ['c']],
    ['is not judged while it is only suspected', [a, b, shown('c', 3)], [gone('c', 'suspected')], []],
    ['is not judged once it was shown again', [a, b, shown('c', 3)], [gone('c', 'shown again')], []],
  ])('%s', (_name, spans, noted, expected) => {
    expect(findFalselyGone({ spans, stored: stored('abcd'), gone: noted })).toEqual(expected);
  });

  test('may be one of two twins, and not both', () => {
    const spans = [a, b, deleted('c', 3), shown('c', 3)];
    const both = stored('abcc');
    expect(findFalselyGone({ spans, stored: both, gone: [gone('c')] })).toEqual([]);
    expect(findFalselyGone({ spans, stored: both, gone: [gone('c'), gone('c')] })).toEqual(['c']);
  });
});

describe('a deleted event', () => {
  const facts = { stored: stored('abcd'), gone: [] as Gone[] };

  test.each<[string, Shown[], string[]]>([
    ['must be noticed behind the head', [a, b, deleted('c', 3), d], ['c']],
    ['must be noticed as the newest one', [a, b, deleted('c', 3)], ['c']],
    ['may have aged out right behind the oldest group', [a, deleted('c', 3), d], []],
    ['may have aged out inside the oldest group', [a, deleted('c', 1), d], []],
    [
      'may have aged out if the second group came later',
      [a, shown('b', 2, { from: 70 }), deleted('c', 3)],
      [],
    ],
    ['has aged out if retention took it', [a, b, retired('c', 3)], []],
    ['need not be noticed if it is shown again', [a, b, deleted('c', 3), shown('c', 3, { from: 60 })], []],
    ['need not be noticed if it was never stored', [a, b, deleted('e', 3)], []],
  ])('%s', (_name, spans, expected) => {
    expect(findUnnoticed({ ...facts, spans })).toEqual(expected);
  });

  test('is noticed when it is noted as gone, not while it is suspected', () => {
    const spans = [a, b, deleted('c', 3)];
    expect(findUnnoticed({ ...facts, spans, gone: [gone('c')] })).toEqual([]);
    expect(findUnnoticed({ ...facts, spans, gone: [gone('c', 'suspected')] })).toEqual(['c']);
  });

  test('of two twins must be noticed once', () => {
    const spans = [a, b, deleted('c', 3), shown('c', 3)];
    expect(findUnnoticed({ spans, stored: stored('abcc'), gone: [] })).toEqual(['c']);
    expect(findUnnoticed({ spans, stored: stored('abcc'), gone: [gone('c')] })).toEqual([]);
  });

  test('counts if it was stored, and if retention did not take it', () => {
    const spans = [a, deleted('b', 2), retired('c', 3), deleted('e', 5)];
    expect(countDeletedInside({ spans, stored: stored('abcd') })).toBe(1);
  });
});

describe('the claim to be complete', () => {
  const claim = { provenAt: 100, seenAt: 110, runId: 3n };

  test.each<[string, Shown[], string[]]>([
    ['is true if all is stored', [a, b], []],
    ['is false if a row was shown before, and is not stored', [a, shown('x', 3, { from: 99 })], ['x']],
    ['says nothing of rows that came afterwards', [a, shown('x', 3, { from: 100 })], []],
    ['says nothing of rows that were deleted', [a, deleted('x', 3)], []],
    ['is false if the run after stored the row', [a, shown('n', 3)], ['n']],
    ['may be wrong by one row for each one that was deleted unseen', [a, shown('x', 3), deleted('b', 2)], []],
    ['may not be wrong by more', [a, shown('x', 3), shown('y', 4), deleted('b', 2)], ['x', 'y']],
    ['may not be wrong for a row that retention took', [a, shown('x', 3), retired('b', 2)], ['x']],
    ['may not be wrong for a row that was deleted later', [a, shown('x', 3), deleted('b', 2, 120)], ['x']],
  ])('%s', (_name, spans, expected) => {
    const facts = { spans, stored: [...stored('ab'), ...stored('n', 4n)], gone: [] };
    expect(findFalseClaims([claim], facts)).toEqual(
      expected.map((name) => `run 3 said "complete" without ${name}`),
    );
  });

  test('may not be wrong for a deleted row that was already noticed', () => {
    const facts = { spans: [a, shown('x', 3), deleted('b', 2)], stored: stored('ab') };
    expect(findFalseClaims([claim], { ...facts, gone: [gone('b', 'suspected', 3n)] })).toHaveLength(1);
    expect(findFalseClaims([claim], { ...facts, gone: [gone('b', 'suspected', 4n)] })).toEqual([]);
  });
});
