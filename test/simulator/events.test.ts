import { describe, expect, test } from '@jest/globals';
import { parseTicks } from '../../src/core/ticks.ts';
import { EVENT_KINDS, makeEvent } from '../../src/simulator/events.ts';
import { hostileRows } from '../../src/simulator/hostile.ts';
import { withSimulator } from './client.ts';

const FIELDS = 'createdOn category action auditLogDetails userName email message detailsVersion source'.split(
  ' ',
);

describe('a generated event', () => {
  test('of a login has the format of the one UiPath published', () => {
    expect(makeEvent('login')).toEqual({
      createdOn: '2021-10-14T13:10:15.1964174+00:00',
      category: 'User',
      action: 'Login',
      auditLogDetails: '{\r\n "userName": "Ana Almeida",\r\n "email": "ana.almeida@example.com"\r\n}',
      userName: 'Ana Almeida',
      email: 'ana.almeida@example.com',
      message: "User 'Ana Almeida' logged in",
      detailsVersion: '1.0',
      source: 'Cis',
    });
  });

  test.each(EVENT_KINDS)(
    'of kind %s has the nine fields in their order and details that are JSON with CRLF',
    (kind) => {
      const event = makeEvent(kind, { variant: 3 });
      expect(Object.keys(event)).toEqual(FIELDS);
      expect(Object.values(event).every((value) => typeof value === 'string' && !value.includes('{0}'))).toBe(
        true,
      );
      expect(event.auditLogDetails).toMatch(/^\{\r\n "/);
      expect(JSON.stringify(JSON.parse(event.auditLogDetails!), null, 1)).toBe(
        event.auditLogDetails!.replaceAll('\r', ''),
      );
      expect(makeEvent(kind, { variant: 3 })).toEqual(event);
    },
  );

  test('of an edited policy has the requested size', () => {
    const { length } = makeEvent('policyEdit', { policyBytes: 300_000 }).auditLogDetails!;
    expect(length).toBeGreaterThan(250_000);
    expect(length).toBeLessThan(450_000);
  });
});

describe('the typical mix', () => {
  test('has every documented kind, mostly logins, with bursts and byte-identical twins', () =>
    withSimulator({ events: 20_000 }, async (simulator) => {
      const rows = simulator.rows.map((row) => ({ ...row, ...JSON.parse(row.text) }));
      const kinds = new Set(rows.map((row) => `${row.category}/${row.action}`));
      expect(kinds.size).toBe(EVENT_KINDS.length);
      expect(rows.filter((row) => row.action === 'Login').length).toBeGreaterThan(10_000);
      const sizes = new Map<bigint, number>();
      for (const { ticks } of rows) sizes.set(ticks, (sizes.get(ticks) ?? 0) + 1);
      expect([...sizes.values()].filter((size) => size >= 6).length).toBeGreaterThan(100);
      expect(new Set(rows.map((row) => row.text)).size).toBeLessThan(19_900);
      expect(rows.every((row) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00$/.test(row.createdOn))).toBe(
        true,
      );
    }));

  test.each(['full', 'mixed'] as const)(
    'in the %s form of createdOn is in order and its ticks are those of the text',
    (form) =>
      withSimulator({ events: 5000, createdOnForm: form, seed: 9 }, async (simulator) => {
        const rows = simulator.rows;
        expect(rows.map((row) => row.ticks)).toEqual(
          rows.map((row) => parseTicks(JSON.parse(row.text).createdOn)),
        );
        expect(rows.every((row, i) => i === 0 || rows[i - 1]!.ticks! <= row.ticks!)).toBe(true);
        const endings = new Set(
          rows.map((row) => JSON.parse(row.text).createdOn.replace(/^.*\d(?=Z|[+-]..:..$)/, '')),
        );
        expect([...endings].sort()).toEqual(
          form === 'full' ? ['+00:00'] : ['+00:00', '+05:30', '-08:00', 'Z'],
        );
      }),
  );

  test('has the requested times', () =>
    withSimulator(
      { events: 10_000, spacingMs: 1000, startAt: new Date('2024-03-01T00:00:00Z') },
      async (simulator) => {
        const [first, last] = [simulator.rows[0]!, simulator.rows.at(-1)!].map((row) =>
          Date.parse(JSON.parse(row.text).createdOn),
        );
        expect(first! - Date.parse('2024-03-01T00:00:00Z')).toBeLessThan(36_000);
        expect(Math.abs(last! - Date.parse('2024-03-01T02:46:40Z'))).toBeLessThan(36_000);
      },
    ));
});

describe('the hostile rows', () => {
  const rows = hostileRows();

  test('are JSON, each with a unique name', () => {
    for (const { text } of rows) JSON.parse(text);
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
    expect(rows.length).toBeGreaterThan(150);
  });

  test('are rejected only for their shape, their createdOn or a wrong type', () => {
    const isEvent = ({ text }: { text: string }): boolean => {
      const row = JSON.parse(text);
      if (typeof row !== 'object' || row === null || Array.isArray(row)) return false;
      const hasRightTypes = FIELDS.every(
        (field) => row[field] === undefined || row[field] === null || typeof row[field] === 'string',
      );
      return hasRightTypes && typeof row.createdOn === 'string' && parseTicks(row.createdOn) !== undefined;
    };
    expect(rows.filter((row) => isEvent(row) !== (row.expected === 'event')).map((row) => row.name)).toEqual(
      [],
    );
  });

  test('cover each of the eight nullable fields and both outcomes', () => {
    for (const field of FIELDS.slice(1)) {
      for (const odd of [
        'a NUL',
        'a lone high surrogate',
        'a lone low surrogate',
        'null',
        'an empty string',
      ]) {
        expect(rows.map((row) => row.name)).toContain(`${odd} in ${field}`);
      }
      for (const type of ['number', 'boolean', 'object', 'array']) {
        expect(rows).toContainEqual(
          expect.objectContaining({ name: `${field} of type ${type}`, expected: 'rejected' }),
        );
      }
    }
  });

  test('are sent over HTTP byte for byte', () =>
    withSimulator({ rows: rows.map((row) => row.text) }, async (simulator) => {
      expect(simulator.rows.map((row) => row.text).sort()).toEqual(rows.map((row) => row.text).sort());
    }));
});
