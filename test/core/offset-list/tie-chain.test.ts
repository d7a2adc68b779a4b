import { describe, expect, test } from '@jest/globals';
import type { SourceRow } from '../../../src/core/event.ts';
import { continueChain, startChain } from '../../../src/core/offset-list/tie-chain.ts';

/** Rows of one millisecond; equal letters are rows that are equal in all fields. */
function rowsOf(letters: string): SourceRow[] {
  return [...letters].map((text) => ({ ticks: 0n, rejected: { reason: 'test', text } }));
}

function pageOf(letters: string, skip: number, totalCount: number) {
  const rows = rowsOf(letters);
  return { skip, top: rows.length, rows, totalCount, requestedAt: new Date(0), sourceTime: undefined };
}

const STEADY = { brokenChains: 0, isUnsteady: false };
const UNSTEADY = { brokenChains: 0, isUnsteady: true };

describe('a page that continues a group of one millisecond', () => {
  test('adds rows that are equal to earlier ones: they are twins, if no row was seen to move', () => {
    const chain = startChain(0n, rowsOf('abcd'), pageOf('abcd', 0, 6));
    const continued = continueChain(chain, pageOf('cdab', 2, 6), STEADY)!;
    expect(continued.rows).toEqual(rowsOf('abcdab'));
    expect(continued.isProven).toBe(true);
  });

  test('adds them only as often as a page shows them, and proves nothing, if rows were seen to move', () => {
    const chain = startChain(0n, rowsOf('abcd'), pageOf('abcd', 0, 6));
    const continued = continueChain(chain, pageOf('cdaae', 2, 6), UNSTEADY)!;
    expect(continued.rows).toEqual(rowsOf('abcdae'));
    expect(continued.isProven).toBe(false);
    expect(continued.warning).toContain('their order changed');
  });

  test('adds new rows with proof even if rows were seen to move', () => {
    const chain = startChain(0n, rowsOf('abcd'), pageOf('abcd', 0, 6));
    const continued = continueChain(chain, pageOf('cdef', 2, 6), UNSTEADY)!;
    expect(continued.rows).toEqual(rowsOf('abcdef'));
    expect(continued.isProven).toBe(true);
  });
});
