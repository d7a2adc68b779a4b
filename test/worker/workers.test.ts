/** Several organizations in one process: the order of their runs, and that none delays the others. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createSlots } from '../../src/worker/slots.ts';
import { createWorkers, type Worker, type WorkerOptions } from '../../src/worker/worker.ts';
import { type Bench, createBench, type Scene } from '../support/bench.ts';

/** Far beyond the length of a test. */
const NEVER_MS = 1_000_000;

let bench: Bench;
let stopping = new AbortController();
const workers: Worker[] = [];

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
afterEach(async () => {
  stopping.abort();
  await Promise.all(workers.splice(0).map((worker) => worker.settled()));
  stopping = new AbortController();
});

/** A process with all of `scenes`. */
function employ(scenes: readonly Scene[], options: WorkerOptions = {}) {
  const health = createHealth(scenes.map(({ organization }) => organization));
  const watchers = { health, metrics: createMetrics() };
  const apps = scenes.map(({ app }) => app);
  const worker = createWorkers(apps, watchers, stopping.signal, options);
  workers.push(worker);
  const lastOutcome = ({ organization }: Scene) =>
    health.read().organizations.find((state) => state.organization === organization)?.lastRun?.outcome;
  return { worker, health, lastOutcome };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 50_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`gave up waiting until ${condition}`);
    await sleep(10);
  }
}

const outcomesOf = async (scene: Scene) => (await scene.runs()).reverse().map(({ outcome }) => outcome);

async function countStored(scene: Scene): Promise<number> {
  const rows = await scene.query('select count(*)::int as count from audit.events where organization = $1');
  return rows[0]!.count as number;
}

test('an organization whose source does not respond or rejects its credentials delays no other', async () => {
  const silent = await bench.open({ events: 50, faults: [{ fault: 'silence' }] }, { HTTP_TIMEOUT: '10m' });
  const refused = await bench.open({ events: 50 }, { UIPATH_CLIENT_SECRET: 'wrong' });
  const well = [await bench.open({ events: 50 }), await bench.open({ events: 50 })];
  const slots = createSlots({ slots: 1, sliceMs: NEVER_MS, idleMs: 200 });
  const { worker, lastOutcome } = employ([silent, refused, ...well], { slots });
  worker.trigger('run');
  await until(() => well.every((scene) => lastOutcome(scene) === 'succeeded'));
  await until(() => lastOutcome(refused) === 'failed');
  expect(lastOutcome(silent)).toBeUndefined();
  expect(await Promise.all(well.map(countStored))).toEqual([50, 50]);
});

test('a long first load is preempted for another organization and continues from its watermark', async () => {
  const long = await bench.open({ events: 3_000, latencyMs: 200 });
  const short = await bench.open({ events: 50 });
  // The slice ends with the first page that stores a new event. On a busy machine a page takes more than a second: that is not idle.
  const slots = createSlots({ slots: 1, sliceMs: 0, idleMs: 5_000 });
  const [ofLong, ofShort] = [employ([long], { slots }), employ([short], { slots })];
  ofLong.worker.trigger('run');
  await until(async () => (await countStored(long)) > 0);
  ofShort.worker.trigger('run');
  await until(() => ofShort.lastOutcome(short) === 'succeeded');
  expect(await countStored(long)).toBeLessThan(3_000);
  const [interrupted] = (await long.runs()).reverse();
  expect(interrupted).toMatchObject({
    outcome: 'interrupted',
    error: expect.stringContaining('Preempted: another organization was waiting'),
  });
  long.simulator.set({ latencyMs: 0 });
  await until(async () => (await outcomesOf(long)).at(-1) === 'succeeded');
  expect(await countStored(long)).toBe(3_000);
  const { counts } = await long.verify();
  expect(counts).toEqual({ missing: 0, changed: 0, gone: 0 });
});

test('a process skips what another process has exported since the request', async () => {
  const scenes = [await bench.open({ events: 20 }), await bench.open({ events: 20 })];
  const slots = createSlots({ slots: 1 });
  let release = () => {};
  const busy = slots.use(
    { organization: 'some other', kind: 'run' },
    () => new Promise((end) => (release = end)),
  );
  const [one, other] = [employ(scenes), employ(scenes, { slots })];
  other.worker.trigger('run');
  one.worker.trigger('run');
  await until(() => scenes.every((scene) => one.lastOutcome(scene) === 'succeeded'));
  release();
  await busy;
  await until(() => scenes.every((scene) => other.lastOutcome(scene) === 'locked'));
  for (const scene of scenes) expect(await outcomesOf(scene)).toEqual(['succeeded']);
  // A later request causes another run.
  await sleep(1_100);
  one.worker.trigger('run');
  await until(async () => (await outcomesOf(scenes[0]!)).length === 2);
});

test('a run that failed in one process is attempted by another', async () => {
  const scenes = [await bench.open({ events: 20 }), await bench.open({ events: 20 })];
  const [scene] = scenes;
  scene!.simulator.set({ faults: [{ fault: 503, next: 4 }] });
  const [one, other] = [employ(scenes), employ(scenes)];
  one.worker.trigger('run');
  await until(() => one.lastOutcome(scene!) === 'failed');
  other.worker.trigger('run');
  await until(() => other.lastOutcome(scene!) === 'succeeded');
  expect(await countStored(scene!)).toBe(20);
});

test('an organization that another process exports is skipped at debug level and taken over when that process is gone', async () => {
  const taken = await bench.open({ events: 1_000, latencyMs: 200 });
  const free = await bench.open({ events: 20 });
  const gone = new AbortController();
  const running = taken.run({ signal: gone.signal }).catch(() => {});
  await until(async () => (await countStored(taken)) > 0);
  const retryWaits = { firstMs: 50, longestMs: 50 };
  const { worker, lastOutcome } = employ([taken, free], { retryWaits });
  worker.trigger('run');
  await until(() => lastOutcome(free) === 'succeeded' && lastOutcome(taken) === 'locked');
  gone.abort();
  await running;
  taken.simulator.set({ latencyMs: 0 });
  await until(() => lastOutcome(taken) === 'succeeded');
  expect(await countStored(taken)).toBe(1_000);
  const logged = taken.lines.filter(({ msg }) => String(msg).startsWith('standing by'));
  expect(logged.length).toBeGreaterThan(0);
  expect(new Set(logged.map(({ level }) => level))).toEqual(new Set(['debug']));
});

test('stopping ends all runs, including those that wait for a slot', async () => {
  const scenes = await Promise.all([1, 2, 3, 4].map(() => bench.open({ events: 1_000, latencyMs: 200 })));
  const { worker } = employ(scenes, { slots: createSlots({ slots: 2 }) });
  worker.trigger('run');
  const begun = async () => (await Promise.all(scenes.map(outcomesOf))).filter((runs) => runs.length > 0);
  await until(async () => (await begun()).length === 2);
  stopping.abort();
  await worker.settled();
  expect(await begun()).toEqual([['interrupted'], ['interrupted']]);
});
