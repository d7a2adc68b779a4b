/** What the rank rule must show: a thousand rows in four pages, real HTTP, real PostgreSQL. Where the cost of a search counts, the list is longer. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyState } from '../../src/runs/verify-state.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import type { SimulatorOptions } from '../../src/simulator/simulator.ts';
import { type Bench, createBench, type Row, type Scene } from '../support/bench.ts';
import {
  expectRowsOnce,
  expectWholeLedger,
  fieldsOf,
  STORED_EVENTS,
  storedFieldsOf,
} from '../support/truth.ts';

let bench: Bench;
/** Scenes whose ledger is checked at the end of the test. */
const proven = new Set<Scene>();

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Rows of a list and of a page. */
const ROWS = 1200;
const PAGE = 300;
/** List requests of a run that searches for one late or deleted row. */
const MAX_SEARCH_REQUESTS = 25;
/** Requests of a run after the first end, not counting those that bring rows. */
const BUDGET = 60;
const QUIET_REQUESTS = 3;

const rowAt = (createdOn: string, variant = 0) => makeEvent('login', { createdOn, variant });
const isoAt = (ms: number) => new Date(ms).toISOString().replace('Z', '0000Z');

// Entries of the ledger are never changed, so that the last state shows the faults of all.
afterEach(async () => {
  const scenes = [...proven];
  proven.clear();
  for (const scene of scenes) await expectWholeLedger(scene);
});

function open(simulator: SimulatorOptions, environment: Record<string, string> = {}): Promise<Scene> {
  return bench.open(simulator, { EXPORT_PAGE_SIZE: String(PAGE), EXPORT_SETTLE: '0s', ...environment });
}

/** The first run reads the list; the second one finds nothing new. */
async function openProven(
  simulator: SimulatorOptions,
  environment: Record<string, string> = {},
): Promise<Scene> {
  const scene = await open(simulator, environment);
  for (let runs = 0; runs < 2; runs++) await scene.run();
  await expectComplete(scene);
  return scene;
}

async function completenessOf(scene: Scene): Promise<Row> {
  const rows = await scene.query('select * from audit.completeness where organization = $1');
  return rows[0] ?? {};
}

async function expectComplete(scene: Scene): Promise<void> {
  expect(await completenessOf(scene)).toMatchObject({ state: 'complete', reason: null });
  await expectRowsOnce(scene);
  proven.add(scene);
}

function goneEvents(scene: Scene): Promise<Row[]> {
  return scene.query(
    `select g.state, g.gone_at is not null as is_noted, e.created_on_raw from audit.gone_events g
     join audit.events e using (organization, log, created_on, event_id)
     where g.organization = $1 order by g.created_on_ticks`,
  );
}

const createdOn = (text: string): string => JSON.parse(text).createdOn;

