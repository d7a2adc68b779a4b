/** A part of the enumeration that fits the gate. `npm run enumerate` plays the whole. */
import { describe, expect, test } from '@jest/globals';
import { type EnumerationOptions, enumerate, type Mode } from './enumerate.ts';

const NO_FAULTS = {
  'falsely proven': 0,
  'falsely gone': 0,
  'not stored': 0,
  'not gone': 0,
  doubled: 0,
  'not proven': 0,
  endless: 0,
};

/** Requests of a run at most, beside those of reading the list. */
const MAX_REQUESTS = 60;

function expectNoFault(options: EnumerationOptions): void {
  const { examples, faults, isComplete, overBudget, maxRequests } = enumerate(options);
  expect(examples).toEqual([]);
  expect(faults).toEqual(NO_FAULTS);
  expect({ isComplete, overBudget }).toEqual({ isComplete: true, overBudget: 0 });
  expect(maxRequests).toBeLessThan(MAX_REQUESTS);
}

describe('every list of up to 3 rows, every placement of changes between any two requests of two runs', () => {
  test('with 2 changes among 2 rows', () => {
    expectNoFault({ maxRows: 2, changes: 2, cap: 5 });
  });

  test('with a scrub', () => {
    expectNoFault({ maxRows: 3, changes: 1, cap: 4, withScrub: true });
  });

  test.each<Mode>([
    'plain',
    'twins',
    'prefetch',
    'hole',
    'hand',
    'remainder',
    'retired',
    'total-1',
    'total+1',
    'total-cap',
    'rejected',
  ])('with a change, %s', (mode) => {
    expectNoFault({ maxRows: 3, changes: 1, cap: 5, mode });
  });

  test('with a change and a lagging replica', () => {
    expectNoFault({ maxRows: 2, changes: 1, cap: 5, mode: 'lag', ops: ['append', 'late', 'inside'] });
  });

  test('with a change and responses of at most 3 rows, which hold no large group', () => {
    expectNoFault({
      maxRows: 4,
      changes: 1,
      cap: 3,
      withoutTies: true,
      ops: ['append', 'head', 'inside', 'newest'],
    });
  });

  test.each<Mode>(['plain', 'twins', 'prefetch'])('with a re-rendering and another change, %s', (mode) => {
    expectNoFault({
      maxRows: 2,
      changes: 2,
      cap: 5,
      mode,
      ops: ['render', 'append', 'late', 'head', 'inside'],
    });
    expectNoFault({ maxRows: 3, changes: 1, cap: 4, mode, ops: ['render'] });
  });

  test('finds a fault: a store that suspects nothing', () => {
    const { faults } = enumerate({
      maxRows: 2,
      changes: 1,
      cap: 5,
      mode: 'hand',
      runs: 1,
      breakStore: 'never suspects',
    });
    expect(Object.values(faults).reduce((sum, count) => sum + count)).toBeGreaterThan(0);
  });
});
