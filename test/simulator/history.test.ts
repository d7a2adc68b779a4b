import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { formatTicks, parseTicks } from '../../src/core/ticks.ts';
import { readPage, readTimes, rowAt, withSimulator } from './client.ts';

const second = (n: number): string => `2023-05-01T00:00:${String(n).padStart(2, '0')}Z`;
const times = (...seconds: number[]): string[] => seconds.map(second);

describe('supplied rows', () => {
  test('are sorted by createdOn, for any order and time zone of the input', () =>
    withSimulator({ rows: [5, 1, 3].map((n) => rowAt(second(n))) }, async (simulator) => {
      simulator.append([rowAt('2023-05-01T02:00:04+02:00'), rowAt(second(9))]);
      simulator.insertLate([rowAt(second(2))]);
      expect(await readTimes(simulator)).toEqual([
        ...times(1, 2, 3),
        '2023-05-01T02:00:04+02:00',
        ...times(5, 9),
      ]);
      expect(simulator.rows.map((row) => formatTicks(row.ticks!).slice(17, 19))).toEqual([
        '01',
        '02',
        '03',
        '04',
        '05',
        '09',
      ]);
    }));

  test('with the same time keep the order in which they were added', () =>
    withSimulator({ rows: [rowAt(second(1), 'a'), rowAt(second(2), 'b')] }, async (simulator) => {
      simulator.append([rowAt(second(0), 'z'), rowAt(second(1), 'c'), rowAt(second(1), 'd')]);
      expect((await readPage(simulator)).results!.map((row) => row.action)).toEqual([
        'z',
        'a',
        'c',
        'd',
        'b',
      ]);
    }));

  test('without a readable createdOn follow the row before them in the input, or the newest one', () =>
    withSimulator({ rows: [rowAt(second(1)), '{"action":"x"}', rowAt(second(3))] }, async (simulator) => {
      simulator.append(['null', '5']);
      expect(simulator.rows.map(({ ticks, text }) => [ticks !== undefined, text])).toEqual([
        [true, rowAt(second(1))],
        [false, '{"action":"x"}'],
        [true, rowAt(second(3))],
        [false, 'null'],
        [false, '5'],
      ]);
    }));
});

describe('typical rows', () => {
  test('are equal for the same seed and different for another', async () => {
    const texts: string[][] = [];
    for (const seed of [1, 1, 2]) {
      await withSimulator({ events: 1500, seed }, async (simulator) => {
        simulator.append(700);
        simulator.insertLate(5);
        texts.push(simulator.rows.map((row) => row.text));
      });
    }
    expect(texts[1]).toEqual(texts[0]);
    expect(texts[2]).not.toEqual(texts[0]);
  });

  test('are equal if rendered at the start, on demand, or repeatedly in little memory', async () => {
    const texts: string[] = [];
    for (const options of [
      {},
      { prerender: true },
      { prerender: true, cacheBytes: 500_000 },
      { cacheBytes: 1 },
    ]) {
      await withSimulator({ events: 3000, ...options }, async (simulator) => {
        texts.push(JSON.stringify(await readPage(simulator, 'top=3000')));
      });
    }
    expect(new Set(texts).size).toBe(1);
  });

  test('that are appended equal those of a longer list', () =>
    withSimulator({ events: 100 }, (short) =>
      withSimulator({ events: 3000 }, async (long) => {
        for (const count of [1, 923, 1, 1975]) short.append(count);
        expect(short.rows).toEqual(long.rows);
      }),
    ));

  test('are appended before a supplied row from the future, in order', () =>
    withSimulator({ events: 10, rows: [rowAt('2099-01-01T00:00:00Z')] }, async (simulator) => {
      simulator.append(2000);
      expect(simulator.rows.at(-1)!.text).toContain('2099');
      expectSorted(simulator.rows.map((row) => row.ticks!));
    }));

  test('that are late are within the requested time before the newest', () =>
    withSimulator({ events: 1000, spacingMs: 1000, lateWithinMs: 20_000 }, async (simulator) => {
      const before = new Set(simulator.rows);
      simulator.insertLate(50);
      const rows = simulator.rows;
      expectSorted(rows.map((row) => row.ticks!));
      const known = new Set([...before].map((row) => row.text));
      const late = rows.map((row, i) => ({ ...row, i })).filter((row) => !known.has(row.text));
      expect(late).toHaveLength(50);
      expect(late[0]!.i).toBeGreaterThan(900);
      expect(late[0]!.i).toBeLessThan(1000);
    }));
});

test('deleted rows are not in the list and are kept as deleted', () =>
  withSimulator({ rows: [1, 2, 3, 4, 5, 6].map((n) => rowAt(second(n))) }, async (simulator) => {
    simulator.deleteAt(3, 2);
    simulator.deleteHead(1);
    expect(await readTimes(simulator)).toEqual(times(2, 3, 6));
    expect(simulator.removed.map((row) => JSON.parse(row.text).createdOn)).toEqual(times(4, 5, 1));
    simulator.deleteHead(99);
    expect(simulator.length).toBe(0);
    expect(await readTimes(simulator)).toEqual([]);
  }));

test('any sequence of changes gives the same list as a plain array', () =>
  fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 12 }), fc.nat(2200), async (changes, events) => {
      await withSimulator({ events, cacheBytes: 100_000 }, async (simulator) => {
        const model = simulator.rows.map((row) => row.text);
        for (const { kind, at, count } of changes) {
          if (kind === 'append') {
            simulator.append(count);
            model.push(...simulator.rows.slice(model.length).map((row) => row.text));
          } else if (kind === 'delete') {
            simulator.deleteAt(Math.floor(at * model.length), count);
            model.splice(Math.floor(at * model.length), count);
          } else {
            const near = model[Math.floor(at * model.length)];
            const row = rowAt(near ? JSON.parse(near).createdOn : '2022-12-31T00:00:00Z', `late ${count}`);
            simulator.insertLate([row]);
            const ticks = ticksOf(row);
            const place = model.findIndex((text) => ticksOf(text) > ticks);
            model.splice(place < 0 ? model.length : place, 0, row);
          }
        }
        expect(simulator.rows.map((row) => row.text)).toEqual(model);
        expect(simulator.length).toBe(model.length);
        const page = await readPage(simulator, `skip=${Math.floor(model.length / 2)}&top=20`);
        const expected = model.slice(Math.floor(model.length / 2)).slice(0, 20);
        expect(page).toEqual({ totalCount: model.length, results: expected.map((text) => JSON.parse(text)) });
      });
    }),
    { numRuns: 30 },
  ));

const change = fc.record({
  kind: fc.constantFrom('append', 'delete', 'late'),
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  count: fc.integer({ min: 1, max: 300 }),
});

function ticksOf(text: string): bigint {
  return parseTicks(JSON.parse(text).createdOn)!;
}

function expectSorted(ticks: bigint[]): void {
  expect(ticks.every((value, i) => i === 0 || ticks[i - 1]! <= value)).toBe(true);
}
