/** Comparing stored rows with the source's events, alone. */
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createComparer, hasOwnId, type StoredEvent } from '../../src/core/compare.ts';
import type { AuditEvent } from '../../src/core/event.ts';
import { eventIdOf, type IdentifiedEvent, identifyGroup } from '../../src/core/identity.ts';
import { formatMicroseconds } from '../../src/core/ticks.ts';
import { ROW_FORM } from '../../src/postgres/read/row-form.ts';
import { eventAt } from '../support/batch.ts';

const AT = '2026-01-01T10:00:00.1234567Z';
const asIs = (event: AuditEvent) => event;

function identified(fields: Partial<AuditEvent> = {}): IdentifiedEvent {
  return identifyGroup([eventAt(AT, fields)])[0]!;
}

/** The row as the worker stores it, changed by `edit`. */
function stored(
  source: IdentifiedEvent,
  edit: Partial<AuditEvent> = {},
  row: Partial<StoredEvent> = {},
): StoredEvent {
  const event = { ...source.event, ...edit };
  const createdOn = formatMicroseconds(event.createdOnTicks);
  return { ...source, event, identity: event, createdOn, misfits: [], ...row };
}

/** The differences as kind and fields, missing events last. */
function compare(events: readonly IdentifiedEvent[], rows: readonly StoredEvent[], as = asIs) {
  const comparer = createComparer(events, { ...ROW_FORM, asStored: as });
  const found = [...comparer.compareStored(rows), ...comparer.compareShown(), ...comparer.missing()];
  return found.map(({ kind, fields }) => [kind, fields]);
}

describe('stored rows', () => {
  const actions = fc.uniqueArray(fc.nat(20), { maxLength: 12 });

  test('are missing, gone or equal, by what each side has, in any order and any chunks', () => {
    fc.assert(
      fc.property(actions, actions, fc.integer({ min: 1, max: 5 }), (atSource, inTable, chunk) => {
        const of = (numbers: number[]) => numbers.map((number) => identified({ action: `Action ${number}` }));
        const comparer = createComparer(of(atSource), ROW_FORM);
        const rows = of(inTable).map((event) => stored(event));
        const findings = [];
        for (let at = 0; at < rows.length; at += chunk) {
          findings.push(...comparer.compareStored(rows.slice(at, at + chunk)));
        }
        findings.push(...comparer.compareShown());
        const idsOf = (found: { eventId: string }[]) => found.map(({ eventId }) => eventId);
        const without = (from: number[], others: number[]) =>
          of(from.filter((each) => !others.includes(each)));
        expect(findings.every(({ kind, fields }) => kind === 'gone' && fields.length === 0)).toBe(true);
        expect(idsOf(findings).sort()).toEqual(idsOf(without(inTable, atSource)).sort());
        expect(idsOf(comparer.missing())).toEqual(idsOf(without(atSource, inTable)));
      }),
    );
  });

  test.each<[keyof AuditEvent, Partial<AuditEvent>]>([
    ['createdOnRaw', { createdOnRaw: '2026-01-01T10:00:00.1234567+00:00' }],
    ['category', { category: 'Robot' }],
    ['action', { action: null }],
    ['source', { source: '' }],
    ['userName', { userName: null }],
    ['email', { email: '' }],
    ['message', { message: 'User A logged in ' }],
    ['detailsVersion', { detailsVersion: null }],
    ['auditLogDetails', { auditLogDetails: '{ }' }],
    ['extra', { extra: '{}' }],
    ['raw', { raw: '{}' }],
    // Less than the microsecond of the column created_on.
    ['createdOnTicks', { createdOnTicks: eventAt(AT).createdOnTicks + 1n }],
  ])('are changed where %s differs, and the field is named', (field, edit) => {
    const source = identified();
    expect(compare([source], [stored(source, edit)])).toEqual([['changed', [field]]]);
  });

  test('are changed where their ordinal or a column that follows from others differs', () => {
    const source = identified();
    const row = stored(source, {}, { ordinal: 1, misfits: ['details'] });
    expect(compare([source], [row])).toEqual([['changed', ['ordinal', 'details']]]);
  });

  test('have the source event in each difference, for the repair', () => {
    const [one, other] = [identified({ action: 'One' }), identified({ action: 'Other' })];
    const comparer = createComparer([one, other], ROW_FORM);
    expect(comparer.compareStored([stored(one, { message: 'forged' })])).toEqual([]);
    expect(comparer.compareShown()).toMatchObject([{ eventId: one.eventId, expected: one }]);
    expect(comparer.missing()).toMatchObject([{ eventId: other.eventId, expected: other }]);
  });

  test('with another created_on, or present twice, are not rows of the source', () => {
    const source = identified();
    const moved = stored(source, {}, { createdOn: '2020-01-01 00:00:00.000000' });
    expect(compare([source], [moved])).toEqual([
      ['gone', []],
      ['missing', []],
    ]);
    expect(compare([source], [stored(source), stored(source)])).toEqual([['gone', []]]);
  });

  test('that the source does not show are gone only if their id matches their columns', () => {
    const source = identified();
    expect(compare([], [stored(source)])).toEqual([['gone', []]]);
    expect(compare([], [stored(source, { action: 'Forged' })])).toEqual([['changed', ['event_id']]]);
    const misfit = stored(source, { action: 'Forged' }, { misfits: ['details'] });
    expect(compare([], [misfit])).toEqual([['changed', ['event_id', 'details']]]);
  });

  test('are compared with the event as the table stores it', () => {
    const source = identified({ message: 'a\u0000b' });
    const as = (event: AuditEvent) => ({ ...event, message: event.message!.replace('\u0000', '\ufffd') });
    expect(compare([source], [stored(source, { message: 'a\ufffdb' })], as)).toEqual([]);
    expect(compare([source], [stored(source)], as)).toEqual([['changed', ['message']]]);
  });
});

