import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { formatTicks } from '../../src/core/ticks.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, runProgram, startProgram } from '../support/program.ts';

const EVENTS = 2000;
const HOUR_MS = 3_600_000;

let database: TestDatabase;
let pool: pg.Pool;
let simulator: Simulator;
let environment: Record<string, string>;
let organizations = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
beforeEach(async () => {
  simulator = await createSimulator({ organization: `backfill${organizations++}`, events: EVENTS });
  environment = {
    ...environmentFor(simulator, database.url),
    EXPORT_PAGE_SIZE: '50',
    EXPORT_CONCURRENCY: '1',
    LOG_LEVEL: 'debug',
  };
});
afterEach(() => simulator.close());

async function storedTicks(): Promise<bigint[]> {
  const { rows } = await pool.query<{ ticks: string }>(
    'select created_on_ticks as ticks from audit.events where organization = $1 order by 1',
    [simulator.organization],
  );
  return rows.map(({ ticks }) => BigInt(ticks));
}

async function outcomes(): Promise<string[]> {
  const { rows } = await pool.query(
    'select outcome from audit.runs where organization = $1 order by run_id',
    [simulator.organization],
  );
  return rows.map(({ outcome }) => outcome);
}

/** Starts a backfill that waits before each page, and resolves once some pages are stored. */
async function startSlowly() {
  simulator.set({ latencyMs: 60 });
  const program = startProgram(['backfill'], environment);
  await program.logged(/(page stored[\s\S]*){5}/);
  return program;
}