describe('a late event', () => {
  test.each([
    ['10 minutes', 10 * MINUTE_MS],
    ['3 hours', 3 * HOUR_MS],
    ['3 days', 3 * DAY_MS],
    ['200 days', 200 * DAY_MS],
  ])('by %s is stored by the next run', async (_name, ageMs) => {
    const scene = await openProven({ events: 4000, spacingMs: 90 * MINUTE_MS }, { EXPORT_PAGE_SIZE: '1000' });
    const newest = Date.parse(createdOn(scene.simulator.rows.at(-1)!.text));
    scene.simulator.insertLate([rowAt(isoAt(newest - ageMs))]);
    let run: Awaited<ReturnType<Scene['run']>> | undefined;
    const requests = await scene.countRequests(async () => {
      run = await scene.run();
    });
    expect(run!.counters).toMatchObject({ inserted: 1, late: 1 });
    expect(requests).toBeLessThanOrEqual(MAX_SEARCH_REQUESTS);
    await expectComplete(scene);
  });

  test.each([100, 50])(
    'at 4,000 rows and pages of %i is found within the same requests',
    async (pageSize) => {
      const scene = await openProven({ events: 4000 }, { EXPORT_PAGE_SIZE: String(pageSize) });
      for (const share of [0.02, 0.4, 0.98]) {
        const ageMs = share * 4000 * 30_000;
        scene.simulator.insertLate(1, { fromMs: ageMs, toMs: ageMs + 1000 });
        const requests = await scene.countRequests(() => scene.run());
        expect(requests).toBeLessThanOrEqual(MAX_SEARCH_REQUESTS);
        await expectComplete(scene);
      }
    },
  );

  test('of each of several ages at once is stored within a few runs, and never called complete before', async () => {
    const scene = await openProven({ events: ROWS }, { EXPORT_PAGE_SIZE: '30' });
    scene.simulator.insertLate(12, { fromMs: 0, toMs: 0.97 * ROWS * 30_000 });
    for (let runs = 0; runs < 6; runs++) {
      await scene.run();
      const { state } = await completenessOf(scene);
      if (state === 'complete') break;
    }
    await expectComplete(scene);
  });

  test('3.5 hours late after an outage of 62 hours is found by the first run', async () => {
    const spacingMs = 5 * MINUTE_MS;
    const scene = await openProven({ events: 600, spacingMs });
    const outageMs = 62 * HOUR_MS;
    scene.simulator.append(outageMs / spacingMs);
    const ageMs = outageMs + 3.5 * HOUR_MS;
    scene.simulator.insertLate(1, { fromMs: ageMs, toMs: ageMs + 1000 });
    const requests = await scene.countRequests(() => scene.run());
    expect(requests).toBeLessThanOrEqual(MAX_SEARCH_REQUESTS + Math.ceil(outageMs / spacingMs / PAGE));
    await expectComplete(scene);
  });

  test('and a deleted one, which cancel in the count, are found when the scrub has read the list', async () => {
    const scene = await openProven({ events: ROWS });
    scene.simulator.deleteAt(750, 1);
    scene.simulator.insertLate(1, { fromMs: 210 * 30_000, toMs: 210 * 30_000 + 1000 });
    for (let runs = 0; runs < 8; runs++) await scene.run();
    await expectComplete(scene);
    expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
  });
});

describe('a quiet run', () => {
  test.each([
    [4000, 200, 1_000],
    [ROWS, PAGE, 1_000],
    [ROWS, PAGE, 30_000],
    [ROWS, 60, 30_000],
  ])(
    'sends 3 list requests at %i rows, pages of %i and an event each %i ms',
    async (events, pageSize, spacingMs) => {
      const scene = await openProven({ events, spacingMs }, { EXPORT_PAGE_SIZE: String(pageSize) });
      for (let runs = 0; runs < 6; runs++) {
        expect(await scene.countRequests(() => scene.run())).toBe(QUIET_REQUESTS);
        expect((await scene.runs())[0]).toMatchObject({ outcome: 'succeeded', completeness: 'complete' });
      }
      await expectComplete(scene);
    },
  );

  test('with new events sends one request more for each page of them', async () => {
    const scene = await openProven({ events: ROWS });
    scene.simulator.append(90);
    expect(await scene.countRequests(() => scene.run())).toBeLessThanOrEqual(QUIET_REQUESTS + 1);
    await expectComplete(scene);
  });
});

