/** What a response means for the stored rows of its span. */
import { describe, expect, test } from '@jest/globals';
import type { AuditEvent } from '../../src/core/event.ts';
import { type IdentifiedEvent, identifyGroup } from '../../src/core/identity.ts';
import { type Judgement, judge, type StoredRow } from '../../src/core/judge.ts';
import { placeOfTicks } from '../../src/core/place.ts';
import type { Shown } from '../../src/core/store.ts';
import { eventAt, ticksAt } from '../support/batch.ts';

const at = (second: number) => `2026-01-01T00:00:${String(second).padStart(2, '0')}.0000000Z`;
const placeAt = (second: number) => ticksAt(at(second));
/** Events alike in identity; only the name tells them apart. */
const named = (userName: string, second = 1) => eventAt(at(second), { userName });

function storedRows(
  events: readonly (AuditEvent | IdentifiedEvent)[],
  rest: Partial<StoredRow> = {},
): StoredRow[] {
  return identified(events).map(({ event, eventId, ordinal }) => ({
    eventId,
    ticks: event.createdOnTicks,
    ordinal,
    content: event,
    rendering: event,
    batch: 1n,
    supersededBy: undefined,
    absence: undefined,
    isSuspectedNow: false,
    settlesAt: undefined,
    ...rest,
  }));
}

/** Identified in groups of one time. */
function identified(events: readonly (AuditEvent | IdentifiedEvent)[]): IdentifiedEvent[] {
  const groups = new Map<bigint, AuditEvent[]>();
  for (const given of events) {
    const event = 'event' in given ? given.event : given;
    groups.set(event.createdOnTicks, [...(groups.get(event.createdOnTicks) ?? []), event]);
  }
  return [...groups.values()].flatMap((group) => identifyGroup(group));
}

function shown(events: readonly AuditEvent[], rest: Partial<Shown> = {}): Shown {
  return {
    span: { from: placeAt(0), to: undefined },
    events: identified(events),
    rejected: [],
    others: { events: [], rejected: [] },
    oldest: undefined,
    ...rest,
  };
}

const isEqual = ({ event }: IdentifiedEvent, { content }: StoredRow) => event.userName === content.userName;
const judged = (of: Shown, stored: StoredRow[], rest: Partial<Parameters<typeof judge>[2]> = {}): Judgement =>
  judge(of, stored, { head: undefined, isEqual, ...rest });
const namesOf = (rows: readonly StoredRow[]) => rows.map(({ content }) => content.userName);
const changesOf = ({ changed }: Judgement) => changed.map(({ event, ordinal }) => [event.userName, ordinal]);

describe('events alike in identity', () => {
  test('are paired by equal content first: Bob keeps his ordinal if Alice is deleted', () => {
    const stored = storedRows([named('Alice'), named('Bob')]);
    const result = judged(shown([named('Bob')]), stored);
    expect(changesOf(result)).toEqual([]);
    expect(namesOf(result.suspected)).toEqual(['Alice']);
    expect(result.fresh.length).toBe(0);
  });

  test('are paired in order of the ordinal where no content is equal', () => {
    const stored = storedRows([named('Alice'), named('Bob')]);
    const result = judged(shown([named('Carol'), named('Dave')]), stored);
    expect(changesOf(result)).toEqual([
      ['Carol', 0],
      ['Dave', 1],
    ]);
    expect([result.suspected, result.fresh]).toEqual([[], []]);
  });

  test('take a free ordinal if they are more than stored, and leave those stored as they are', () => {
    const stored = storedRows([named('Bob'), named('Carol')]);
    // By content alone Alice would be the first one.
    const result = judged(shown([named('Alice'), named('Bob'), named('Carol')]), stored);
    expect(changesOf(result)).toEqual([['Alice', 2]]);
    expect(result.fresh.length).toBe(1);
    expect(result.oldestChange).toBe(placeAt(1));
  });

  test('take the ordinal of a row that is not stored, before a stored one', () => {
    const [, second] = storedRows([named('Alice'), named('Bob')]);
    const result = judged(shown([named('Bob'), named('Carol')]), [second!]);
    expect(changesOf(result)).toEqual([['Carol', 0]]);
  });

  test('byte-identical ones stay as many as are shown', () => {
    const stored = storedRows([named('Bob'), named('Bob'), named('Bob')]);
    const result = judged(shown([named('Bob'), named('Bob')]), stored);
    expect([changesOf(result), namesOf(result.suspected)]).toEqual([[], ['Bob']]);
    expect(changesOf(judged(shown([named('Bob'), named('Bob'), named('Bob')]), stored.slice(0, 1)))).toEqual([
      ['Bob', 1],
      ['Bob', 2],
    ]);
  });

  test('shown in part change no stored one, and are new only if they are more than stored', () => {
    const stored = storedRows([named('Alice'), named('Bob')]);
    const part = (events: AuditEvent[]) =>
      judged(shown([], { span: undefined, others: { events: identified(events), rejected: [] } }), stored);
    for (const events of [[named('Carol')], [named('Bob')], [named('Bob'), named('Carol')]])
      expect([changesOf(part(events)), part(events).suspected]).toEqual([[], []]);
    expect(changesOf(part([named('Alice'), named('Bob'), named('Carol')]))).toEqual([['Carol', 2]]);
  });

  test('of the same millisecond and other ticks are not alike', () => {
    const other = eventAt('2026-01-01T00:00:01.0000001Z', { userName: 'Alice' });
    const result = judged(shown([named('Alice'), other]), storedRows([named('Alice')]));
    expect(changesOf(result)).toEqual([['Alice', 0]]);
    expect(result.oldestChange).toBe(placeOfTicks(other.createdOnTicks));
  });
});

