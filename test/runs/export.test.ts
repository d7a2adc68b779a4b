import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runExport } from '../../src/runs/export.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import { type Bench, createApp, createBench, type Scene } from '../support/bench.ts';
import { expectNothingLostOrDoubled, expectStored } from '../support/truth.ts';

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

const rowAt = (createdOn: string, variant = 0) => makeEvent('login', { createdOn, variant });
const lastRun = async (scene: Scene) => (await scene.runs())[0]!;

describe('a run', () => {
  test('stores the whole list first, and then only new events', async () => {
    const scene = await bench.open({ events: 1000 });
    const first = await scene.run();
    expect(first).toMatchObject({ outcome: 'succeeded', warnings: [] });
    expect(first.counters).toMatchObject({
      inserted: 1000,
      rowsRead: 1000,
      updated: 0,
      rejected: 0,
      late: 0,
    });
    await expectStored(scene, scene.simulator.rows);
    const newest = scene.simulator.rows.at(-1)!;
    expect(await scene.watermark()).toMatchObject({
      created_on_ticks: newest.ticks!.toString(),
      created_on_raw: JSON.parse(newest.text).createdOn,
      resume: '{"skip": 1000, "largest": 100}',
      source_total: '1000',
      run_id: first.runId,
    });

    scene.simulator.append(37);
    const requests = await scene.countRequests(() => scene.run());
    expect(requests).toBeLessThanOrEqual(3);
    expect(await lastRun(scene)).toMatchObject({ rows_inserted: '37', rows_updated: '0', rows_late: '0' });
    await expectStored(scene, scene.simulator.rows);
  });

  test('over an unchanged list sends three requests (old history, end, head), writes no row and reads only the lookback', async () => {
    const scene = await bench.open({ events: 1000 }, { EXPORT_LOOKBACK: '10m' });
    await scene.run();
    const versions =
      'select ctid::text, xmin::text from audit.events where organization = $1 order by event_id';
    const before = await scene.query(versions);
    expect(await scene.countRequests(() => scene.run())).toBe(3);
    expect(await scene.query(versions)).toEqual(before);
    const run = await lastRun(scene);
    expect(run).toMatchObject({ outcome: 'succeeded', rows_inserted: '0', requests: '3', pages: '3' });
    expect(Number(run.rows_unchanged)).toBeLessThan(100);
  });

  test.each([
    ['whose list fits in a page', 300, '10m'],
    ['whose list does not', 2500, '10m'],
    ['with more in its lookback than a page holds', 2500, '2h'],
  ])(
    'that finds nothing new writes nothing but its own row, the lease, and what it proved, in an organization %s',
    async (_, events, lookback) => {
      const scene = await bench.open({ events }, { EXPORT_LOOKBACK: lookback });
      await scene.run();
      await scene.run();
      const versions = async () => ({
        events: await scene.query(
          'select ctid::text, xmin::text, xmax::text from audit.events where organization = $1 order by 1',
        ),
        // The lease and the result of the count are on the same row.
        watermarks: await scene.query(
          `select to_jsonb(w) - '{lease_run_id,lease_until,lease_pid,ranks,assessed_at,proven_at}'::text[] as watermark
           from audit.watermarks w where organization = $1`,
        ),
        // It ends where the source's clock was.
        coverage: await scene.query(
          `select to_jsonb(c) - '{to_ticks,to_at,proven_at}'::text[] as range from audit.coverage c where organization = $1`,
        ),
        gone: await scene.query('select * from audit.gone_events where organization = $1'),
        ledger: await scene.query('select batch from audit.ledger where organization = $1 order by 1'),
        runs: (await scene.query('select run_id from audit.runs where organization = $1')).length,
      });
      const before = await versions();
      const tokens = scene.simulator.counts.token;
      await scene.run();
      expect(await versions()).toEqual({ ...before, runs: before.runs + 1 });
      expect(scene.simulator.counts.token).toBe(tokens);
      expect(
        (await scene.query('select outcome from audit.runs where organization = $1')).map(
          (run) => run.outcome,
        ),
      ).toEqual(Array(before.runs + 1).fill('succeeded'));
    },
  );

  test('over an unchanged list sends three requests even if a few rows are not events', async () => {
    const scene = await bench.open({ events: 1000 }, { EXPORT_LOOKBACK: '10m' });
    scene.simulator.append(['{"createdOn":"2023-01-01T08:15:00Z","action":5}', '7', '8', '9']);
    await scene.run();
    expect(await lastRun(scene)).toMatchObject({ rows_rejected: '4' });
    expect(await scene.countRequests(() => scene.run())).toBe(3);
  });

  test('of an empty organization succeeds, and the first event is found later', async () => {
    const scene = await bench.open();
    expect((await scene.run()).counters).toMatchObject({ requests: 1, rowsRead: 0 });
    expect(await scene.watermark()).toBeUndefined();
    scene.simulator.append([rowAt('2023-01-01T00:00:00Z')]);
    expect((await scene.run()).counters.inserted).toBe(1);
  });

  test.each([1, 8])(
    'with %i requests at once stores the same of a list in which nothing is as it should be',
    async (concurrency) => {
      const scene = await bench.open(
        { events: 1500, seed: 5, createdOnForm: 'mixed', shuffleTies: true, cap: [90, 75, 80] },
        { EXPORT_CONCURRENCY: String(concurrency) },
      );
      await scene.run();
      await expectStored(scene, scene.simulator.rows);
      const { rows_inserted: inserted, rows_read: read } = await lastRun(scene);
      expect(inserted).toBe('1500');
      // Where the order of a group has changed, the rows that a page repeats are compared again.
      expect(Number(read)).toBeGreaterThanOrEqual(1500);
      expect(Number(read)).toBeLessThan(1600);
    },
  );

  test('stores each late event, also a tie of the watermark, and says how many were late', async () => {
    const scene = await bench.open({ events: 300 }, { EXPORT_LOOKBACK: '1h' });
    await scene.run();
    const newest = JSON.parse(scene.simulator.rows.at(-1)!.text).createdOn;
    scene.simulator.insertLate(5);
    scene.simulator.insertLate([rowAt(newest, 3)]);
    const { counters } = await scene.run();
    expect(counters).toMatchObject({ inserted: 6, late: 5 });
    await expectStored(scene, scene.simulator.rows);
  });

  test('finds an event later than the lookback by the count', async () => {
    const scene = await bench.open(
      { events: 3000 },
      { EXPORT_LOOKBACK: '10m', EXPORT_RECHECK_WINDOW: '20h' },
    );
    await scene.run();
    scene.simulator.insertLate([rowAt('2023-01-01T20:00:00Z')]);
    const { counters, proof } = await scene.run();
    expect(counters).toMatchObject({ inserted: 1, late: 1 });
    expect(proof).toMatchObject({ state: 'complete' });
    expect((await scene.run({ kind: 'recheck' })).counters).toMatchObject({ inserted: 0, late: 0 });
    await expectStored(scene, scene.simulator.rows);
  });

  test('updates only what the source renders differently in another language', async () => {
    const scene = await bench.open({ events: 120 });
    await scene.run();
    const { app } = createApp(scene.simulator, {
      url: bench.database.url,
      pool: bench.pool,
      environment: { UIPATH_LANGUAGE: 'de', EXPORT_LOOKBACK: '30d' },
    });
    const again: Scene = { ...scene, app };
    const german = [...scene.simulator.iterateRows('de')];
    const changed = german.filter(({ text }, i) => text !== scene.simulator.rows[i]!.text).length;
    const { counters } = await runExport(app, { kind: 'run', signal: new AbortController().signal });
    // The page of old history updates 99 of them first: they are unchanged when the lookback is read. The group of its last row may go on.
    expect(counters).toMatchObject({ inserted: 0, updated: changed, unchanged: 120 - changed + 99 });
    await expectStored(again, german);
    app.source.close();
  });
});