describe('an event deleted at the source', () => {
  test.each([
    ['in the middle', ROWS / 2],
    ['behind the head', 60],
    ['as the newest one', ROWS - 1],
  ])('%s is suspected by the next run, and confirmed by the one after', async (_name, index) => {
    const scene = await openProven({ events: ROWS });
    const deleted = createdOn(scene.simulator.rows[index]!.text);
    scene.simulator.deleteAt(index, 1);
    expect(await scene.countRequests(() => scene.run())).toBeLessThanOrEqual(MAX_SEARCH_REQUESTS);
    expect(await goneEvents(scene)).toEqual([
      { state: 'suspected', is_noted: false, created_on_raw: deleted },
    ]);
    expect(await completenessOf(scene)).toMatchObject({ state: 'not proven', suspected_events: '1' });
    expect(await scene.countRequests(() => scene.run())).toBeLessThanOrEqual(QUIET_REQUESTS + 1);
    expect(await goneEvents(scene)).toEqual([{ state: 'gone', is_noted: true, created_on_raw: deleted }]);
    expect(await completenessOf(scene)).toMatchObject({ gone_events: '1', recently_gone_events: '1' });
    await expectComplete(scene);
    expect(await scene.countRequests(() => scene.run())).toBe(QUIET_REQUESTS);
    await expectComplete(scene);
  });

  test('is not suspected while it was stored within EXPORT_SETTLE, and is not called complete either', async () => {
    const scene = await openProven({ events: ROWS }, { EXPORT_SETTLE: '1h' });
    scene.simulator.deleteAt(600, 1);
    for (let runs = 0; runs < 3; runs++) {
      await scene.run();
      expect(await goneEvents(scene)).toEqual([]);
      expect(await completenessOf(scene)).not.toMatchObject({ state: 'complete' });
    }
    // The ledger lists the next change as an edit by hand.
    await expectWholeLedger(scene);
    proven.delete(scene);
    await scene.query(
      `update audit.events set first_seen_at = first_seen_at - interval '2 hours' where organization = $1`,
    );
    await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'suspected' }]);
    await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
    expect(await completenessOf(scene)).toMatchObject({ state: 'complete' });
  });

  test('that is shown again is no longer gone', async () => {
    const scene = await openProven({ events: ROWS });
    const snapshot = scene.simulator.snapshot();
    scene.simulator.deleteAt(ROWS / 2, 1);
    for (let runs = 0; runs < 2; runs++) await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
    scene.simulator.restore(snapshot);
    for (let runs = 0; runs < 2; runs++) await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'shown again' }]);
    await expectComplete(scene);
  });

  test('as one of two equal rows is gone once, and the other one stays', async () => {
    const scene = await openProven({ events: ROWS });
    expect(scene.simulator.deleteTwin()).toBeDefined();
    for (let runs = 0; runs < 2; runs++) await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
    await expectComplete(scene);
  });

  test('is found although a replica lagged in the run before', async () => {
    const scene = await openProven({ events: ROWS });
    scene.simulator.append(5);
    scene.simulator.deleteAt(ROWS / 2, 1);
    scene.simulator.set({ lag: { changes: [1, 2], probability: 0.5 } });
    await scene.run();
    scene.simulator.set({ lag: undefined });
    for (let runs = 0; runs < 3; runs++) await scene.run();
    expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
    await expectComplete(scene);
  });
});

