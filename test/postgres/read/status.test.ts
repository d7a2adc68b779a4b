import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { ROLL_UP, readStatus } from '../../../src/postgres/read/status.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { createTestDatabase } from '../../support/database.ts';

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});

afterAll(() => bench.close());

async function statusOf(organization: string) {
  const report = await readStatus(bench.pool, [organization]);
  expect(report.organizations).toHaveLength(1);
  return report.organizations[0]!;
}

/** In milliseconds since 1970. */
async function databaseTime(): Promise<number> {
  // Reads the clock: bounds of what the product reads from the same clock.
  const rows = await bench.query('select floor(extract(epoch from now()) * 1000)::float8 as ms');
  return rows[0]!.ms as number;
}

/** An event an hour and `seconds` after midnight. */
function eventAt(
  seconds: number,
  createdOn = new Date(Date.UTC(2024, 0, 1, 1, 0, seconds)).toISOString(),
): string {
  return JSON.stringify({ createdOn, category: 'User', action: 'Login', message: `at ${seconds}` });
}

test('a database without tables has every migration pending and no organization', async () => {
  const database = await createTestDatabase();
  const pool = createPool(database.url, () => {});
  try {
    const { migrations, organizations } = await readStatus(pool);
    expect(migrations.applied).toEqual([]);
    expect(migrations.pending[0]).toBe('0001_audit_tables');
    expect(organizations).toEqual([]);
  } finally {
    await pool.end();
    await database.drop();
  }
});

