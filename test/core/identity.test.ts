import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditEvent } from '../../src/core/event.ts';
import { eventIdOf, type IdentifiedEvent, identifyGroup } from '../../src/core/identity.ts';

const IDENTITY = ['source', 'category', 'action', 'detailsVersion', 'auditLogDetails'] as const;
const CHANGEABLE = ['userName', 'email', 'message', 'extra'] as const;

const login: AuditEvent = {
  createdOnTicks: 16342170151964174n,
  createdOnRaw: '2021-10-14T13:10:15.1964174+00:00',
  category: 'User',
  action: 'Login',
  source: 'Cis',
  userName: 'A',
  email: 'a@example.com',
  message: 'User A logged in',
  detailsVersion: '1.0',
  auditLogDetails: '{\r\n "userName": "A"\r\n}',
  extra: null,
  raw: null,
};

const text = fc.oneof(fc.constant(null), fc.constantFrom('', 'a', 'b', '\ud800', '\ufffd', '"', ','));
const anyEvent = fc
  .record({ source: text, category: text, action: text, detailsVersion: text, auditLogDetails: text })
  .chain((identity) =>
    fc
      .record({ userName: text, email: text, message: text })
      .map((rest) => ({ ...login, ...identity, ...rest })),
  );

describe('an event id', () => {
  test('is the first 128 bits of SHA-256 over the documented JSON array', () => {
    const array =
      '["16342170151964174","Cis","User","Login","1.0","{\\r\\n \\"userName\\": \\"A\\"\\r\\n}",0]';
    const hex = createHash('sha256').update(array).digest('hex');
    expect(eventIdOf(login, 0).replaceAll('-', '')).toBe(hex.slice(0, 32));
    expect(eventIdOf(login, 0)).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });

  test.each(IDENTITY)('tells null, "" and text apart in %s', (field) => {
    const ids = [null, '', 'null', '\0', ' '].map((value) => eventIdOf({ ...login, [field]: value }, 0));
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(IDENTITY)(
    'tells lone surrogates from U+FFFD, from each other and from their escapes in %s',
    (field) => {
      const values = ['\ud800', '\udfff', '\ufffd', '\\ud800', '\ud83d\ude00', '\ude00\ud83d'];
      const ids = values.map((value) => eventIdOf({ ...login, [field]: value }, 0));
      expect(new Set(ids).size).toBe(ids.length);
    },
  );

  test('does not let one field run over into the next', () => {
    const ids = [
      eventIdOf({ ...login, source: 'a', category: 'b' }, 0),
      eventIdOf({ ...login, source: 'a","b', category: null }, 0),
      eventIdOf({ ...login, source: 'ab', category: '' }, 0),
      eventIdOf({ ...login, source: 'b', category: 'a' }, 0),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('differs by one tick and by the ordinal', () => {
    const ids = [
      eventIdOf(login, 0),
      eventIdOf(login, 1),
      eventIdOf({ ...login, createdOnTicks: login.createdOnTicks + 1n }, 0),
    ];
    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each([...CHANGEABLE, 'createdOnRaw', 'raw'] as const)('does not depend on %s', (field) => {
    expect(eventIdOf({ ...login, [field]: 'another' }, 0)).toBe(eventIdOf(login, 0));
  });
});

describe('a tie group', () => {
  test('keeps byte-identical twins as two events', () => {
    const ids = identifyGroup([login, { ...login }, { ...login }]);
    expect(ids.map(({ ordinal }) => ordinal)).toEqual([0, 1, 2]);
    expect(new Set(ids.map(({ eventId }) => eventId)).size).toBe(3);
  });

  test('counts only rows that are alike in identity: what differs has ordinal 0', () => {
    const group = [login, { ...login, action: 'Logout' }, { ...login, action: null }];
    expect(identifyGroup(group).map(({ ordinal }) => ordinal)).toEqual([0, 0, 0]);
  });

  test('gives the same events the same ids in any order', () => {
    const groups = fc.array(anyEvent, { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(
        groups.chain((group) => fc.tuple(fc.constant(group), shuffled(group))),
        ([group, other]) => {
          expect(pairsOf(identifyGroup(other))).toEqual(pairsOf(identifyGroup(group)));
        },
      ),
    );
  });

  test('gives every row its own id, which it would also have alone with its ordinal', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { minLength: 1, maxLength: 8 }), (group) => {
        const identified = identifyGroup(group);
        expect(new Set(identified.map(({ eventId }) => eventId)).size).toBe(group.length);
        for (const { event, eventId, ordinal } of identified) expect(eventIdOf(event, ordinal)).toBe(eventId);
      }),
    );
  });

  test('keeps the ids of what is there when a twin is added', () => {
    const before = identifyGroup([login, login]).map(({ eventId }) => eventId);
    const after = identifyGroup([login, login, login]).map(({ eventId }) => eventId);
    expect(after).toEqual(expect.arrayContaining(before));
  });
});

function shuffled<T>(items: readonly T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray([...items], { minLength: items.length, maxLength: items.length });
}

function pairsOf(identified: IdentifiedEvent[]): string[] {
  return identified
    .map(({ event, eventId }) => {
      const { createdOnTicks, ...rest } = event;
      return `${eventId} ${createdOnTicks} ${JSON.stringify(rest)}`;
    })
    .sort();
}