describe('a source that is another one than before', () => {
  const startAt = new Date('2023-01-01T00:00:00Z');
  const SPACING_MS = 30_000;

  test.each<[string, (scene: Scene) => void]>([
    [
      'reset, with a history of the same time',
      ({ simulator }) => simulator.reset({ seed: 9, events: ROWS, startAt }),
    ],
    [
      'reset, with a history of which the last 35 of 500 rows are new',
      ({ simulator }) =>
        simulator.reset({
          ...{ seed: 9, events: 500 },
          startAt: new Date(startAt.getTime() + (ROWS - 465) * SPACING_MS),
        }),
    ],
    ['suddenly empty', ({ simulator }) => simulator.reset()],
  ])('%s, is a changed source at the first run and in every later one', async (_name, change) => {
    const scene = await openProven({ events: ROWS, startAt, spacingMs: SPACING_MS });
    change(scene);
    await expectChanged(scene);
  });

  test.each<[string, number]>([
    ['with another history', 300],
    ['with a long one', 1500],
    ['without a newer row', 0],
  ])('restored %s, is a changed source at the first run and in every later one', async (_name, events) => {
    const scene = await openProven({ events: ROWS, startAt, spacingMs: SPACING_MS });
    const snapshot = scene.simulator.snapshot();
    scene.simulator.append(500);
    await scene.run();
    scene.simulator.restore(snapshot, { seed: 77, events });
    await expectChanged(scene);
  });

  describe('of which few rows are older than the newest stored ones', () => {
    const newestMs = async (scene: Scene) => {
      const [stored] = await scene.query(
        'select extract(epoch from created_on) * 1000 as ms from audit.watermarks where organization = $1',
      );
      return Math.floor(Number(stored!.ms));
    };

    /** Another history begins: its first rows are older than the watermark by up to this much. */
    async function resetLate(scene: Scene, beforeMs: number): Promise<void> {
      const newest = await newestMs(scene);
      const startAt = new Date(newest + 1_000);
      const first = [beforeMs, beforeMs / 2, beforeMs / 3].map((ms, i) => rowAt(isoAt(newest - ms), i));
      scene.simulator.reset({ seed: 9, events: 300, startAt });
      scene.simulator.insertLate(first.slice(0, beforeMs < 10_000 ? 1 : 3));
    }

    test.each([
      [1_000, {}],
      [30_000, {}],
      [130_000, {}],
      [130_000, { EXPORT_SCRUB_PAGES: '0' }],
      [130_000, { EXPORT_SETTLE: '1h' }],
    ])(
      'by %i ms, is a changed source at the first run and in every later one, with %p',
      async (beforeMs, environment) => {
        const scene = await openProven({ events: 3000, startAt, spacingMs: SPACING_MS }, environment);
        await resetLate(scene, beforeMs);
        await expectChanged(scene);
      },
    );

    test.each<[string, number[]]>([
      ['the run that sees it first fails', [0, 5]],
      ['the run before proved nothing', [400, 4]],
    ])('is one although %s', async (_name, [appended, after]) => {
      const scene = await openProven(
        { events: 3000, startAt, spacingMs: SPACING_MS },
        { EXPORT_PAGE_SIZE: '100', RETRY_LIMIT: '1' },
      );
      scene.simulator.append(appended!);
      if (appended === 0) await resetLate(scene, 1_000);
      scene.simulator.set({ faults: [{ fault: 503, after: after! }] });
      await expect(scene.run()).rejects.toThrow();
      scene.simulator.set({ faults: [] });
      if (appended! > 0) await resetLate(scene, 1_000);
      await expectChanged(scene);
    });
  });

  test('is the same one once it shows its rows again', async () => {
    const scene = await openProven({ events: ROWS });
    const snapshot = scene.simulator.snapshot();
    scene.simulator.reset();
    await scene.run();
    expect(await completenessOf(scene)).toMatchObject({ state: 'source changed' });
    scene.simulator.restore(snapshot);
    for (let runs = 0; runs < 2; runs++) await scene.run();
    await expectComplete(scene);
    expect(await goneEvents(scene)).toEqual([]);
  });

  test('reset, with a history of 90 rows of which 7 are new, is a changed source at the first run and in every later one', async () => {
    const scene = await openProven({ events: 1000, startAt, spacingMs: SPACING_MS });
    const from = new Date(startAt.getTime() + (1000 - 83) * SPACING_MS);
    scene.simulator.reset({ seed: 9, events: 90, startAt: from });
    await expectChanged(scene);
  });

  async function expectChanged(scene: Scene): Promise<void> {
    for (let runs = 0; runs < 3; runs++) {
      const { outcome, warnings } = await scene.run();
      expect({ outcome, warned: warnings.length > 0, ...(await completenessOf(scene)) }).toMatchObject({
        ...{ outcome: 'succeeded', warned: true, state: 'source changed' },
        reason: expect.any(String),
        gone_events: '0',
      });
      expect((await scene.runs())[0]).toMatchObject({ completeness: 'source changed' });
      scene.simulator.append(3);
    }
    expect((await goneEvents(scene)).filter(({ state }) => state !== 'dismissed')).toEqual([]);
  }
});

describe('a block of events deleted at the source', () => {
  test.each([
    ['half a page', 40, 50],
    ['more than a page', 90, 50],
    ['a part of a page', 90, 1000],
  ])('%s, is suspected by the next run and confirmed by the one after', async (_name, count, pageSize) => {
    const scene = await openProven({ events: 3000 }, { EXPORT_PAGE_SIZE: String(pageSize) });
    scene.simulator.deleteAt(1500, count);
    scene.simulator.append(5);
    for (let runs = 0; runs < 4; runs++) {
      await scene.run();
      expect(await completenessOf(scene)).not.toMatchObject({ state: 'source changed' });
    }
    expect(await goneEvents(scene)).toEqual(
      Array.from({ length: count }, () => expect.objectContaining({ state: 'gone' })),
    );
    await expectComplete(scene);
  });

  test.each([1, 3])(
    'out of what the first run has just read, with %i requests at once',
    async (concurrency) => {
      let responses = 0;
      const scene = await open(
        {
          events: 1500,
          // Called before the rows of each response are taken from the list.
          totalCount(right) {
            // Deletes rows that were read, so that the next page is not trusted, and shows others again.
            if (++responses === 4) scene.simulator.deleteAt(60, 45);
            if (responses === 12) scene.simulator.deleteAt(300, 45);
            return right;
          },
        },
        { EXPORT_PAGE_SIZE: '60', EXPORT_CONCURRENCY: String(concurrency) },
      );
      for (let runs = 0; runs < 4; runs++) {
        await scene.run();
        expect(await completenessOf(scene)).not.toMatchObject({ state: 'source changed' });
      }
      await expectComplete(scene);
      expect((await goneEvents(scene)).map(({ state }) => state)).toEqual(
        Array.from({ length: (await goneEvents(scene)).length }, () => 'gone'),
      );
    },
  );
});

