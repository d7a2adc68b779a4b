import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  ACTIVITY_DAYS,
  LATENESS_BOUNDS_S,
  LATENESS_EVENTS,
  readActivity,
} from '../../src/postgres/activity.ts';
import { createPool } from '../../src/postgres/pool.ts';
import { type Bench, createBench } from '../support/bench.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

let events = 0;

/** An event of so long ago. */
function eventAgo(ms: number): string {
  const createdOn = new Date(Date.now() - ms).toISOString();
  return JSON.stringify({ createdOn, category: 'User', action: 'Login', message: `event ${++events}` });
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

describe('the events by day', () => {
  test('are those of the last 90 days in UTC, each day with a number, whoever stored them', async () => {
    const { organization, run } = await bench.open({
      rows: [100, 89, 3, 3, 3].map((days) => eventAgo(days * DAY_MS)),
    });
    const other = await bench.open({ rows: [eventAgo(3 * DAY_MS)] });
    const startedOn = today();
    await run();
    await other.run();
    const { days } = await readActivity(bench.pool, { organization, log: 'classic' });
    if (today() !== startedOn) return;
    expect(days).toHaveLength(ACTIVITY_DAYS);
    expect(days.at(-1)).toEqual({ day: startedOn, events: 0 });
    expect(days.filter((day) => day.events > 0).map((day) => day.events)).toEqual([1, 3]);
    expect(days[0]!.events).toBe(1);
    expect(days.map(({ day }) => day)).toEqual(days.map(({ day }) => day).sort());
  });
});

describe('the lateness', () => {
  const latenessOf = async (organization: string) =>
    (await readActivity(bench.pool, { organization, log: 'classic' })).lateness;
  const none = LATENESS_BOUNDS_S.map(() => 0).concat(0);

  test('of events that were all stored in their order is none, however old they are', async () => {
    const { organization, simulator, run } = await bench.open({
      rows: [eventAgo(9 * DAY_MS), eventAgo(5 * DAY_MS)],
    });
    await run();
    simulator.append([eventAgo(4 * DAY_MS), eventAgo(3 * DAY_MS)]);
    await run();
    expect(await latenessOf(organization)).toEqual({ events: 4, counts: none });
  });

  test('counts those stored after newer ones, by their age', async () => {
    const { organization, simulator, run } = await bench.open(
      { rows: [eventAgo(20 * DAY_MS), eventAgo(60_000)] },
      { EXPORT_LOOKBACK: '30d' },
    );
    await run();
    const late = [10 * DAY_MS, 30 * HOUR_MS, 2 * HOUR_MS, 3 * HOUR_MS, 120_000].map(eventAgo);
    simulator.insertLate(late);
    simulator.append([eventAgo(10_000)]);
    await run();
    expect(await latenessOf(organization)).toEqual({ events: 8, counts: [1, 0, 0, 2, 0, 1, 0, 1] });
  });

  test('does not hang on an event dated in the future', async () => {
    const { organization, simulator, run } = await bench.open({
      rows: [eventAgo(2 * HOUR_MS), eventAgo(-900 * DAY_MS)],
    });
    await run();
    simulator.insertLate([eventAgo(HOUR_MS)]);
    await run();
    expect(await latenessOf(organization)).toEqual({ events: 3, counts: none });
  });

  test('leaves out what a backfill stores', async () => {
    const { organization, simulator, run } = await bench.open({ rows: [eventAgo(HOUR_MS)] });
    await run();
    simulator.insertLate([eventAgo(20 * DAY_MS)]);
    await run({ kind: 'backfill' });
    expect(await latenessOf(organization)).toEqual({ events: 2, counts: none });
  });

  test('is taken from the newest events, so that it costs the same at any size', async () => {
    const scene = await bench.open({ rows: [eventAgo(HOUR_MS)] });
    await scene.run();
    await scene.query(
      `insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
       select organization, created_on - n * interval '1 second', gen_random_uuid(), 0, '', 0, run_id, batch
       from audit.events cross join generate_series(1, ${LATENESS_EVENTS}) as n where organization = $1`,
    );
    expect((await latenessOf(scene.organization)).events).toBe(LATENESS_EVENTS);
  });
});

test('a database that is away is reported as such', async () => {
  const pool = createPool('postgres://nobody@127.0.0.1:1/x', () => {});
  await expect(readActivity(pool, { organization: 'acme', log: 'classic' })).rejects.toMatchObject({
    code: 'database-away',
  });
  await pool.end();
});