describe('an event dated in the future', () => {
  const future = '2099-01-01T00:00:00.0000000Z';
  // Reads the clock: an event newer than the last run, whenever that was.
  const soon = () => new Date(Date.now() - 1000).toISOString().replace('Z', '0000Z');

  test('hides no event after it', async () => {
    const scene = await bench.open({ events: 250, rows: [rowAt(future)] }, { EXPORT_LOOKBACK: '1h' });
    await scene.run();
    // It is stored, and the watermark stays at the newest event that is not dated ahead of the source's clock.
    const { createdOn } = JSON.parse(scene.simulator.rows[249]!.text);
    expect(await scene.watermark()).toMatchObject({ created_on_raw: createdOn });
    scene.simulator.append([rowAt(soon(), 1)]);
    expect((await scene.run()).counters).toMatchObject({ inserted: 1, late: 0 });
    scene.simulator.append([rowAt(soon(), 2)]);
    scene.simulator.append([rowAt('2099-01-02T00:00:00Z', 3)]);
    expect((await scene.run()).counters).toMatchObject({ inserted: 2, late: 0 });
    await expectStored(scene, scene.simulator.rows);
  });

  test('hides no event that an interrupted run did not read', async () => {
    const scene = await bench.open({ events: 250, rows: [rowAt(future)] });
    await scene.run();
    await scene.query(`update audit.watermarks set read_at = '2023-01-01T01:00:00Z' where organization = $1`);
    scene.simulator.insertLate(
      Array.from({ length: 300 }, (_, i) => rowAt(minutesAfter('2023-01-01T01:30:00Z', i), i)),
    );
    const stop = new AbortController();
    await expect(scene.run({ signal: stop.signal, onChunk: () => stop.abort() })).rejects.toMatchObject({
      code: 'interrupted',
    });
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });
});