describe('a replica that lags', () => {
  test('by all that was appended since, is no changed source, also if other responses show it', async () => {
    const scene = await openProven({ events: 1000 }, { EXPORT_PAGE_SIZE: '60', EXPORT_SETTLE: '1h' });
    for (let appends = 0; appends < 3; appends++) {
      scene.simulator.append(1500);
      scene.simulator.set({ lag: { changes: [1, 1], probability: 0.4 } });
      for (let runs = 0; runs < 2; runs++) {
        await scene.run();
        expect(await completenessOf(scene)).not.toMatchObject({ state: 'source changed' });
      }
      scene.simulator.set({ lag: undefined });
      await scene.run();
      expect(await goneEvents(scene)).toEqual([]);
      await expectComplete(scene);
    }
  });
});

describe('retention at the source', () => {
  const OLD_ROW = rowAt('0001-01-01T00:00:00.0000000+00:00');

  test.each<[string, SimulatorOptions, number]>([
    ['', {}, 0],
    [' and leaves one old row in front', { rows: [OLD_ROW] }, 1],
  ])(
    'that deletes the head%s between runs is no alarm, and the rest is proven',
    async (_name, options, spare) => {
      const scene = await openProven({ events: ROWS, ...options });
      for (const count of [1, 210, 12, 450]) {
        scene.simulator.deleteHead(count, { spare });
        await scene.run();
        expect(await goneEvents(scene)).toEqual([]);
        await expectComplete(scene);
      }
      scene.simulator.insertLate(1, { fromMs: 150 * 30_000, toMs: 150 * 30_000 + 1000 });
      await scene.run();
      await expectComplete(scene);
    },
  );

  test.each<[string, SimulatorOptions, number]>([
    ['', {}, 0],
    [' and leaves one old row in front', { rows: [OLD_ROW] }, 1],
  ])('that deletes the head%s during a run is no alarm', async (_name, options, spareHead) => {
    const scene = await openProven({ events: ROWS, ...options }, { EXPORT_PAGE_SIZE: '200' });
    for (const deleteHead of [1, 7, 25]) {
      scene.simulator.append(500);
      scene.simulator.set({ moves: { deleteHead, spareHead } });
      await scene.run();
      scene.simulator.set({ moves: {} });
      await scene.run();
      expect(await goneEvents(scene)).toEqual([]);
      await expectComplete(scene);
    }
  });
});

describe('a busy list', () => {
  test.each([
    ['an append and a head deletion', { append: 1, deleteHead: 1 }],
    ['several appends and head deletions', { append: 8, deleteHead: 5 }],
    ['an append, a late row and a head deletion', { append: 1, insertLate: 1, deleteHead: 1 }],
  ])(
    'with %s at every request costs no endless search, and is proven at the next quiet moment',
    async (_name, moves) => {
      const scene = await openProven({ events: 4000 }, { EXPORT_PAGE_SIZE: '200' });
      scene.simulator.set({ moves });
      for (let runs = 0; runs < 4; runs++) {
        const requests = await scene.countRequests(() => scene.run());
        const inserted = Number((await scene.runs())[0]!.rows_inserted);
        expect(requests).toBeLessThanOrEqual(BUDGET + inserted + QUIET_REQUESTS);
        expect(await goneEvents(scene)).toEqual([]);
      }
      scene.simulator.set({ moves: {} });
      await scene.run();
      await expectComplete(scene);
    },
  );
});