describe('twins and other forms', () => {
  const named = (...names: string[]) =>
    identifyGroup(names.map((userName) => eventAt(AT, { userName, auditLogDetails: '{"a":1}' })));
  const form = (auditLogDetails: string, rest: Partial<AuditEvent> = {}) =>
    identified({ auditLogDetails, ...rest });

  test('twins are paired by content: a deleted twin is gone, and the other one unchanged', () => {
    const rows = named('Alice', 'Bob').map((event) => stored(event));
    expect(compare(named('Bob'), rows)).toEqual([['gone', []]]);
    expect(compare(named('Alice', 'Bob', 'Carol'), rows)).toEqual([['missing', []]]);
    expect(compare(named('Bob', 'Carol'), rows)).toEqual([['changed', ['userName']]]);
  });

  test('a gone twin is not changed into another event', () => {
    const [alice, bob] = named('Alice', 'Bob').map((event) => stored(event));
    expect(compare(named('Robert'), [{ ...alice!, absence: 'gone' }, bob!])).toEqual([
      ['gone', []],
      ['changed', ['userName']],
    ]);
  });

  test('a row of which the source shows another form is rerendered, and neither gone nor missing', () => {
    const rows = [stored(form('{"a":1}'))];
    expect(compare([form('{ "a": 1.0 }')], rows)).toEqual([['rerendered', ['auditLogDetails']]]);
    for (const other of [form('{"a":2}'), form('{ "a": 1 }', { userName: 'B' })]) {
      expect(compare([other], rows)).toEqual([
        ['gone', []],
        ['missing', []],
      ]);
    }
  });

  test('a superseded row is no difference, unless the source shows it and not the other one', () => {
    const [old, now] = [form('{"a":1}'), form('{ "a": 1 }')];
    const rows = [stored(old, {}, { supersededBy: now.eventId }), stored(now)];
    expect(compare([now], rows)).toEqual([]);
    expect(compare([old], rows)).toEqual([['rerendered', ['auditLogDetails']]]);
    expect(compare([old, now], rows)).toEqual([['changed', ['superseded_by']]]);
    expect(compare([], rows)).toEqual([['gone', []]]);
  });
});

describe('unknown fields', () => {
  const json = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 5 });

  test('are the same in any order and with any spaces, as jsonb gives them back', () => {
    fc.assert(
      fc.property(json, (members) => {
        const backwards = Object.fromEntries(Object.entries(members).reverse());
        const source = identified({ extra: JSON.stringify(members) });
        expect(compare([source], [stored(source, { extra: JSON.stringify(backwards, null, 2) })])).toEqual(
          [],
        );
      }),
    );
  });

  test('differ in a value, in the order of an array, and where there are none', () => {
    const source = identified({ extra: '{"a":[1,2]}' });
    for (const extra of ['{"a":[2,1]}', '{"a":[1,2],"b":null}', '{"A":[1,2]}', null]) {
      expect(compare([source], [stored(source, { extra })])).toEqual([['changed', ['extra']]]);
    }
  });

  test('are not compared if the exact text of the row is stored', () => {
    const source = identified({ extra: '{"a":"\\ud800"}', raw: '{"a":"\\ud800"}' });
    expect(compare([source], [stored(source, { extra: '{"a":"?"}' })])).toEqual([]);
    expect(compare([source], [stored(source, { extra: null, raw: null })])).toEqual([['changed', ['raw']]]);
  });
});

test('an id matches only its own ordinal', () => {
  const event = eventAt(AT);
  fc.assert(
    fc.property(fc.nat(5), fc.nat(5), (given, ordinal) => {
      const row = stored({ event, eventId: eventIdOf(event, given), ordinal });
      expect(hasOwnId(row)).toBe(given === ordinal);
    }),
  );
});