describe('a stored event that is not shown', () => {
  const list = [1, 2, 3, 4].map((second) => named('A', second));
  const without = (second: number) => list.filter((_, i) => i + 1 !== second);

  test('is suspected, and confirmed by a later run only', () => {
    const [one, two, ...rest] = storedRows(list);
    expect(judged(shown(without(2)), [one!, two!, ...rest]).suspected).toEqual([two]);
    const suspected = { ...two!, absence: 'suspected' as const };
    const later = judged(shown(without(2)), [one!, suspected, ...rest]);
    expect([later.suspected, later.confirmed]).toEqual([[], [suspected]]);
    const same = judged(shown(without(2)), [one!, { ...suspected, isSuspectedNow: true }, ...rest]);
    expect([same.suspected, same.confirmed]).toEqual([[], []]);
  });

  test.each(['suspected', 'gone', 'former source'] as const)(
    'and was %s is noted when it is shown again',
    (absence) => {
      const [one, two, ...rest] = storedRows(list);
      const absent = { ...two!, absence };
      const result = judged(shown(list), [one!, absent, ...rest]);
      expect([result.shownAgain, result.oldestChange]).toEqual([[absent], placeAt(2)]);
    },
  );

  test('is not suspected while it is too new, and outside of the span', () => {
    const settlesAt = new Date('2026-01-01T01:00:00Z');
    const result = judged(shown(without(2)), storedRows(list, { settlesAt }));
    expect([result.suspected, result.unsettled.length]).toEqual([[], 1]);
    const span = { from: placeAt(3), to: placeAt(4) };
    expect(judged(shown([list[2]!], { span }), storedRows(list)).suspected).toEqual([]);
  });

  test('at or before the head instant is not suspected', () => {
    expect(judged(shown(without(2)), storedRows(list), { head: placeAt(2) }).suspected).toEqual([]);
  });
});