describe('the clocks', () => {
  /** Rows that end at `endsAt`, one a minute. */
  const endingAt = (endsAt: number, events = 1500): SimulatorOptions => ({
    ...{ events, spacingMs: MINUTE_MS, startAt: new Date(endsAt - events * MINUTE_MS) },
  });
  const newestRow = async (scene: Scene, before: string) =>
    (
      await scene.query(
        'select created_on_raw from audit.events where organization = $1 and created_on < $2 order by created_on_ticks desc limit 1',
        before,
      )
    )[0];

  // Reads the clock: the Date header of the simulator does, too.
  test('an event dated years ahead hides no row of a source that is three hours behind', async () => {
    const ahead = '2090-01-01T00:00:00.0000000Z';
    // Reads the clock: the rows are dated relative to the clock that the program reads.
    const scene = await open({ ...endingAt(Date.now() - 3 * HOUR_MS, 120), rows: [rowAt(ahead)] });
    for (let runs = 0; runs < 4; runs++) {
      await scene.run();
      await expectComplete(scene);
      expect(await scene.watermark()).toMatchObject(
        (await newestRow(scene, '2089-01-01')) as Record<string, unknown>,
      );
      // Reads the clock: coverage ends by the clock of the source, which is this one.
      const coverage = await scene.query(
        'select to_at <= clock_timestamp() as is_past from audit.coverage where organization = $1',
      );
      expect(coverage).toEqual([{ is_past: true }]);
      scene.simulator.append(13);
    }
  });

  test.each([
    ['a day behind', 1],
    ['a day ahead', -1],
  ])(
    "with the worker's clock %s every row is stored, and none counts as dated ahead",
    async (_name, days) => {
      const offset = days * DAY_MS;
      // Reads the clock: the rows are dated relative to the clock of the simulator.
      const scene = await open({ ...endingAt(Date.now() + offset - HOUR_MS), clockOffsetMs: offset });
      for (let runs = 0; runs < 3; runs++) {
        await scene.run();
        await expectComplete(scene);
        const newest = createdOn(scene.simulator.rows.at(-1)!.text);
        expect(await scene.watermark()).toMatchObject({ created_on_raw: newest });
        scene.simulator.append(10);
        scene.simulator.insertLate(1, { fromMs: 20 * HOUR_MS, toMs: 20 * HOUR_MS + 1000 });
      }
    },
  );

  test.each([
    ['a day behind', 1],
    ['a day ahead', -1],
  ])("with the worker's clock %s coverage ends at the source's clock", async (_name, days) => {
    const offset = days * DAY_MS;
    // Reads the clock: the rows are dated relative to the clock of the simulator.
    const scene = await open({ ...endingAt(Date.now() + offset - HOUR_MS), clockOffsetMs: offset });
    await scene.run();
    const [coverage] = await scene.query('select to_at from audit.coverage where organization = $1');
    const to = Date.parse(String(coverage!.to_at));
    // The earlier one of both clocks.
    // Reads the clock: coverage ends by it.
    expect(to).toBeLessThanOrEqual(Date.now() + Math.min(offset, 0) + 1000);
    const newest = Date.parse(createdOn(scene.simulator.rows.at(-1)!.text));
    if (offset < 0) expect(to).toBeGreaterThanOrEqual(newest);
    const { signal } = new AbortController();
    expect(await verifyState(bench.pool, { organization: scene.organization, signal })).toEqual([]);
  });
});

describe('milliseconds whose rows are not in the order of ticks', () => {
  const burst = (ms: number, count: number, from = 0) =>
    Array.from({ length: count }, (_, i) =>
      rowAt(isoAt(ms).replace('0000Z', `${String((i * 7919 + 13) % 10_000).padStart(4, '0')}Z`), from + i),
    );
  const BEGIN = Date.parse('2023-03-01T00:00:00Z');
  const rows = Array.from({ length: 60 }, (_, i) => burst(BEGIN + i * 1000, 10, i * 10)).flat();

  test.each([
    [1000, false],
    [25, false],
    [25, true],
  ])(
    'with pages of %i, shuffled at each request: %p, are stored and proven',
    async (pageSize, shuffleTies) => {
      const scene = await open(
        { rows, millisecondOrder: true, shuffleTies },
        { EXPORT_PAGE_SIZE: String(pageSize) },
      );
      for (let runs = 0; runs < 2; runs++) {
        expect(await scene.run()).toMatchObject({ outcome: 'succeeded' });
        await expectComplete(scene);
      }
      scene.simulator.append(burst(BEGIN + 70_000, 10, 600));
      scene.simulator.insertLate(burst(BEGIN + 20_000, 2, 700));
      await scene.run();
      await expectComplete(scene);
      scene.simulator.deleteAt(305, 1);
      for (let runs = 0; runs < 2; runs++) await scene.run();
      expect(await goneEvents(scene)).toMatchObject([{ state: 'gone' }]);
      await expectComplete(scene);
    },
  );
});

