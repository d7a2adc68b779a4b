import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool } from '../../../src/postgres/connection/pool.ts';
import { readStatus } from '../../../src/postgres/read/status.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { applyMigrations, MIGRATIONS } from '../../support/migrations.ts';
import { createDatabaseProxy } from '../../support/proxy.ts';

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
    const { organization, simulator, run } = await bench.open({ rows }, { EXPORT_LOOKBACK: '1h' });
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
      // The page, its last row again, and the head of the list for the count.
      ...{ pages: 3, requests: 3, retries: 0, rowsRead: 5 },
      ...{ inserted: 4, updated: 0, unchanged: 0, rejected: 1, late: 0, superseded: 0 },
    });
    // The page of old history shows the late event first: it is unchanged when the lookback is read.
    expect(second?.counters).toMatchObject({ inserted: 1, late: 1, unchanged: 5, rejected: 1 });
    expect(second!.startedAt.getTime()).toBeGreaterThanOrEqual(first!.endedAt!.getTime());
  });

  test.each([
    ['2024-01-01T01:00:02.250Z', 1_250],
    ['2024-01-01T01:00:01Z', 0],
    ['2024-01-01T00:00:00Z', 0],
    ['2028-02-29T01:00:01Z', (4 * 365 + 59 + 1) * 24 * 60 * 60 * 1_000],
  ])('at %s lags by %d ms', async (at, newestEventAgeMs) => {
    const organization = 'lagging';
    await bench.query(
      `insert into audit.watermarks (organization, created_on) values ($1, '2024-01-01T01:00:01Z') on conflict do nothing`,
      [organization],
    );
    const now = new Date(at);
    const report = await readStatus(bench.pool, [organization], now);
    expect(report).toMatchObject({ readAt: now, organizations: [{ organization, newestEventAgeMs }] });
  });

  test('lags by the clock of the database by default', async () => {
    const before = await databaseTime();
    const { readAt, organizations } = await readStatus(bench.pool);
    expect(readAt.getTime()).toBeGreaterThanOrEqual(before);
    expect(readAt.getTime()).toBeLessThanOrEqual(await databaseTime());
    for (const { newestEventAgeMs, newestEventAt } of organizations)
      expect(newestEventAgeMs).toBe(newestEventAt && Math.max(0, readAt.getTime() - newestEventAt.getTime()));
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

  test('whose first run is in progress has that run, and nothing else yet', async () => {
    const organization = 'just-begun';
    const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
    try {
      const status = await statusOf(organization);
      expect(status.runs).toMatchObject([{ runId: session.runId, outcome: null, endedAt: null }]);
      expect(status).toMatchObject({
        watermark: null,
        newestEventAt: null,
        newestEventAgeMs: null,
        lastSuccessAt: null,
      });
      expect(status).toMatchObject({ sourceTotal: null, stored: 0 });
    } finally {
      await session.release();
    }
  });

  test('with a gap shows its span', async () => {
    const { organization, simulator, run } = await bench.open({ rows: [eventAt(1)] });
    const { runId: _first } = await run();
    simulator.deleteHead(1);
    simulator.append([eventAt(7200)]);
    const { runId } = await run();
    const { gaps, gapCount, coverage } = await statusOf(organization);
    expect(coverage).toMatchObject([
      { from: new Date('2024-01-01T03:00:00Z'), verifiedAt: null },
      { from: new Date('2024-01-01T01:00:01Z'), verifiedAt: null },
    ]);
    expect(gapCount).toBe(1);
    expect(gaps).toEqual([
      {
        // Events of the time up to the end of the first run may have come late, and were not read either.
        from: new Date('2024-01-01T01:00:01Z'),
        to: new Date('2024-01-01T03:00:00Z'),
        noticedAt: expect.any(Date),
        runId,
      },
    ]);
  });

  test('with an event dated in the future has no negative lag: only events up to the clock of the source count', async () => {
    const { organization, run } = await bench.open({
      rows: [eventAt(1), eventAt(2, '2999-01-01T00:00:00Z')],
    });
    await run();
    const before = await databaseTime();
    const status = await statusOf(organization);
    const newestEventAt = new Date('2024-01-01T01:00:01Z');
    expect(status).toMatchObject({ newestEventAt, stored: 2 });
    expect(status.newestEventAgeMs).toBeGreaterThanOrEqual(before - newestEventAt.getTime());
  });

  test('shows its ten newest runs, newest first', async () => {
    await bench.query(
      `insert into audit.runs (organization, log, kind, started_at, ended_at, outcome, requests)
       select 'busy', 'classic', 'run', timestamptz '2026-01-02T03:04:05Z' - n * interval '1 minute', '2026-01-02T03:04:05Z', 'succeeded', n from generate_series(1, 12) as n`,
    );
    await bench.query(`insert into audit.watermarks (organization) values ('busy')`);
    const { runs } = await statusOf('busy');
    expect(runs.map(({ counters }) => counters.requests)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

test('a database that lacks the newest migrations shows what it has, and what it lacks', async () => {
  const database = await createTestDatabase();
  const pool = createPool(database.url, () => {});
  const runs = [{ runId: '1', kind: 'run', startedAt: new Date('2026-01-01T00:00:00Z'), worker: null }];
  try {
    for (const [i, name] of MIGRATIONS.entries()) {
      await applyMigrations(database.url, 1);
      if (i === 0) await pool.query(ROWS_OF_OLD);
      const { migrations, organizations } = await readStatus(pool);
      expect(migrations).toEqual({ applied: MIGRATIONS.slice(0, i + 1), pending: MIGRATIONS.slice(i + 1) });
      const hasView = MIGRATIONS.slice(0, i + 1).some((one) => one.startsWith('0012'));
      const reason = hasView ? 'no run has counted the events yet' : 'the database lacks migration 0012';
      const completeness = { state: 'not proven', reason, provenAt: null, gone: 0, recentlyGone: 0 };
      const expected = {
        ...{ organization: 'old', log: 'classic', stored: 2, rejected: 1, gapCount: 1, runs },
        ...{ completeness, goneEvents: [] },
      };
      for (const { provenAt } of organizations[0]!.coverage) expect([name, provenAt]).toEqual([name, null]);
      expect([name, organizations]).toMatchObject([name, [expected]]);
    }
  } finally {
    await pool.end();
    await database.drop();
  }
});

/** As the first version stored them. */
const ROWS_OF_OLD = `
  set timezone = 'UTC';
  insert into audit.runs (organization, kind, started_at, outcome) values ('old', 'run', '2026-01-01', 'succeeded');
  insert into audit.watermarks (organization, created_on_ticks, created_on, created_on_raw, read_at)
    values ('old', 17672256000000000, '2026-01-01', 'as sent', '2026-01-02');
  insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id)
    values ('old', '2025-12-01', md5('1')::uuid, 17645472000000000, '', 0, 1),
      ('old', '2026-01-01', md5('2')::uuid, 17672256000000000, '', 0, 1);
  insert into audit.gaps values ('old', 17645472000000001, 17672256000000000, '2025-12-01', '2026-01-01', '2026-01-01', 1);
  insert into audit.rejected_events (organization, content_hash, source_text, reason, run_id) values ('old', '', '', '', 1)`;

test('the logs of an organization are shown separately', async () => {
  const { organization, run } = await bench.open({ rows: [eventAt(1)] });
  await run();
  await bench.query(
    `insert into audit.watermarks (organization, log, created_on_ticks, created_on_raw) values ($1, 'tenant:A', 5, 'raw')`,
    [organization],
  );
  await bench.query(
    `insert into audit.runs (organization, log, kind, outcome) values ($1, 'tenant:A', 'backfill', 'failed')`,
    [organization],
  );
  const { organizations } = await readStatus(bench.pool, [organization]);
  expect(organizations).toMatchObject([
    { organization, log: 'classic', stored: 1, runs: [{ kind: 'run' }], coverage: [{}] },
    {
      organization,
      log: 'tenant:A',
      stored: 0,
      runs: [{ kind: 'backfill' }],
      coverage: [],
      watermark: { ticks: 5n },
    },
  ]);
});

describe('reading the status of many organizations', () => {
  let many: TestDatabase;

  beforeAll(async () => {
    many = await createTestDatabase();
    const pool = createPool(many.url, () => {});
    await migrate(pool);
    await pool.query(MANY_ORGANIZATIONS);
    await pool.end();
  });
  afterAll(() => many.drop());

  /** How many statements it sends, and how long it takes with a network latency of 1 ms each way. */
  async function measure(names: readonly string[] | undefined) {
    const proxy = await createDatabaseProxy(many.url, { delayMs: 1 });
    const pool = createPool(proxy.url, () => {});
    let statements = 0;
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (...given: unknown[]) => unknown;
      client.query = ((...given: unknown[]) => {
        statements++;
        return query(...given);
      }) as typeof client.query;
    });
    try {
      await readStatus(pool, names);
      statements = 0;
      const startedAt = performance.now();
      const { organizations } = await readStatus(pool, names);
      return { shown: organizations.length, statements, milliseconds: performance.now() - startedAt };
    } finally {
      await pool.end();
      await proxy.close();
    }
  }

  test('sends as many statements as for one organization, without a round trip for each', async () => {
    const one = await measure(['org 500']);
    const all = await measure(undefined);
    expect([one.shown, all.shown]).toEqual([1, 1000]);
    expect(all.statements).toBe(one.statements);
    // One query per organization would make a hundred times as many round trips.
    expect(all.milliseconds).toBeLessThan(50 * one.milliseconds);
  });
});

/** A thousand, each with twelve runs and two ranges. */
const MANY_ORGANIZATIONS = `
  insert into audit.watermarks (organization) select 'org ' || n from generate_series(1, 1000) n;
  insert into audit.runs (organization, log, kind, outcome, started_at, ended_at)
    select 'org ' || n, 'classic', 'run', 'succeeded', timestamptz '2026-01-01Z' - i * interval '5 minutes', timestamptz '2026-01-01Z' - i * interval '5 minutes'
    from generate_series(1, 1000) n, generate_series(1, 12) i;
  insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at, proven_at)
    select 'org ' || n, i * 10, i * 10 + 5, '2026-01-01Z', '2026-01-01Z', '2026-01-01Z' from generate_series(1, 1000) n, generate_series(1, 2) i;
  analyze`;

test('without a filter, every organization is shown, sorted by name, with its own numbers', async () => {
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

test('a range that was read but not counted has no provenAt, one that verify compared has verifiedAt', async () => {
  await bench.query(`insert into audit.watermarks (organization) values ('ranges')`);
  await bench.query(
    `insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at, proven_at, verified_at) values
       ('ranges', 10, 20, '2026-01-01Z', '2026-01-02Z', '2026-01-03Z', null),
       ('ranges', 30, 40, '2026-02-01Z', '2026-02-02Z', null, '2026-02-03Z')`,
  );
  const { coverage } = await statusOf('ranges');
  expect(coverage).toEqual([
    {
      ...{ from: new Date('2026-02-01'), to: new Date('2026-02-02') },
      ...{ provenAt: null, verifiedAt: new Date('2026-02-03') },
    },
    {
      ...{ from: new Date('2026-01-01'), to: new Date('2026-01-02') },
      ...{ provenAt: new Date('2026-01-03'), verifiedAt: null },
    },
  ]);
});
