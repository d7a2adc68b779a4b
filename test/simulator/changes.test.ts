import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { makeEvent } from '../../src/simulator/events.ts';
import { createFixedBlock } from '../../src/simulator/fixed.ts';
import { ListMemory } from '../../src/simulator/memory.ts';
import { BlockCache, RowList } from '../../src/simulator/rows.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { getList, readPage, readTimes, rowAt, withSimulator } from './client.ts';

const second = (n: number): string => `2023-05-01T00:00:${String(n).padStart(2, '0')}Z`;
const times = (...seconds: number[]): string[] => seconds.map(second);
const rowsAt = (...seconds: number[]): string[] => seconds.map((n) => rowAt(second(n)));

const textsOf = (rows: readonly { text: string }[]): string[] => rows.map(({ text }) => text);
const timeOf = (text: string): number => Date.parse(JSON.parse(text).createdOn);

describe('a lagging replica', () => {
  test('shows the list as it was some changes ago, with its totalCount, until the behaviour is good again', () =>
    withSimulator({ rows: rowsAt(1, 2) }, async (simulator) => {
      simulator.append(rowsAt(3));
      simulator.insertLate(rowsAt(0));
      simulator.deleteHead(2);
      const shown: unknown[] = [await readTimes(simulator)];
      for (const changes of [0, 1, 2, 3, 99]) {
        simulator.set({ lag: { changes } });
        shown.push(await readTimes(simulator));
      }
      expect(shown).toEqual([
        times(2, 3),
        times(2, 3),
        times(0, 1, 2, 3),
        times(1, 2, 3),
        times(1, 2),
        // Before the rows of the options were added.
        [],
      ]);
      simulator.set({ lag: { changes: 1 } });
      expect((await readPage(simulator)).totalCount).toBe(4);
      expect(simulator.requests.at(-1)).toMatchObject({ isLagging: true });
      simulator.set({ lag: undefined });
      expect(await readTimes(simulator)).toEqual(times(2, 3));
      expect(simulator.requests.at(-1)).not.toHaveProperty('isLagging');
      expect(simulator.length).toBe(2);
    }));

  test('lags for the next n list requests only, and counts anew when it is set', () =>
    withSimulator({ rows: rowsAt(1) }, async (simulator) => {
      simulator.append(rowsAt(2));
      const lengths = async () => {
        const found: number[] = [];
        for (let i = 0; i < 4; i++) found.push((await readTimes(simulator)).length);
        return found;
      };
      for (let i = 0; i < 2; i++) {
        simulator.set({ lag: { next: 2 } });
        expect(await lengths()).toEqual([1, 1, 2, 2]);
      }
    }));

  test('lags at random, the same for the same seed, and by a number of changes of the range', async () => {
    const found: number[][] = [];
    for (const seed of [1, 1, 2]) {
      await withSimulator({ rows: rowsAt(1), seed }, async (simulator) => {
        for (let n = 2; n < 10; n++) simulator.append(rowsAt(n));
        simulator.set({ lag: { changes: [2, 5], probability: 0.5 } });
        const lengths: number[] = [];
        for (let i = 0; i < 40; i++) lengths.push((await readTimes(simulator)).length);
        found.push(lengths);
      });
    }
    expect(found[0]).toEqual(found[1]);
    expect(found[0]).not.toEqual(found[2]);
    expect(new Set(found[0])).toEqual(new Set([9, 7, 6, 5, 4]));
  });

  test('shows the list as it was some milliseconds ago', () => {
    let now = 0;
    const memory = new ListMemory(() => now);
    const list = new RowList(new BlockCache(1_000_000));
    for (now = 10; now <= 30; now += 10) {
      memory.remember(list);
      const block = createFixedBlock(rowsAt(now));
      list.push({ block, from: 0, to: block.length });
    }
    now = 30;
    const lengthAgo = (ms: number) => memory.ago(ms)?.length ?? list.length;
    expect([0, 1, 10, 11, 20, 21, 1000].map(lengthAgo)).toEqual([3, 2, 2, 1, 1, 0, 0]);
  });

  test('can lag by milliseconds', () =>
    withSimulator({ rows: rowsAt(1) }, async (simulator) => {
      simulator.append(rowsAt(2));
      simulator.set({ lag: { ms: 3_600_000 } });
      expect(await readTimes(simulator)).toEqual([]);
      simulator.set({ lag: { ms: 0 } });
      expect(await readTimes(simulator)).toEqual(times(1, 2));
    }));

  test('remembers what a long list was while it moves at every request', () =>
    withSimulator({ events: 3000, moves: { append: 3, deleteHead: 2, insertLate: 1 } }, async (simulator) => {
      const states: string[] = [];
      for (let i = 0; i < 20; i++) states.push((await getList(simulator, ASCENDING)).text);
      simulator.set({ moves: {}, lag: { changes: 1 } });
      expect((await getList(simulator, ASCENDING)).text).toBe(states.at(-1));
      simulator.set({ lag: { changes: 20 } });
      expect((await getList(simulator, ASCENDING)).text).toBe(states[0]);
    }));
});

