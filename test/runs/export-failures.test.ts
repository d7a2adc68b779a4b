import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runExport } from '../../src/runs/export.ts';
import { makeEvent } from '../../src/simulator/events.ts';
import { type Bench, createApp, createBench, type Scene } from '../support/bench.ts';
import { expectStored } from '../support/truth.ts';

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

const lastRun = async (scene: Scene) => (await scene.runs())[0]!;
const storedCount = async (scene: Scene) =>
  Number((await scene.query('select count(*) as n from audit.events where organization = $1'))[0]!.n);

describe('a run that cannot continue', () => {
  test.each([
    [
      'the source is down',
      { fault: 503 },
      'source-away',
      /No usable response from http.* after 4 attempts: HTTP 503/,
    ],
    [
      'the source resets every connection',
      { fault: 'reset' },
      'source-away',
      /No response from http.* after 4 attempts/,
    ],
    ['the path is wrong', { fault: 'html' }, 'configuration', /HTML/],
    ['the scope is missing', { fault: 403 }, 'configuration', /PM\.Audit\.Read/],
  ] as const)('because %s keeps what it had and says why in its row', async (_, fault, code, message) => {
    const scene = await bench.open({ events: 1000 });
    scene.simulator.set({ faults: [{ ...fault, after: 6 }] });
    await expect(scene.run()).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    const run = await lastRun(scene);
    expect(run).toMatchObject({ outcome: 'failed', error: expect.stringMatching(message) });
    expect(run.ended_at).not.toBeNull();
    expect(JSON.stringify(run)).not.toContain(scene.simulator.clientSecret);
    const stored = await storedCount(scene);
    expect(stored).toBeGreaterThan(250);
    expect(Number(run.rows_inserted)).toBe(stored);
    scene.simulator.set({ faults: [] });
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });

  test('because the source ignores the sort order fails with that sentence', async () => {
    const scene = await bench.open({ events: 300, ignoreSortOrder: true });
    const sentence = /The source ignored sortOrder=asc/;
    await expect(scene.run()).rejects.toMatchObject({
      code: 'source-invalid',
      message: expect.stringMatching(sentence),
    });
    expect(await lastRun(scene)).toMatchObject({ outcome: 'failed', error: expect.stringMatching(sentence) });
    expect(await storedCount(scene)).toBe(0);
  });

  test('because the database closes its connection is marked as abandoned by the next one, which continues', async () => {
    const scene = await bench.open({ events: 1000 });
    const ending: Promise<unknown>[] = [];
    const onChunk = () => {
      if (ending.length > 0) return;
      // The run must not end before its connection is closed.
      scene.simulator.set({ latencyMs: 300 });
      ending.push(scene.endSession());
    };
    await expect(scene.run({ onChunk })).rejects.toMatchObject({ code: 'database-away' });
    await Promise.all(ending);
    scene.simulator.set({ latencyMs: 0 });
    expect(await lastRun(scene)).toMatchObject({ outcome: null });
    await scene.run();
    expect(await scene.runs()).toMatchObject([{ outcome: 'succeeded' }, { outcome: 'abandoned' }]);
    await expectStored(scene, scene.simulator.rows);
  });

  test('retries after transient errors of the source, and counts the retries', async () => {
    const scene = await bench.open({
      events: 1000,
      faults: [
        { fault: 500, every: 3 },
        { fault: 'half-length', every: 5 },
      ],
    });
    const { counters } = await scene.run();
    expect(counters.retries).toBeGreaterThan(3);
    expect(await lastRun(scene)).toMatchObject({ outcome: 'succeeded', retries: String(counters.retries) });
    expect(counters.requests).toBe(scene.simulator.counts.list);
    await expectStored(scene, scene.simulator.rows);
  });
});