describe('totalCount', () => {
  test.each<[string, SimulatorOptions]>([
    ['one too large', { totalCount: (right) => right + 1 }],
    ['much too large', { totalCount: (right) => right + 5000 }],
    ['one too small', { totalCount: (right) => right - 1 }],
    ['one too small under a capped top', { totalCount: (right) => right - 1, cap: 90 }],
    ['what the capped top shows', { totalCount: (right) => Math.min(right, 90), cap: 90 }],
    ['half', { totalCount: (right) => Math.floor(right / 2) }],
    ['zero', { totalCount: () => 0 }],
  ])('%s, hides no row, fails no run and is a warning', async (_name, options) => {
    const scene = await open({ events: 700, ...options }, { EXPORT_PAGE_SIZE: '100' });
    for (let runs = 0; runs < 3; runs++) {
      const { outcome, warnings } = await scene.run();
      expect({ outcome, isWarned: warnings.length > 0 }).toEqual({ outcome: 'succeeded', isWarned: true });
      await expectComplete(scene);
      scene.simulator.append(runs === 0 ? 1 : 35);
    }
  });

  test.each<[string, SimulatorOptions]>([
    ['null', { totalCount: () => null }],
    ['missing', { totalCount: () => undefined }],
  ])('%s, is refused, or hides no row', async (_name, options) => {
    const scene = await open({ events: 700, ...options }, { EXPORT_PAGE_SIZE: '100' });
    const refused = await scene.run().then(
      () => undefined,
      (error) => error.code,
    );
    if (refused === undefined) await expectComplete(scene);
    else expect({ refused, ...(await completenessOf(scene)) }).not.toMatchObject({ state: 'complete' });
    expect([undefined, 'source-invalid']).toContain(refused);
  });
});

describe('rows that were shown', () => {
  test.each([1, 4])(
    'and were deleted out of the tie group at the frontier before the next page are stored, with %i requests at once',
    async (concurrency) => {
      const at = (i: number) =>
        isoAt(Date.parse('2023-03-01T00:00:00Z') + (i >= 97 && i < 103 ? 97 : i) * 1000);
      const rows = Array.from({ length: 300 }, (_, i) => rowAt(at(i), i));
      let responses = 0;
      const scene = await open(
        {
          rows,
          // Called before the rows of each response are taken from the list.
          totalCount(right) {
            if (++responses === 2) scene.simulator.deleteAt(98, 2);
            return right;
          },
        },
        { EXPORT_PAGE_SIZE: '100', EXPORT_CONCURRENCY: String(concurrency) },
      );
      await scene.run();
      const stored = (await scene.query(STORED_EVENTS)).map(storedFieldsOf);
      expect([...stored].sort()).toEqual(rows.map((row) => fieldsOf({ ...row })).sort());
    },
  );
});

describe('a list in which no row is readable', () => {
  test('fails the run with an example, keeps the rows, and moves neither watermark nor coverage', async () => {
    const rows = Array.from({ length: 100 }, (_, i) =>
      JSON.stringify(rowAt(`2023-03-01T00:${String(i % 60).padStart(2, '0')}:00`, i)),
    );
    const scene = await open({ rows });
    await expect(scene.run()).rejects.toThrow(/2023-03-01T00:/);
    expect((await scene.runs())[0]).toMatchObject({ outcome: 'failed', rows_rejected: '100' });
    expect(await scene.watermark()).toBeUndefined();
    for (const [table, count] of [
      ['rejected_events', 100],
      ['coverage', 0],
      ['events', 0],
    ] as const) {
      const found = await scene.query(`select from audit.${table} where organization = $1`);
      expect({ table, count: found.length }).toEqual({ table, count });
    }
    expect(await completenessOf(scene)).not.toMatchObject({ state: 'complete' });
  });

  test('is read by the next run once its rows are readable', async () => {
    const unreadable = JSON.stringify(rowAt('2023-03-01T00:00:00', 1));
    const scene = await open({ rows: [unreadable] });
    await expect(scene.run()).rejects.toThrow();
    scene.simulator.append(50);
    expect(await scene.run()).toMatchObject({ outcome: 'succeeded' });
    expect((await scene.query(STORED_EVENTS)).length).toBe(50);
  });
});
