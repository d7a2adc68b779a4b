import { describe, expect, test } from '@jest/globals';
import type { SourceRow } from '../../../src/core/event.ts';
import {
  confirmsEnd,
  endOf,
  isSameEnd,
  mayBeEnd,
  provesEnd,
} from '../../../src/core/offset-list/list-end.ts';
import type { Page } from '../../../src/core/offset-list/page.ts';
import { eventAt } from '../../support/batch.ts';

/** Row n of a list, a second after the one before. */
function row(n: number): SourceRow {
  const event = eventAt(`2026-01-01T00:00:${String(n).padStart(2, '0')}Z`);
  return { ticks: event.createdOnTicks, event };
}

/** Rows `skip` to `end` of a list. */
function page(skip: number, end: number, rest: Partial<Page> = {}): Page {
  const rows = Array.from({ length: end - skip }, (_, i) => row(skip + i));
  return { skip, top: 10, rows, totalCount: end, requestedAt: new Date(0), sourceTime: undefined, ...rest };
}

const FIVE = { end: 5, lastRow: row(4) };

describe('a page that begins with a known row proves the end', () => {
  test.each<[string, Page, number, typeof FIVE | undefined, boolean]>([
    ['if it holds fewer rows than the server has sent', page(0, 5), 10, undefined, true],
    ['not if it holds as many as the server has ever sent', page(0, 5), 5, undefined, false],
    ['not if it holds as many rows as requested', page(0, 5, { top: 5 }), 10, undefined, false],
    ['not if it holds as many rows as were sent for', page(0, 5, { limit: 5 }), 10, undefined, false],
    ['not if the total claims more', page(0, 5, { totalCount: 6 }), 10, undefined, false],
    ['if the total claims fewer', page(0, 5, { totalCount: 2 }), 10, undefined, true],
    [
      'if the total claims more, once the same end was seen before',
      page(2, 5, { totalCount: 6 }),
      10,
      FIVE,
      true,
    ],
    ['not if the end seen before was another', page(2, 6, { totalCount: 7 }), 10, FIVE, false],
    ['not if the same end was seen in a full page', page(2, 5, { totalCount: 6 }), 3, FIVE, false],
  ])('%s', (_, of, largest, expectedEnd, proves) => {
    expect(provesEnd(of, { largest, expectedEnd })).toBe(proves);
  });
});

test.each<[string, Page, number, boolean]>([
  ['a full page that the total says is the last', page(0, 10), 10, true],
  ['a short page, whatever the total claims', page(0, 5, { totalCount: 99 }), 10, true],
  ['no full page before the total', page(0, 10, { totalCount: 11 }), 10, false],
  ['no page as large as any before the total', page(0, 5, { totalCount: 11 }), 5, false],
])('the end may be %s', (_, of, largest, may) => {
  expect(mayBeEnd(of, largest)).toBe(may);
});

describe('the request for the last row confirms the end', () => {
  test.each<[string, Page, boolean]>([
    ['if it shows exactly that row', page(4, 5), true],
    ['whatever the total claims', page(4, 5, { totalCount: 99 }), true],
    ['not if another row follows', page(4, 6), false],
    ['not if another row is there', { ...page(4, 5), rows: [row(9)] }, false],
    ['not if nothing is there: the list has shrunk', { ...page(4, 4), totalCount: 3 }, false],
    ['if nothing is behind it, where the server sends one row at a time', page(5, 5), true],
    ['not if a row is behind it', page(5, 6), false],
    ['not at another offset', page(3, 5), false],
  ])('%s', (_, of, confirms) => {
    expect(confirmsEnd(FIVE, of)).toBe(confirms);
  });
});

test('an end is the same if the last row and its offset are', () => {
  expect(endOf(page(2, 5))).toBe(5);
  expect(isSameEnd(FIVE, page(2, 5))).toBe(true);
  expect(isSameEnd(FIVE, page(2, 6))).toBe(false);
  expect(isSameEnd(FIVE, { ...page(2, 5), rows: [row(2), row(3), row(8)] })).toBe(false);
  expect(isSameEnd(FIVE, page(5, 5))).toBe(false);
});