describe('an organization', () => {
  test('is shown with its newest event, totals, and each run with all its counters', async () => {
    const rows = [eventAt(1), eventAt(2), eventAt(2), '{"createdOn":"yesterday"}', eventAt(5)];
    const { organization, simulator, run } = await bench.open({ rows });
    const before = await databaseTime();
    await run();
    simulator.insertLate([eventAt(4)]);
    await run();
    const status = await statusOf(organization);
    const newestEventAt = new Date('2024-01-01T01:00:05Z');
    expect(status).toMatchObject({
      organization,
      watermark: { ticks: BigInt(newestEventAt.getTime()) * 10_000n, raw: '2024-01-01T01:00:05.000Z' },
      newestEventAt,
      sourceTotal: 6,
      stored: 5,
      rejected: 1,
      lastRejectedAt: expect.any(Date),
      gapCount: 0,
      gaps: [],
    });
    expect(status.lastSuccessAt!.getTime()).toBeGreaterThanOrEqual(before);
    const [second, first] = status.runs;
    expect(status.runs).toHaveLength(2);
    expect(first).toMatchObject({ kind: 'run', outcome: 'succeeded', error: null, warnings: [] });
    expect(first?.counters).toEqual({
      ...{ pages: 1, requests: 1, retries: 0, rowsRead: 5 },
      ...{ inserted: 4, updated: 0, unchanged: 0, rejected: 1, late: 0 },
    });
    expect(second?.counters).toMatchObject({ inserted: 1, late: 1, unchanged: 4, rejected: 1 });
    expect(second!.startedAt.getTime()).toBeGreaterThanOrEqual(first!.endedAt!.getTime());
  });

  test.each([
    ['2024-01-01T01:00:02.250Z', 1_250],
    ['2024-01-01T01:00:01Z', 0],
    ['2024-01-01T00:00:00Z', 0],
    ['2028-02-29T01:00:01Z', (4 * 365 + 59 + 1) * 24 * 60 * 60 * 1_000],
  ])('at %s lags by %d ms', async (at, lagMs) => {
    const organization = 'lagging';
    await bench.query(
      `insert into audit.watermarks (organization, created_on) values ($1, '2024-01-01T01:00:01Z') on conflict do nothing`,
      [organization],
    );
    const now = new Date(at);
    const report = await readStatus(bench.pool, [organization], now);
    expect(report).toMatchObject({ readAt: now, organizations: [{ organization, lagMs }] });
  });

  test('lags by the clock of the database, when no time is given', async () => {
    const before = await databaseTime();
    const { readAt, organizations } = await readStatus(bench.pool);
    expect(readAt.getTime()).toBeGreaterThanOrEqual(before);
    expect(readAt.getTime()).toBeLessThanOrEqual(await databaseTime());
    for (const { lagMs, newestEventAt } of organizations)
      expect(lagMs).toBe(newestEventAt && Math.max(0, readAt.getTime() - newestEventAt.getTime()));
  });

  test('whose run failed shows why, and keeps its last success', async () => {
    const { organization, simulator, run } = await bench.open({ rows: [eventAt(1)] });
    await run();
    const { lastSuccessAt } = await statusOf(organization);
    simulator.set({ faults: [{ fault: 403, body: 'problem' }] });
    await expect(run()).rejects.toThrow();
    const status = await statusOf(organization);
    expect(status.runs[0]).toMatchObject({ outcome: 'failed', error: expect.stringContaining('HTTP 403') });
    expect(status.lastSuccessAt).toEqual(lastSuccessAt);
  });

  test('whose first run is under way has that run, and nothing else yet', async () => {
    const organization = 'just-begun';
    const session = await openSession(bench.pool, { organization, kind: 'run' });
    try {
      const status = await statusOf(organization);
      expect(status.runs).toMatchObject([{ runId: session.runId, outcome: null, endedAt: null }]);
      expect(status).toMatchObject({
        watermark: null,
        newestEventAt: null,
        lagMs: null,
        lastSuccessAt: null,
      });
      expect(status).toMatchObject({ sourceTotal: null, stored: 0 });
    } finally {
      await session.release();
    }
  });

  test('with a gap shows the span', async () => {
    const { organization, simulator, run } = await bench.open({ rows: [eventAt(1)] });
    const { runId: _first } = await run();
    simulator.deleteHead(1);
    simulator.append([eventAt(30)]);
    const { runId } = await run();
    const { gaps, gapCount, coverage } = await statusOf(organization);
    expect(coverage).toEqual([
      {
        from: new Date('2024-01-01T01:00:30Z'),
        to: new Date('2024-01-01T01:00:30Z'),
        provenAt: expect.any(Date),
      },
      {
        from: new Date('2024-01-01T01:00:01Z'),
        to: new Date('2024-01-01T01:00:01Z'),
        provenAt: expect.any(Date),
      },
    ]);
    expect(gapCount).toBe(1);
    expect(gaps).toEqual([
      {
        from: new Date('2024-01-01T01:00:01Z'),
        to: new Date('2024-01-01T01:00:30Z'),
        noticedAt: expect.any(Date),
        runId,
      },
    ]);
  });

  test('with an event dated in the future has no negative lag', async () => {
    const { organization, run } = await bench.open({
      rows: [eventAt(1), eventAt(2, '2999-01-01T00:00:00Z')],
    });
    await run();
    expect(await statusOf(organization)).toMatchObject({ lagMs: 0, newestEventAt: new Date('2999-01-01') });
  });

  test('shows its ten newest runs, newest first', async () => {
    await bench.query(
      `insert into audit.runs (organization, kind, started_at, ended_at, outcome, requests)
       select 'busy', 'run', timestamptz '2026-01-02T03:04:05Z' - n * interval '1 minute', '2026-01-02T03:04:05Z', 'succeeded', n from generate_series(1, 12) as n`,
    );
    await bench.query(`insert into audit.watermarks (organization) values ('busy')`);
    const { runs } = await statusOf('busy');
    expect(runs.map(({ counters }) => counters.requests)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

test('what is stored is known without the roll-up, too, in a database of before it', async () => {
  const database = await createTestDatabase();
  const pool = createPool(database.url, () => {});
  try {
    await migrate(pool);
    await pool.query(`insert into audit.watermarks (organization) values ('old')`);
    await pool.query(
      `insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
       values ('old', '2026-01-02T03:04:05Z', gen_random_uuid(), 0, '', 0, 1, 1)`,
    );
    expect((await readStatus(pool)).organizations[0]!.stored).toBe(1);
    await pool.query(`drop table ${ROLL_UP} cascade`);
    expect((await readStatus(pool)).organizations[0]!.stored).toBe(1);
  } finally {
    await pool.end();
    await database.drop();
  }
});

test('without an organization named, each is shown, by name, with its own numbers', async () => {
  const one = await bench.open({ rows: [eventAt(1)] });
  const other = await bench.open({ rows: [eventAt(1), eventAt(2)] });
  await one.run();
  await other.run();
  const { organizations } = await readStatus(bench.pool);
  const names = organizations.map(({ organization }) => organization);
  expect(names).toEqual([...names].sort());
  const stored = (name: string) => organizations.find(({ organization }) => organization === name)?.stored;
  expect([stored(one.organization), stored(other.organization)]).toEqual([1, 2]);
  expect((await readStatus(bench.pool, ['nobody'])).organizations).toEqual([]);
});

test('a database that is away is reported as such', async () => {
  const pool = createPool('postgres://nobody@127.0.0.1:1/x', () => {});
  await expect(readStatus(pool)).rejects.toMatchObject({ code: 'database-away' });
  await pool.end();
});

test('reading leaves the connection able to write', async () => {
  const pool = new pg.Pool({ connectionString: bench.database.url, max: 1 });
  try {
    await readStatus(pool);
    const { rows } = await pool.query(
      `select current_setting('transaction_read_only') as read_only, current_setting('statement_timeout') as timeout`,
    );
    expect(rows).toEqual([{ read_only: 'off', timeout: '0' }]);
  } finally {
    await pool.end();
  }
});