describe('the head', () => {
  const list = [1, 2, 3, 4, 5].map((second) => named('A', second));
  const headed = (events: AuditEvent[], stored = storedRows(list), rest = {}) =>
    judged(shown(events, { oldest: placeOfTicks(events[0]!.createdOnTicks) }), stored, rest);

  test('moves to the last of the groups that are missing without a break: they have aged out', () => {
    const result = headed([list[0]!, list[3]!, list[4]!], storedRows(list), { head: placeAt(1) });
    expect([result.head, result.suspected]).toEqual([placeAt(3), []]);
    expect(headed(list.slice(3)).head).toBe(placeAt(4));
  });

  test('does not move over a group that is shown: what is missing behind it is suspected', () => {
    const result = headed([list[0]!, list[1]!, list[3]!, list[4]!]);
    expect([result.head, result.suspected.map(({ ticks }) => ticks)]).toEqual([placeAt(1), [placeAt(3)]]);
  });

  test('moves over a group of which only a part is shown', () => {
    const twins = [named('A', 1), named('A', 2), named('B', 2), named('A', 3)];
    const result = headed([twins[0]!, twins[2]!, twins[3]!], storedRows(twins));
    expect([result.head, result.suspected]).toEqual([placeAt(2), []]);
  });

  test('never moves back, and is undecided if the next stored group is not shown completely', () => {
    expect(headed(list, storedRows(list), { head: placeAt(3) }).head).toBe(placeAt(3));
    const span = { from: placeAt(1), to: placeAt(2) };
    const part = judged(shown([list[0]!], { span, oldest: placeAt(1) }), storedRows(list));
    expect([part.head, part.isHeadUndecided]).toEqual([placeAt(1), true]);
    expect(headed(list).isHeadUndecided).toBe(false);
  });

  test('counts ignored events neither as shown nor as missing', () => {
    const stored = storedRows(list);
    const ignored = new Set([stored[2]!.eventId]);
    // 2 is missing; 3 was stored by this very search; 4 is shown.
    const result = headed([list[0]!, list[2]!, list[3]!, list[4]!], stored, { head: placeAt(1), ignored });
    expect(result.head).toBe(placeAt(2));
  });
});

describe('a list of which most is not shown', () => {
  const list = Array.from({ length: 12 }, (_, i) => named('A', i + 1));
  const others = list.map((_, i) => eventAt(at(i + 1), { action: 'Logout' }));
  /** The first `missing` events are not shown, and the first `foreign` other ones are. */
  const isMostlyUnshown = (missing: number, foreign = missing) => {
    const events = [...others.slice(0, foreign), ...list.slice(missing)];
    events.sort((a, b) => Number(a.createdOnTicks - b.createdOnTicks));
    return judged(shown(events), storedRows(list)).isMostlyUnshown;
  };

  test('is another history if it shows others in their place, from five events and more than half of the span on', () => {
    expect([4, 5, 6, 7, 12].map((missing) => isMostlyUnshown(missing))).toEqual([
      ...[false, false, false],
      ...[true, true],
    ]);
    const few = list.slice(0, 4);
    expect(judged(shown(others.slice(0, 4)), storedRows(few)).isMostlyUnshown).toBe(false);
  });

  test('is a deletion if its place is empty, or newer events follow', () => {
    expect([5, 7, 12].map((missing) => isMostlyUnshown(missing, 0))).toEqual([false, false, false]);
    expect([4, 5].map((foreign) => isMostlyUnshown(12, foreign))).toEqual([false, true]);
    const deleted = judged(shown([...list.slice(0, 2), ...others.slice(7)]), storedRows(list.slice(0, 7)));
    expect([deleted.isMostlyUnshown, deleted.suspected.length]).toEqual([false, 5]);
  });

  test('is not one whose newest events were stored just now: a replica may not have them yet', () => {
    const settlesAt = new Date('2026-01-01T01:00:00Z');
    const stored = [...storedRows(list.slice(0, 2)), ...storedRows(list.slice(2), { settlesAt })];
    expect(judged(shown(list.slice(0, 2)), stored).isMostlyUnshown).toBe(false);
    // A response can show newer rows without those before: rows that an earlier one showed are kept.
    expect(judged(shown([list[0]!, list[11]!]), stored).isMostlyUnshown).toBe(false);
    expect(judged(shown(others), stored).isMostlyUnshown).toBe(true);
  });
});