describe('a run that is stopped', () => {
  test('has stored each page completely or not at all, and its row has the counts', async () => {
    const scene = await bench.open({ events: 1000 });
    const stop = new AbortController();
    const committed: number[] = [];
    const onChunk = ({ taken }: { taken: number }) => {
      if (committed.push(taken) === 3) stop.abort();
    };
    await expect(scene.run({ signal: stop.signal, onChunk })).rejects.toMatchObject({ code: 'interrupted' });
    const stored = committed.reduce((sum, taken) => sum + taken, 0);
    expect(await storedCount(scene)).toBe(stored);
    expect(await lastRun(scene)).toMatchObject({
      outcome: 'interrupted',
      error: expect.stringContaining('Stopped by a signal'),
      rows_inserted: String(stored),
    });
    const watermark = (await scene.watermark())!.created_on_ticks as string;
    await expectStored(
      scene,
      scene.simulator.rows.filter(({ ticks }) => ticks! <= BigInt(watermark)),
    );
  });

  test('stops at once while it waits for a response, and releases the lease', async () => {
    const scene = await bench.open({ events: 300, faults: [{ fault: 'silence', after: 1 }] });
    const stop = new AbortController();
    const startedAt = performance.now();
    const running = scene.run({ signal: stop.signal, onChunk: () => setTimeout(() => stop.abort(), 50) });
    await expect(running).rejects.toMatchObject({ code: 'interrupted' });
    // Its request may take 30 s.
    expect(performance.now() - startedAt).toBeLessThan(20_000);
    expect(await lastRun(scene)).toMatchObject({ outcome: 'interrupted' });
    scene.simulator.set({ faults: [] });
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });
});

describe('two workers on one organization', () => {
  test('at once: one works, the other is rejected and stores nothing', async () => {
    // The run is long enough for both to overlap, even if one connects slowly.
    const scene = await bench.open({ events: 1000, latencyMs: 200 });
    const { app } = createApp(scene.simulator, { url: bench.database.url, pool: bench.pool });
    const other = () => runExport(app, { kind: 'backfill', signal: new AbortController().signal });
    const outcomes = await Promise.allSettled([scene.run(), other()]);
    app.source.close();
    const codes = outcomes.map((outcome) =>
      outcome.status === 'rejected' ? outcome.reason.code : outcome.status,
    );
    expect(codes.sort()).toEqual(['fulfilled', 'locked']);
    expect(await scene.runs()).toMatchObject([{ outcome: 'succeeded' }]);
    await expectStored(scene, scene.simulator.rows);
  });

  test('in turn store nothing twice', async () => {
    const scene = await bench.open({ events: 600, moves: { append: 3 } });
    for (let i = 0; i < 4; i++) await scene.run({ kind: i % 2 === 0 ? 'run' : 'backfill' });
    scene.simulator.set({ moves: {} });
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });
});

describe('a tie group larger than any page', () => {
  const moment = '2023-01-01T00:10:00.0000000Z';
  const burst = Array.from({ length: 150 }, (_, i) => makeEvent('login', { createdOn: moment, variant: i }));

  test('is stored completely, and the run warns how it was read', async () => {
    const scene = await bench.open({ events: 200, rows: burst, cap: 40 });
    const { warnings } = await scene.run();
    const warning =
      /^More events share the millisecond 2023-01-01T00:10:00\.0000000Z than fit in one page; they were read page by page$/;
    expect(warnings).toEqual([expect.stringMatching(warning)]);
    expect(await lastRun(scene)).toMatchObject({ outcome: 'succeeded', warnings });
    expect(scene.lines.filter(({ level }) => level === 'warn')).toEqual([
      expect.objectContaining({ msg: warnings[0] }),
    ]);
    await expectStored(scene, scene.simulator.rows);
  });

  test('needs no warning if the source returns a larger page', async () => {
    const scene = await bench.open({ events: 200, rows: burst });
    expect((await scene.run()).warnings).toEqual([]);
    await expectStored(scene, scene.simulator.rows);
  });

  test('in another order in each response causes a warning that events may be late, and stores nothing twice', async () => {
    const scene = await bench.open({ events: 200, rows: burst, cap: 40, shuffleTies: true });
    const { warnings } = await scene.run();
    expect(warnings).toEqual([expect.stringContaining('some may be stored only by a later run')]);
    for (let i = 0; i < 4; i++) await scene.run({ kind: 'backfill', shouldRestart: true });
    const stored = await storedCount(scene);
    expect(stored).toBeLessThanOrEqual(350);
    scene.simulator.set({ shuffleTies: false });
    await scene.run({ kind: 'backfill', shouldRestart: true });
    await expectStored(scene, scene.simulator.rows);
  });
});
