import { describe, expect, test } from '@jest/globals';
import { type EventRow, makeEvent } from '../../src/simulator/events.ts';
import type { Row } from '../support/compare.ts';
import { storedIdOf } from '../support/compare.ts';
import { compareWithTruth } from './verdict.ts';

/** The stored row of an event, as it should be. */
function stored(event: EventRow, changes: Row = {}): Row {
  const row = {
    created_on_ticks: '16342134151964174',
    created_on_raw: event.createdOn,
    category: event.category,
    action: event.action,
    details_raw: event.auditLogDetails,
    user_name: event.userName,
    email: event.email,
    message: event.message,
    details_version: event.detailsVersion,
    source: event.source,
    raw: null,
    ordinal: 0,
    ...changes,
  };
  return { event_id: storedIdOf(row), ...row };
}

const [a, b] = [makeEvent('login', { variant: 1 }), makeEvent('login', { variant: 2 })];
const shown = [a, b].map((event) => JSON.stringify(event));

describe('the comparison with the truth', () => {
  test('has nothing against a table that is the source, in any order', () => {
    expect(compareWithTruth([stored(b), stored(a)], shown, [])).toEqual({
      lost: [],
      doubled: [],
      altered: [],
    });
  });

  test('a row that is shown and not stored is lost; one that was deleted is not', () => {
    expect(compareWithTruth([stored(a)], shown, []).lost).toEqual([expect.stringContaining(b.message!)]);
    expect(compareWithTruth([stored(a)], [shown[0]!], [shown[1]!]).lost).toEqual([]);
  });

  test('a row is doubled when it is stored more often than it was ever shown', () => {
    const twice = [stored(a), stored(a, { ordinal: 1 }), stored(b)];
    expect(compareWithTruth(twice, shown, []).doubled).toHaveLength(1);
    expect(compareWithTruth(twice, shown, [shown[0]!]).doubled).toEqual([]);
  });

  test('a byte that the source never sent, or an id that is not its own, is altered, and lost as well', () => {
    const wrongs = [
      stored(a, { details_raw: a.auditLogDetails?.replaceAll('\r', '') }),
      { ...stored(a), ordinal: 1 },
    ];
    for (const wrong of wrongs) {
      const found = compareWithTruth([wrong, stored(b)], shown, []);
      expect(found).toMatchObject({ lost: [expect.any(String)], doubled: [], altered: [expect.any(String)] });
    }
  });
});
