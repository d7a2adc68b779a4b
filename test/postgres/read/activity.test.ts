import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import {
  ACTIVITY_DAYS,
  LATENESS_BOUNDS_S,
  LATENESS_EVENTS,
  readActivity,
} from '../../../src/postgres/read/activity.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { withParameter } from '../../support/database.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

let events = 0;

/** An event of this age when it is stored. */
function eventAgo(ms: number): string {
  // Reads the clock: lateness is measured to the moment of storing.
  return eventAt(new Date(Date.now() - ms));
}

function eventAt(at: Date): string {
  return JSON.stringify({
    createdOn: at.toISOString(),
    category: 'User',
    action: 'Login',
    message: `event ${++events}`,
  });
}

/** Edges of the UTC calendar, and of the clock changes of Berlin, New York and Lord Howe Island. */
const INSTANTS = [
  ...['2026-11-28T12:00:00Z', '2026-11-30T23:59:59.999Z', '2026-12-01T00:00:00Z'],
  ...['2026-12-31T23:59:59.999Z', '2027-01-01T00:00:00Z', '2028-02-29T00:00:00Z', '2028-02-29T23:59:59.999Z'],
  ...['2028-03-01T00:00:00Z', '2026-03-29T00:59:59Z', '2026-10-25T00:59:59Z', '2026-11-01T05:59:59Z'],
  ...['2027-04-03T15:15:00Z', '2026-12-31T10:00:00Z'],
];

describe('the events by day', () => {
  test.each(INSTANTS)('at %s cover the last 90 days in UTC, each day with a count', async (at) => {
    const now = new Date(at);
    const midnight = Math.floor(now.getTime() / DAY_MS) * DAY_MS;
    const oldest = midnight - (ACTIVITY_DAYS - 1) * DAY_MS;
    const rowsAt = (...times: number[]) => times.map((ms) => eventAt(new Date(ms)));
    const { organization, run } = await bench.open({
      rows: rowsAt(oldest - 1, oldest, midnight - 1, midnight, midnight, midnight + DAY_MS),
    });
    const other = await bench.open({ rows: rowsAt(midnight) });
    await run();
    await other.run();
    const expected = Array.from({ length: ACTIVITY_DAYS }, (_, i) => ({
      day: new Date(oldest + i * DAY_MS).toISOString().slice(0, 10),
      events: i === 0 ? 1 : i === ACTIVITY_DAYS - 2 ? 1 : i === ACTIVITY_DAYS - 1 ? 2 : 0,
    }));
    for (const zone of ['UTC', 'Pacific/Kiritimati', 'America/New_York']) {
      const url = withParameter(bench.database.url, 'options', `-c timezone=${zone}`);
      const pool = createPool(url, () => {});
      try {
        expect((await readActivity(pool, { organization, log: 'classic' }, now)).days).toEqual(expected);
      } finally {
        await pool.end();
      }
    }
  });

  test('end today by the clock of the database by default', async () => {
    const today = async () =>
      // Reads the clock: bounds of what the product reads from the same clock.
      (await bench.query("select (now() at time zone 'UTC')::date::text as day"))[0]!.day;
    const before = await today();
    const { days } = await readActivity(bench.pool, { organization: 'nobody', log: 'classic' });
    expect([before, await today()]).toContain(days.at(-1)!.day);
  });
});

describe('the lateness', () => {
  const latenessOf = async (organization: string) =>
    (await readActivity(bench.pool, { organization, log: 'classic' })).lateness;
  const none = LATENESS_BOUNDS_S.map(() => 0).concat(0);

  test('is none for events stored in order, at any age', async () => {
    const { organization, simulator, run } = await bench.open({
      rows: [eventAgo(9 * DAY_MS), eventAgo(5 * DAY_MS)],
    });
    await run();
    simulator.append([eventAgo(4 * DAY_MS), eventAgo(3 * DAY_MS)]);
    await run();
    expect(await latenessOf(organization)).toEqual({ events: 4, counts: none });
  });

  test('counts events stored after newer ones, by their age', async () => {
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

  test('ignores an event dated in the future', async () => {
    const { organization, simulator, run } = await bench.open(
      { rows: [eventAgo(2 * HOUR_MS), eventAgo(-900 * DAY_MS)] },
      { EXPORT_LOOKBACK: '1h' },
    );
    await run();
    simulator.insertLate([eventAgo(HOUR_MS)]);
    await run();
    expect(await latenessOf(organization)).toEqual({ events: 3, counts: none });
  });

  test('excludes events that a backfill stored', async () => {
    const { organization, simulator, run } = await bench.open({ rows: [eventAgo(HOUR_MS)] });
    await run();
    simulator.insertLate([eventAgo(20 * DAY_MS)]);
    await run({ kind: 'backfill' });
    expect(await latenessOf(organization)).toEqual({ events: 2, counts: none });
  });

  test('is computed over the newest events, so its cost does not depend on the size of the table', async () => {
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