describe('backfill, as a process', () => {
  test('resumes where a killed one stopped, and stores everything once', async () => {
    const killed = await startSlowly();
    killed.kill('SIGKILL');
    expect((await killed.ended).code).toBe('SIGKILL');
    const before = (await storedTicks()).length;
    expect(before).toBeGreaterThanOrEqual(5 * 48);
    expect(before).toBeLessThan(EVENTS);

    simulator.set({ latencyMs: 0 });
    simulator.clearRequests();
    const { code, stdout, stderr } = await runProgram(['backfill', '--json'], environment);
    expect([code, stderr]).toEqual([0, expect.stringContaining('continuing backfill')]);
    // One hour of lookback is 120 events of the simulator.
    expect(JSON.parse(stdout).counters.unchanged).toBeLessThanOrEqual(122);
    const skips = simulator.requests.flatMap(({ kind, skip }) => (kind === 'list' ? [skip ?? 0] : []));
    expect(skips[0]).toBeGreaterThan(0);
    // Only the head of the list is requested again, for the count.
    expect(skips.filter((skip) => skip === 0)).toHaveLength(1);
    expect(await storedTicks()).toEqual(simulator.rows.map(({ ticks }) => ticks));
    expect(await outcomes()).toEqual(['abandoned', 'succeeded']);
  });

  test('a first SIGTERM ends it in time with exit 75, the current page stored whole or not at all', async () => {
    const program = await startSlowly();
    const signalledAt = performance.now();
    program.kill('SIGTERM');
    expect((await program.ended).code).toBe(75);
    expect(performance.now() - signalledAt).toBeLessThan(10_000);
    expect(await outcomes()).toEqual(['interrupted']);
    const stored = await storedTicks();
    expect(stored).toEqual(simulator.rows.slice(0, stored.length).map(({ ticks }) => ticks));
  });

  test('a second SIGINT ends it at once, even while the database keeps it waiting', async () => {
    const program = await startSlowly();
    const blocker = await pool.connect();
    try {
      await blocker.query('begin');
      await blocker.query('lock table audit.events in access exclusive mode');
      program.kill('SIGINT');
      await program.logged(/send the signal again to stop at once/);
      program.kill('SIGINT');
      expect((await program.ended).code).toBe(130);
    } finally {
      await blocker.query('rollback');
      blocker.release();
    }
  });

  test('--from and --to store exactly the half-open range, and leave the watermark unset', async () => {
    const { rows } = simulator;
    const [from, to] = [rows[700]!.ticks!, rows[900]!.ticks!];
    const range = ['--from', formatTicks(from), '--to', formatTicks(to)];
    const { code } = await runProgram(['backfill', ...range], environment);
    expect(code).toBe(0);
    expect(await storedTicks()).toEqual(
      rows.flatMap(({ ticks }) => (ticks! >= from && ticks! < to ? [ticks!] : [])),
    );
    const watermark = await pool.query(
      'select created_on_ticks from audit.watermarks where organization = $1',
      [simulator.organization],
    );
    expect(watermark.rows).toEqual([{ created_on_ticks: null }]);
    // Bisection: 2000 rows in pages of 50 are not read from the start.
    expect(simulator.counts.list).toBeLessThan(30);
  });

  test('exit 2 for an empty range and for an invalid time', async () => {
    const backwards = await runProgram(
      ['backfill', '--from', '2026-02-01', '--to', '2026-01-01'],
      environment,
    );
    expect([backwards.code, backwards.stderr]).toEqual([
      2,
      expect.stringContaining('--from must be earlier'),
    ]);
    const soon = await runProgram(['backfill', '--from', 'soon'], environment);
    expect([soon.code, soon.stderr]).toEqual([2, expect.stringContaining('2026-01-31')]);
  });

  describe('with a range in words', () => {
    // Reads the clock: the words are relative to now, and the events end then.
    const instant = () => Date.now();

    /** Some 288 events over the last three days. */
    async function openRecent(): Promise<void> {
      await simulator.close();
      simulator = await createSimulator({
        organization: `backfill${organizations++}`,
        events: 288,
        startAt: new Date(instant() - 72 * HOUR_MS),
        spacingMs: HOUR_MS / 4,
      });
      environment = { ...environment, ...environmentFor(simulator, database.url) };
    }

    const ticksBetween = (fromMs: number, toMs: number) =>
      simulator.rows.flatMap(({ ticks }) => {
        const at = Number(ticks! / 10_000n);
        return at >= fromMs && at < toMs ? [ticks!] : [];
      });

    test('--from 1d stores what is not older, and a second call resumes the first one', async () => {
      await openRecent();
      const startedAt = instant();
      simulator.set({ latencyMs: 100 });
      const killed = startProgram(['backfill', '--from', '1d'], { ...environment, EXPORT_PAGE_SIZE: '10' });
      await killed.logged(/(page stored[\s\S]*){2}/);
      killed.kill('SIGKILL');
      await killed.ended;
      simulator.set({ latencyMs: 0 });
      const { code, stderr } = await runProgram(['backfill', '--from', '1d'], environment);
      expect([code, stderr]).toEqual([0, expect.stringContaining('continuing backfill')]);
      const stored = await storedTicks();
      // The command began within some seconds after `startedAt`; an event in between may be missing.
      expect(stored).toEqual(
        ticksBetween(startedAt - 24 * HOUR_MS, Number.POSITIVE_INFINITY).slice(-stored.length),
      );
      expect(stored.length).toBeGreaterThan(40);
      const { rows } = await pool.query(
        'select count(distinct from_ticks)::int as starts from audit.runs where organization = $1',
        [simulator.organization],
      );
      expect(rows).toEqual([{ starts: 1 }]);
    });

    test('--from yesterday --to today store that day in EXPORT_TIMEZONE, and verify compares it', async () => {
      await openRecent();
      const words = ['--from', 'yesterday', '--to', 'today'];
      const zoned = { ...environment, EXPORT_TIMEZONE: 'Asia/Kolkata' };
      const { code } = await runProgram(['backfill', ...words], zoned);
      expect(code).toBe(0);
      // Kolkata is 5.5 hours ahead of UTC all year.
      const offsetMs = 5.5 * HOUR_MS;
      const today = Math.floor((instant() + offsetMs) / (24 * HOUR_MS)) * 24 * HOUR_MS - offsetMs;
      const expected = ticksBetween(today - 24 * HOUR_MS, today);
      expect(expected.length).toBeGreaterThan(40);
      expect(await storedTicks()).toEqual(expected);
      const verified = await runProgram(['verify', '--json', ...words], zoned);
      expect([verified.code, JSON.parse(verified.stdout).organizations[0].source.same]).toEqual([
        0,
        expected.length,
      ]);
    });
  });
});