describe('a run over a list that changes between any two requests', () => {
  const moves = { append: 6, insertLate: 2, deleteHead: 4, deleteMiddle: 1 };

  test.each([1, 8])(
    'with %i concurrent requests loses nothing and stores nothing twice',
    async (concurrency) => {
      const scene = await bench.open(
        { events: 1200, seed: 3, shuffleTies: true, moves },
        { EXPORT_CONCURRENCY: String(concurrency), EXPORT_LOOKBACK: '1h' },
      );
      for (let i = 0; i < 3; i++) await scene.run();
      scene.simulator.set({ moves: {} });
      await scene.run();
      expect(scene.simulator.removed.length).toBeGreaterThan(100);
      await expectNothingLostOrDoubled(scene);
    },
  );
});

describe('events that the source deletes', () => {
  test('stay stored, and cause no gap while the list still reaches back to the watermark', async () => {
    const scene = await bench.open({ events: 500 });
    await scene.run();
    const before = scene.simulator.rows;
    scene.simulator.deleteHead(480);
    scene.simulator.append(10);
    await scene.run();
    await expectStored(scene, [...before, ...scene.simulator.rows.slice(20)]);
    expect(await scene.query('select * from audit.gaps where organization = $1')).toEqual([]);
  });

  test('before they were read cause a gap, which is recorded once, and the run continues', async () => {
    const scene = await bench.open({ events: 500 });
    await scene.run();
    const before = scene.simulator.rows;
    scene.simulator.append(500);
    scene.simulator.deleteHead(700);
    await scene.run();
    await scene.run();
    const { rows } = scene.simulator;
    await expectStored(scene, [...before, ...rows]);
    expect(await scene.query('select * from audit.gaps where organization = $1')).toMatchObject([
      { from_ticks: (before.at(-1)!.ticks! + 1n).toString(), to_ticks: rows[0]!.ticks!.toString() },
    ]);
  });
});

function minutesAfter(start: string, minutes: number): string {
  return new Date(Date.parse(start) + minutes * 60_000).toISOString();
}