describe('another form of a stored event', () => {
  const inForm = (details: string, second: number, userName = 'A') =>
    eventAt(at(second), { userName, auditLogDetails: details });
  const list = Array.from({ length: 12 }, (_, i) => inForm('{"a":1}', i + 1));
  const upgraded = list.map((event) => ({ ...event, auditLogDetails: '{ "a": 1 }' }));
  const idOf = (event: AuditEvent) => identified([event])[0]!.eventId;
  const superseding = ({ superseded }: Judgement) => superseded.map(({ row, by }) => [row.eventId, by]);

  test('replaces it: a list in which every event has another form is not changed', () => {
    const result = judged(shown(upgraded, { oldest: placeAt(1) }), storedRows(list));
    expect(superseding(result)).toEqual(list.map((event, i) => [idOf(event), idOf(upgraded[i]!)]));
    expect(result.rerendered.length).toBe(12);
    expect(result).toMatchObject({
      ...{ suspected: [], unsettled: [], shownAgain: [], isMostlyUnshown: false, oldestChange: undefined },
      head: placeAt(1),
    });
  });

  test('replaces one that was stored a moment ago, and one that was suspected or gone', () => {
    const settlesAt = new Date('2026-01-01T01:00:00Z');
    expect(superseding(judged(shown(upgraded), storedRows(list, { settlesAt }))).length).toBe(12);
    for (const absence of ['suspected', 'gone', 'former source'] as const) {
      const result = judged(shown(upgraded), storedRows(list, { absence }));
      expect([superseding(result).length, result.shownAgain.length, result.confirmed]).toEqual([12, 12, []]);
      // It was not counted, and its replacement is.
      expect(result.oldestChange).toBe(placeAt(1));
    }
  });

  test('in a part of a group waits for the whole group: the stored row stands for it', () => {
    const part = { span: undefined, others: { events: identified([upgraded[0]!]), rejected: [] } };
    const result = judged(shown([], part), storedRows(list));
    expect([result.changed, result.superseded]).toEqual([[], []]);
    const both = { ...part, others: { events: identified([list[0]!, upgraded[0]!]), rejected: [] } };
    expect(judged(shown([], both), storedRows(list)).fresh.length).toBe(1);
  });

  test('that was superseded is current again when a whole group shows it, and not in a part of one', () => {
    const [old] = storedRows([list[0]!], { supersededBy: idOf(upgraded[0]!) });
    const [now] = storedRows([upgraded[0]!], { batch: 2n });
    const result = judged(shown([list[0]!]), [old!, now!]);
    expect(superseding(result)).toEqual([
      [old!.eventId, undefined],
      [now!.eventId, old!.eventId],
    ]);
    expect([result.changed, result.suspected, result.oldestChange]).toEqual([[], [], undefined]);
    const part = { span: undefined, others: { events: identified([list[0]!]), rejected: [] } };
    expect(judged(shown([], part), [old!, now!])).toMatchObject({ superseded: [], changed: [] });
  });

  test('replaces as many rows as arrive, first those of equal content; the others are missing or late', () => {
    const twins = [inForm('{"a":1}', 1), inForm('{"a":1}', 1)];
    const [first, second] = storedRows(twins).map((row, i) => ({
      ...row,
      rendering: { ...row.rendering, email: `${i}@example.com` },
    }));
    const arrived = { ...inForm('{ "a": 1 }', 1), email: '1@example.com' };
    const result = judged(shown([arrived]), [first!, second!]);
    expect(superseding(result)).toEqual([[second!.eventId, idOf(arrived)]]);
    expect(result.suspected).toEqual([first]);
    const more = judged(shown([arrived, arrived]), [first!]);
    expect([superseding(more).length, more.fresh.length, more.rerendered.length]).toEqual([1, 2, 1]);
  });

  test.each([
    ['other details', inForm('{"a":2}', 1)],
    ['another user', inForm('{ "a": 1 }', 1, 'B')],
    ['another time', inForm('{ "a": 1 }', 2)],
    ['another category', { ...inForm('{ "a": 1 }', 1), category: 'Robot' }],
  ])('does not replace it with %s', (_name, event) => {
    const result = judged(shown([event]), storedRows([list[0]!]));
    expect([result.superseded, result.suspected.length, result.fresh.length]).toEqual([[], 1, 1]);
  });
});

test('a gone twin is changed only into an event of the same user', () => {
  const [alice, bob] = storedRows([named('Alice'), named('Bob')]);
  const gone = { ...alice!, absence: 'gone' as const };
  const result = judged(shown([named('Robert')]), [gone, bob!]);
  expect(changesOf(result)).toEqual([['Robert', 1]]);
  const late = judged(shown([named('Bob'), named('Carol')]), [gone, bob!]);
  expect(changesOf(late)).toEqual([['Carol', 2]]);
  expect(judged(shown([named('Bob'), named('Alice')]), [gone, bob!]).shownAgain).toEqual([gone]);
});
