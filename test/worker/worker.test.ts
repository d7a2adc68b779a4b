import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createWorker, type Worker } from '../../src/worker/worker.ts';
import { type Bench, createApp, createBench, type Scene } from '../support/bench.ts';
import { withParameter } from '../support/database.ts';
import { createDatabaseProxy } from '../support/proxy.ts';

/** A run of several seconds, so that a test can act in its middle even on a busy machine. */
const LONG = { events: 1000, latencyMs: 200 };

let bench: Bench;
let stopping = new AbortController();
let worker: Worker | undefined;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
afterEach(async () => {
  stopping.abort();
  await worker?.settled();
  stopping = new AbortController();
});

function employ(scene: Pick<Scene, 'app'>, retryWaits?: { firstMs: number; longestMs: number }) {
  const health = createHealth([scene.app.config.source.organization]);
  health.databaseReady();
  const metrics = createMetrics().follow('acme', {});
  worker = createWorker(scene.app, { health, metrics }, stopping.signal, {
    ...(retryWaits && { retryWaits }),
  });
  return { worker, health };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`gave up waiting until ${condition}`);
    await sleep(10);
  }
}

/** Waits until `count` runs have ended and returns the runs, oldest first. */
async function endedRuns(scene: Scene, count: number) {
  await until(async () => (await scene.runs()).filter(({ outcome }) => outcome !== null).length >= count);
  return (await scene.runs()).reverse();
}

function someStored(scene: Scene): Promise<void> {
  const look = 'select from audit.events where organization = $1 limit 1';
  return until(async () => (await scene.query(look)).length > 0);
}

test('many requests during a run cause one more run', async () => {
  const scene = await bench.open({ events: 50, latencyMs: 300 });
  const { worker } = employ(scene);
  for (let i = 0; i < 5; i++) worker.trigger('run');
  await sleep(50);
  for (let i = 0; i < 5; i++) worker.trigger('run');
  await endedRuns(scene, 2);
  await sleep(400);
  expect(await scene.runs()).toHaveLength(2);
});

test('a failed run is retried with a backoff that doubles up to the longest wait and is reset by a success', async () => {
  const scene = await bench.open({ events: 50, faults: [{ fault: 503 }] }, { RETRY_LIMIT: '1' });
  const { worker, health } = employ(scene, { firstMs: 100, longestMs: 400 });
  const waits = () =>
    scene.lines.flatMap(({ retryInSeconds: wait }) => (wait === undefined ? [] : [wait as number]));
  worker.trigger('run');
  // The wait is logged shortly after the outcome of the run is stored.
  await until(() => waits().length >= 5);
  const runs = await endedRuns(scene, 5);
  expect(waits().slice(0, 5)).toEqual([0.1, 0.2, 0.4, 0.4, 0.4]);
  const begun = runs.slice(0, 5).map((run) => Date.parse(run.started_at as string));
  const spaces = begun.slice(1).map((at, i) => at - begun[i]!);
  spaces.forEach((space, i) => {
    expect(space).toBeGreaterThanOrEqual([100, 200, 400, 400][i]!);
  });
  expect(health.read().organizations[0]!.lastRun).toMatchObject({
    ...{
      outcome: 'failed',
      error: expect.stringContaining('HTTP 503'),
      retry: { attempt: expect.any(Number) },
    },
  });

  scene.simulator.set({ faults: [] });
  await until(() => health.read().organizations[0]!.lastRun?.outcome === 'succeeded');
  expect((await scene.runs())[0]).toMatchObject({ outcome: 'succeeded' });
  const [ended, waited] = [(await scene.runs()).length, waits().length];
  await sleep(500);
  expect(await scene.runs()).toHaveLength(ended);
  scene.simulator.set({ faults: [{ fault: 503 }] });
  worker.trigger('run');
  await until(() => waits().length > waited);
  expect(waits()[waited]).toBe(0.1);
});

test('the outcome of a run that lost its database is recorded by the next run', async () => {
  const scene = await bench.open(LONG);
  const { worker } = employ(scene, { firstMs: 50, longestMs: 50 });
  worker.trigger('run');
  await someStored(scene);
  await scene.endSession();
  scene.simulator.set({ latencyMs: 0 });
  const runs = await endedRuns(scene, 2);
  expect(runs).toMatchObject([
    { outcome: 'failed', error: expect.stringContaining('PostgreSQL failed while storing') },
    { outcome: 'succeeded', error: null },
  ]);
  expect(Date.parse(runs[0]!.ended_at as string)).toBeLessThan(Date.parse(runs[1]!.started_at as string));
});

test('the lease of a run that lost its connection does not block the next run of the same worker', async () => {
  const scene = await bench.open(LONG);
  const proxy = await createDatabaseProxy(bench.database.url);
  const url = withParameter(proxy.url, 'query_timeout', '1500');
  const pool = createPool(url, () => {});
  const { app } = createApp(scene.simulator, { url, pool, environment: { EXPORT_LEASE: '5s' } });
  try {
    const { worker, health } = employ({ app }, { firstMs: 50, longestMs: 50 });
    worker.trigger('run');
    await someStored(scene);
    proxy.hang();
    scene.simulator.set({ latencyMs: 0 });
    await until(() => health.read().organizations[0]!.lastRun?.outcome === 'failed');
    await proxy.start();
    const runs = await endedRuns(scene, 2);
    expect(runs.map(({ outcome }) => outcome)).toEqual(['failed', 'succeeded']);
  } finally {
    stopping.abort();
    await worker?.settled();
    app.source.close();
    await pool.end();
    await proxy.close();
  }
});