const ASCENDING = 'sortBy=createdOn&sortOrder=asc&top=5000';

describe('late rows', () => {
  test.each([
    { fromMs: 600_000, toMs: 601_000 },
    { fromMs: 0, toMs: 10 },
    { fromMs: 86_400_000, toMs: 2 * 86_400_000 },
  ])('are as old as asked, %j before the newest', (age) =>
    withSimulator({ events: 10_000, seed: 4 }, async (simulator) => {
      const before = new Set(textsOf(simulator.rows));
      simulator.insertLate(25, age);
      const late = textsOf(simulator.rows).filter((text) => !before.has(text));
      expect(late).toHaveLength(25);
      const newest = new Date('2023-01-01T00:00:00Z').getTime() + 10_000 * 30_000;
      for (const text of late) {
        expect(newest - timeOf(text)).toBeGreaterThan(age.fromMs);
        expect(newest - timeOf(text)).toBeLessThanOrEqual(age.toMs);
      }
      expect(await orderOf(simulator)).toBe('ascending');
    }),
  );

  test('dated years ahead are the newest of the list, and what is appended later comes before them', () =>
    withSimulator({ events: 5 }, async (simulator) => {
      simulator.insertDated(2, { from: new Date('2090-01-01'), to: new Date('2090-01-02') });
      simulator.append(3);
      expect(simulator.length).toBe(10);
      expect(textsOf(simulator.rows).map((text) => text.includes('"2090-01-01T'))).toEqual([
        ...Array(8).fill(false),
        ...Array(2).fill(true),
      ]);
      expect(await orderOf(simulator)).toBe('ascending');
    }));

  async function orderOf(simulator: Parameters<typeof readTimes>[0]): Promise<string> {
    const shown = (await readTimes(simulator, 'top=20000')).map((time) => Date.parse(time!));
    return shown.every((time, i) => i === 0 || shown[i - 1]! <= time) ? 'ascending' : 'wrong';
  }
});

test('rewritten rows keep their places, and are one change', () =>
  withSimulator({ rows: rowsAt(1, 2, 3), recordSpans: true }, async (simulator) => {
    simulator.rewrite(1, 9, (text) => text.replace('}', ' }'));
    expect(await readTimes(simulator)).toEqual(times(1, 2, 3));
    expect(textsOf(simulator.rows)).toEqual([
      ...rowsAt(1),
      ...rowsAt(2, 3).map((text) => text.replace('}', ' }')),
    ]);
    expect(textsOf(simulator.removed)).toEqual(rowsAt(2, 3));
    const over = simulator.spans().filter(({ to }) => to !== undefined);
    expect(over.map(({ isRetention, isRewritten }) => [isRetention, isRewritten])).toEqual([
      [false, true],
      [false, true],
    ]);
    simulator.rewrite(3, 1, (text) => text);
    expect(simulator.length).toBe(3);
  }));

describe('a deletion', () => {
  test('takes one of two twins, and the other one stays', () =>
    withSimulator(
      { rows: [...rowsAt(1, 2, 3), ...rowsAt(2), rowAt(second(2), 'other')] },
      async (simulator) => {
        expect(simulator.deleteTwin()?.text).toBe(rowAt(second(2)));
        expect(await readTimes(simulator)).toEqual(times(1, 2, 2, 3));
        expect(textsOf(simulator.removed)).toEqual(rowsAt(2));
        expect(simulator.deleteTwin()).toBeUndefined();
      },
    ));

  test('takes a twin of a typical list, the same for the same seed', async () => {
    const found: unknown[] = [];
    for (let i = 0; i < 2; i++) {
      await withSimulator({ events: 1000, seed: 6 }, async (simulator) => {
        found.push(simulator.deleteTwin());
        expect(simulator.length).toBe(999);
      });
    }
    expect(found[0]).toBeDefined();
    expect(found[0]).toEqual(found[1]);
  });

  test('at the head can leave an old row in front, also between two requests', () =>
    withSimulator({ rows: [rowAt('0001-01-01T00:00:00Z'), ...rowsAt(1, 2, 3, 4, 5)] }, async (simulator) => {
      simulator.deleteHead(2, { spare: 1 });
      expect(await readTimes(simulator)).toEqual(['0001-01-01T00:00:00Z', ...times(3, 4, 5)]);
      simulator.set({ moves: { deleteHead: 1, spareHead: 1 } });
      await readPage(simulator);
      expect(await readTimes(simulator)).toEqual(['0001-01-01T00:00:00Z', ...times(4, 5)]);
    }));
});

describe('a reset', () => {
  test('empties the list; then another history grows from the same time on', () =>
    withSimulator({ events: 50, seed: 3 }, async (simulator) => {
      const before = textsOf(simulator.rows);
      simulator.reset({ seed: 9 });
      expect([simulator.length, await readTimes(simulator)]).toEqual([0, []]);
      expect(textsOf(simulator.removed)).toEqual(before);
      simulator.append(30);
      const after = textsOf(simulator.rows);
      expect(after.filter((text) => before.includes(text))).toEqual([]);
      expect(timeOf(after[0]!)).toBeGreaterThanOrEqual(new Date('2023-01-01').getTime() + 50 * 30_000);
      expect(after).toHaveLength(30);
    }));

  test('can begin with rows, at another time', () =>
    withSimulator({ events: 50 }, async (simulator) => {
      simulator.reset({ seed: 2, events: 20, startAt: new Date('2020-01-01') });
      expect(simulator.length).toBe(20);
      expect(textsOf(simulator.rows).every((text) => text.includes('"2020-01-01T'))).toBe(true);
    }));
});

describe('a restore', () => {
  const scene: SimulatorOptions = { events: 1500, seed: 3 };

  test('brings back the list of the snapshot; the same rows follow, or another history', () =>
    withSimulator(scene, async (simulator) => {
      simulator.deleteHead(10);
      const snapshot = simulator.snapshot();
      const then = textsOf(simulator.rows);
      simulator.append(700);
      const later = textsOf(simulator.rows);
      simulator.insertLate(20);
      simulator.deleteAt(40, 5);
      simulator.restore(snapshot);
      expect(textsOf(simulator.rows)).toEqual(then);
      expect((await readPage(simulator, 'top=5000')).results).toHaveLength(then.length);
      simulator.append(700);
      expect(textsOf(simulator.rows)).toEqual(later);

      simulator.restore(snapshot, { seed: 77 });
      simulator.append(700);
      const other = textsOf(simulator.rows);
      expect(other.slice(0, then.length)).toEqual(then);
      expect(other.slice(then.length).filter((text) => later.includes(text))).toEqual([]);
      expect(other).toHaveLength(later.length);
    }));

  test('counts as deleted what the list does not show any more, each row once', () =>
    withSimulator(scene, async (simulator) => {
      const snapshot = simulator.snapshot();
      simulator.deleteAt(3, 2);
      simulator.append(7);
      const lost = textsOf(simulator.rows).slice(-7);
      simulator.restore(snapshot);
      expect(textsOf(simulator.removed)).toEqual(lost);
      simulator.append(2);
      expect(textsOf(simulator.removed)).toEqual(lost.slice(2));
      simulator.restore(snapshot);
      expect(textsOf(simulator.removed).sort()).toEqual([...lost].sort());
    }));

  test('can be repeated, and does not change the snapshot', () =>
    withSimulator(scene, async (simulator) => {
      const snapshot = simulator.snapshot();
      const then = textsOf(simulator.rows);
      for (let i = 0; i < 3; i++) {
        simulator.append(3);
        simulator.deleteAt(700, 1);
        simulator.restore(snapshot);
        expect(textsOf(simulator.rows)).toEqual(then);
      }
    }));
});

describe('the spans of rows', () => {
  test('say when each row was in the list, and whether retention took it', () =>
    withSimulator({ rows: rowsAt(1, 2, 3, 4), recordSpans: true }, async (simulator) => {
      const snapshot = simulator.snapshot();
      await sleep(5);
      // Reads the clock: the simulator remembers states by it.
      const began = Date.now();
      simulator.deleteHead(1);
      simulator.deleteAt(1, 1);
      simulator.append(rowsAt(5));
      simulator.restore(snapshot);
      const found = simulator.spans().map(({ text, from, to, isRetention }) => ({
        second: Number(JSON.parse(text).createdOn.slice(17, 19)),
        ...{ isOld: from < began, isOver: to !== undefined && to >= began, isRetention },
      }));
      const whole = { isOld: true, isOver: false, isRetention: false };
      expect(found.sort((a, b) => a.second - b.second)).toEqual([
        { second: 1, isOld: true, isOver: true, isRetention: true },
        { second: 1, isOld: false, isOver: false, isRetention: false },
        { second: 2, ...whole },
        { second: 3, isOld: true, isOver: true, isRetention: false },
        { second: 3, isOld: false, isOver: false, isRetention: false },
        { second: 4, ...whole },
        { second: 5, isOld: false, isOver: true, isRetention: false },
      ]);
    }));

  test('are the list and what was removed from it, whatever moved', () =>
    withSimulator(
      { events: 300, recordSpans: true, moves: { append: 5, insertLate: 2, deleteHead: 3, deleteMiddle: 1 } },
      async (simulator) => {
        for (let i = 0; i < 20; i++) await readPage(simulator);
        const spans = simulator.spans();
        const open = spans.filter(({ to }) => to === undefined);
        expect(textsOf(open).sort()).toEqual(textsOf(simulator.rows).sort());
        const over = spans.filter(({ to }) => to !== undefined);
        expect(textsOf(over).sort()).toEqual(textsOf(simulator.removed).sort());
        expect(over.filter(({ isRetention }) => isRetention)).toHaveLength(60);
      },
    ));
});

describe('rows of one millisecond', () => {
  const at = (fraction: string) => `2023-05-01T00:00:01.${fraction}Z`;
  const fractions = ['1000001', '1000002', '1000003', '1000004', '1000005', '1000006'];
  const rows = [
    rowAt(at('0999999')),
    ...fractions.map((fraction) => rowAt(at(fraction))),
    rowAt(at('1010000')),
  ];

  test('can be ordered by the millisecond only: in another order than by tick, and always in the same', () =>
    withSimulator({ rows, millisecondOrder: true }, async (simulator) => {
      const shown = await readTimes(simulator);
      expect(shown).not.toEqual(textsOf(simulator.rows).map((text) => JSON.parse(text).createdOn));
      expect([shown[0], shown.at(-1)]).toEqual([at('0999999'), at('1010000')]);
      expect([...shown].sort()).toEqual(rows.map((row) => JSON.parse(row).createdOn));
      const single: unknown[] = [];
      for (let skip = 0; skip < rows.length; skip++)
        single.push(...(await readTimes(simulator, `skip=${skip}&top=1`)));
      expect(single).toEqual(shown);
    }));

  test('are ties, in another order at every request, if ties are shuffled too', () =>
    withSimulator({ rows, millisecondOrder: true, shuffleTies: true }, async (simulator) => {
      const orders = new Set<string>();
      for (let i = 0; i < 10; i++) orders.add((await readTimes(simulator)).join());
      expect(orders.size).toBeGreaterThan(5);
    }));

  test('before 1970 are grouped by the millisecond that they begin in', () => {
    const old = ['0001-01-01T00:00:00.0009Z', '1969-12-31T23:59:59.9999999Z', '1970-01-01T00:00:00Z'];
    return withSimulator(
      { rows: old.map((time) => rowAt(time)), millisecondOrder: true },
      async (simulator) => {
        expect(await readTimes(simulator)).toEqual(old);
      },
    );
  });
});

test.each([
  ['too small', (right: number) => right - 3, '{"totalCount":7,"results":['],
  ['too large', (right: number) => right + 1, '{"totalCount":11,"results":['],
  ['capped', (right: number) => Math.min(right, 5), '{"totalCount":5,"results":['],
  ['zero', () => 0, '{"totalCount":0,"results":['],
  ['null', () => null, '{"totalCount":null,"results":['],
  ['missing', () => undefined, '{"results":['],
])('totalCount can be %s, while all rows are shown', (_name, totalCount, start) =>
  withSimulator({ rows: [makeEvent('login')], events: 9, totalCount }, async (simulator) => {
    const { text } = await getList(simulator, ASCENDING);
    expect(text.startsWith(start)).toBe(true);
    expect(JSON.parse(text).results).toHaveLength(10);
  }),
);
