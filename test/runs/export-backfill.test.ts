import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { RunRequest } from '../../src/runs/export.ts';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import { ticksAt } from '../support/batch.ts';
import { type Bench, createBench, type Scene } from '../support/bench.ts';
import { expectSame, expectStored, fieldsOf, STORED_EVENTS, storedFieldsOf } from '../support/truth.ts';

const NOON = ticksAt('2023-01-01T12:00:00Z');
const ONE = ticksAt('2023-01-01T13:00:00Z');

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** Typical rows, one about every 30 s from 2023-01-01 on. */
const openList = (events: number, environment = {}) =>
  bench.open({ events }, { EXPORT_LOOKBACK: '10m', ...environment });
const within = (rows: SimulatedRow[], from: bigint, to: bigint) =>
  rows.filter(({ ticks }) => ticks! >= from && ticks! < to);

/** Begins a backfill and stops it after some pages; the commit in progress completes. */
async function cutShort(scene: Scene, pages: number, request: Partial<RunRequest> = {}): Promise<void> {
  const stop = new AbortController();
  // Pages that wait for a commit are committed together: so that few wait, they come slowly.
  scene.simulator.set({ latencyMs: 30 });
  let seen = 0;
  const onChunk = () => {
    if (++seen === pages) stop.abort();
  };
  const backfill = scene.run({ kind: 'backfill', signal: stop.signal, onChunk, ...request });
  await expect(backfill).rejects.toMatchObject({ code: 'interrupted' });
  scene.simulator.set({ latencyMs: 0 });
}

const HOUR = 36_000_000_000n;

describe('a backfill', () => {
  test('of an empty database stores everything, and the next run continues from there', async () => {
    const scene = await openList(1000);
    expect((await scene.run({ kind: 'backfill' })).counters.inserted).toBe(1000);
    // Old history, the end, and the head of the list.
    expect(await scene.countRequests(() => scene.run())).toBe(3);
    await expectStored(scene, scene.simulator.rows);
  });

  test('of a complete one compares everything and writes nothing', async () => {
    const scene = await openList(500);
    await scene.run();
    const before = await scene.watermark();
    const { counters } = await scene.run({ kind: 'backfill' });
    expect(counters).toMatchObject({ inserted: 0, updated: 0, unchanged: 500 });
    expect((await scene.watermark())!.created_on_ticks).toBe(before!.created_on_ticks);
  });

  test.each(['backfill', 'run'] as const)(
    'finds events of any age that are not stored, and so does a run: %s',
    async (kind) => {
      const scene = await openList(500);
      await scene.run();
      const deleted = scene.simulator.rows.filter(({ ticks }) => ticks! < ticksAt('2023-01-01T02:00:00Z'));
      await scene.query(
        'delete from audit.events where organization = $1 and created_on < $2',
        '2023-01-01T02:00:00Z',
      );
      expect((await scene.run({ kind })).counters.inserted).toBe(deleted.length);
      await expectStored(scene, scene.simulator.rows);
    },
  );
});

describe('a backfill of a range', () => {
  test('stores its rows and no others, and leaves an empty database without a watermark', async () => {
    const scene = await openList(2000);
    await scene.run({ kind: 'backfill', from: NOON, to: ONE });
    await expectStored(scene, within(scene.simulator.rows, NOON, ONE));
    expect(await scene.watermark()).toBeUndefined();
    expect((await scene.runs())[0]).toMatchObject({
      kind: 'backfill',
      outcome: 'succeeded',
      from_at: '2023-01-01 12:00:00+00',
      to_at: '2023-01-01 13:00:00+00',
      frontier_ticks: ONE.toString(),
    });
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });

  test('reads little more than the range, at any position', async () => {
    const scene = await openList(2880);
    const requests = await scene.countRequests(() => scene.run({ kind: 'backfill', from: NOON, to: ONE }));
    expect(requests).toBeLessThan(14);
  });

  test('takes a row at its beginning and none at its end, to the tick', async () => {
    const scene = await openList(400);
    const { rows } = scene.simulator;
    const [from, to] = [rows[100]!.ticks!, rows[200]!.ticks!];
    await scene.run({ kind: 'backfill', from, to });
    await expectStored(scene, within(rows, from, to));
  });

  test('without a beginning moves the watermark of an empty database to its last row', async () => {
    const scene = await openList(2000);
    await scene.run({ kind: 'backfill', to: NOON });
    const older = scene.simulator.rows.filter(({ ticks }) => ticks! < NOON);
    await expectStored(scene, older);
    expect((await scene.watermark())!.created_on_ticks).toBe(older.at(-1)!.ticks!.toString());
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });

  test('that lies before the watermark never moves it back', async () => {
    const scene = await openList(2000);
    await scene.run();
    const before = await scene.watermark();
    await scene.run({ kind: 'backfill', from: NOON, to: ONE });
    await scene.run({ kind: 'backfill', to: NOON });
    const { created_on_ticks: ticks, read_at: readAt, resume } = (await scene.watermark())!;
    expect({ ticks, readAt, resume }).toEqual({
      ticks: before!.created_on_ticks,
      readAt: before!.read_at,
      resume: before!.resume,
    });
  });

  test('that begins no later than the next run would moves the watermark on, one that begins later does not', async () => {
    const scene = await openList(1000);
    await scene.run();
    const newest = scene.simulator.rows.at(-1)!.ticks!;
    scene.simulator.append(1000);
    // Late events may lie up to the lookback of one hour before the watermark.
    for (const from of [newest + HOUR, newest]) {
      await scene.run({ kind: 'backfill', from });
      expect((await scene.watermark())!.created_on_ticks).toBe(newest.toString());
    }
    await scene.run({ kind: 'backfill', from: newest - HOUR });
    expect((await scene.watermark())!.created_on_ticks).toBe(scene.simulator.rows.at(-1)!.ticks!.toString());
    await expectStored(scene, scene.simulator.rows);
  });

  test('without events succeeds', async () => {
    const scene = await openList(100);
    const far = ticksAt('2030-01-01T00:00:00Z');
    expect((await scene.run({ kind: 'backfill', from: far })).counters.rowsRead).toBe(0);
    expect((await scene.run({ kind: 'backfill', to: 0n })).counters.rowsRead).toBe(0);
    expect((await scene.run({ kind: 'backfill', from: 0n, to: 1n })).counters.rowsRead).toBe(0);
  });
});

describe('an interrupted backfill', () => {
  test('continues where it stopped, and does not restart', async () => {
    const scene = await openList(2000);
    await cutShort(scene, 10);
    const taken = Number((await scene.runs())[0]!.rows_read);
    expect(taken).toBeGreaterThan(800);
    const { counters } = await scene.run({ kind: 'backfill' });
    expect(counters.inserted).toBe(2000 - taken);
    expect(counters.unchanged).toBeLessThan(60);
    await expectStored(scene, scene.simulator.rows);
    expect((await scene.watermark())!.created_on_ticks).toBe(scene.simulator.rows.at(-1)!.ticks!.toString());
    // Old history, the end, and the head of the list.
    expect(await scene.countRequests(() => scene.run())).toBe(3);
  });

  test('continues after a failure of the source, and after its process exited without recording an outcome', async () => {
    const scene = await openList(2000);
    scene.simulator.set({ faults: [{ fault: 503, after: 8 }] });
    await expect(scene.run({ kind: 'backfill' })).rejects.toMatchObject({ code: 'source-away' });
    scene.simulator.set({ faults: [] });
    await cutShort(scene, 3);
    const runs = await scene.query(
      'select run_id, outcome, ended_at, error from audit.runs where organization = $1',
    );
    await scene.query('update audit.runs set outcome = null where organization = $1');
    const { counters } = await scene.run({ kind: 'backfill' });
    expect(counters.inserted).toBeLessThan(1200);
    // The ledger has recorded these outcomes.
    for (const { run_id: runId, outcome, ended_at: endedAt, error } of runs)
      await scene.query(
        'update audit.runs set outcome = $3, ended_at = $4, error = $5 where organization = $1 and run_id = $2',
        ...[runId, outcome, endedAt, error],
      );
    await expectStored(scene, scene.simulator.rows);
  });

  test('restarts on request, and continues from there if that is interrupted too', async () => {
    const scene = await openList(1000);
    await cutShort(scene, 6);
    await cutShort(scene, 2, { shouldRestart: true });
    expect(Number((await scene.runs())[0]!.rows_unchanged)).toBeGreaterThan(150);
    const { counters } = await scene.run({ kind: 'backfill' });
    // Up to four pages are committed together, so that the second one may have come nearly as far as the first.
    expect(counters.unchanged).toBeGreaterThan(80);
    await expectStored(scene, scene.simulator.rows);
  });

  test('restarts after it has succeeded', async () => {
    const scene = await openList(500);
    await cutShort(scene, 2);
    await scene.run({ kind: 'backfill' });
    expect((await scene.run({ kind: 'backfill' })).counters.unchanged).toBe(500);
  });

  test('is continued only by one of the same range', async () => {
    const scene = await openList(2880, { EXPORT_PAGE_SIZE: '50' });
    const range = { from: NOON, to: ONE + (ONE - NOON) };
    await cutShort(scene, 1, range);
    const reached = Number((await scene.runs())[0]!.rows_read);
    const other = await scene.run({ kind: 'backfill', from: NOON, to: ONE });
    const inserted = within(scene.simulator.rows, NOON, ONE).length - reached;
    expect(other).toMatchObject({ counters: { inserted }, warnings: [] });
    // A page of the search for the start of the range is compared, too.
    expect(other.counters.unchanged).toBeGreaterThanOrEqual(reached);
    expect(other.counters.unchanged).toBeLessThanOrEqual(reached + 50);
    await cutShort(scene, 1, range);
    // Neither the first one, which another range lies in, nor the other one was continued.
    const continued = () =>
      scene.lines.filter(({ msg }) => /^continuing backfill/.test(msg as string)).length;
    const before = continued();
    expect((await scene.run({ kind: 'backfill', ...range })).warnings).toEqual([]);
    expect(continued() - before).toBe(1);
    await expectStored(scene, within(scene.simulator.rows, range.from, range.to));
  });

  test('does not shorten a range that begins earlier', async () => {
    const scene = await openList(2000, { EXPORT_PAGE_SIZE: '50' });
    await cutShort(scene, 1, { from: NOON, to: ONE });
    const eleven = NOON - (ONE - NOON);
    await scene.run({ kind: 'backfill', from: eleven, to: ONE });
    await expectStored(scene, within(scene.simulator.rows, eleven, ONE));
  });

  test('continues with a wrong resume value, after rows were deleted or came late', async () => {
    const scene = await openList(2000);
    await cutShort(scene, 10);
    const { rows } = scene.simulator;
    scene.simulator.deleteHead(700);
    scene.simulator.insertLate(3);
    await scene.run({ kind: 'backfill' });
    await expectStored(scene, [...rows.slice(0, 700), ...scene.simulator.rows]);
  });

  test('never moves the watermark ahead of its rows', async () => {
    const scene = await openList(1000);
    await cutShort(scene, 4);
    const { created_on_ticks: ticks } = (await scene.watermark())!;
    await expectStored(scene, within(scene.simulator.rows, 0n, BigInt(ticks as string) + 1n));
    await scene.run();
    await expectStored(scene, scene.simulator.rows);
  });
});

/** Makes the newest backfill look as if it had been killed then, or as if it had stopped by itself. */
const backdate = (scene: Scene, age: string, end: 'killed' | 'ended' | 'found to be abandoned') =>
  scene.query(
    `with r as (
       update audit.runs set started_at = started_at - $2::interval,
         outcome = case $3 when 'ended' then 'failed' when 'killed' then null else 'abandoned' end,
         -- // Reads the clock: ages are relative to the clock of the database.
         ended_at = case $3 when 'ended' then ended_at - $2::interval when 'killed' then null else now() end
       where run_id = (select max(run_id) from audit.runs where organization = $1) returning run_id
     ), l as (
       update audit.ledger set committed_at = committed_at - $2::interval where organization = $1
     )
     -- // Reads the clock: as above.
     update audit.watermarks w set lease_run_id = case $3 when 'killed' then r.run_id end,
       lease_until = case $3 when 'killed' then now() - $2::interval end
     from r where organization = $1`,
    age,
    end,
  );
const NOT_RESUMED =
  /^Backfill \d+, which did not finish, is not resumed, because (.*)\. This backfill starts/;
/** The reason in the summary of a backfill that starts anew, which is also in the log. */
async function reasonToRestart(scene: Scene, request: Partial<RunRequest> = {}): Promise<string | undefined> {
  scene.lines.length = 0;
  const { warnings, counters } = await scene.run({ kind: 'backfill', ...request });
  const reason = warnings.flatMap((text) => NOT_RESUMED.exec(text)?.[1] ?? [])[0];
  expect(scene.lines.filter(({ msg }) => NOT_RESUMED.test(msg as string))).toHaveLength(reason ? 1 : 0);
  expect((await scene.runs())[0]!.warnings).toEqual(warnings);
  if (reason) expect(counters.rowsRead).toBe(scene.simulator.length);
  return reason;
}

/** Without the ledger, whose times `backdate` changes. */
async function expectSameRows(scene: Scene): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  expectSame(
    events.map(storedFieldsOf),
    scene.simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text))),
  );
}

describe('an unfinished backfill is not resumed', () => {
  test.each(['killed', 'ended'] as const)(
    'a day after it was %s: what was lost since then is stored',
    async (end) => {
      const scene = await openList(1000);
      await cutShort(scene, 6);
      await backdate(scene, '21 days', end);
      await scene.query(
        `delete from audit.events where organization = $1 and (created_on, event_id) in (
         select created_on, event_id from audit.events where organization = $1 order by created_on offset 100 limit 30)`,
      );
      expect(await reasonToRestart(scene)).toMatch(/^it stopped more than a day ago, at \d{4}-/);
      await expectSameRows(scene);
      // It succeeded: the next one is a new one, without a warning.
      expect(await reasonToRestart(scene)).toBeUndefined();
    },
  );

  test.each([
    ['23 hours', 'killed', undefined],
    ['23 hours', 'ended', undefined],
    ['25 hours', 'killed', 'it stopped'],
    ['25 hours', 'ended', 'it stopped'],
    ['-3 days', 'ended', undefined],
    ['25 hours', 'found to be abandoned', 'it stopped'],
  ] as const)('%s after it was %s: %s', async (age, end, expected) => {
    const scene = await openList(600);
    await cutShort(scene, 3);
    await backdate(scene, age, end);
    const reason = await reasonToRestart(scene);
    if (expected) expect(reason).toContain(expected);
    else expect(reason).toBeUndefined();
    await expectSameRows(scene);
  });

  test('if it began days ago, but was active within a day: it is resumed', async () => {
    const scene = await openList(600);
    await cutShort(scene, 3);
    // Reads the clock: ages are relative to the clock of the database.
    const touch = `update audit.runs set started_at = now() - interval '3 days', ended_at = null, outcome = null
      where organization = $1`;
    await scene.query(touch);
    // Only the ledger shows it: the lease was released.
    expect(await reasonToRestart(scene)).toBeUndefined();
    const killed = await openList(600);
    await cutShort(killed, 3);
    await killed.query(touch);
    // Reads the clock: as above.
    await killed.query(
      `update audit.ledger set committed_at = now() - interval '3 days' where organization = $1`,
    );
    // Reads the clock: as above.
    await killed.query(
      `update audit.watermarks w set lease_until = now() - interval '1 hour', lease_run_id = r.run_id
       from audit.runs r where w.organization = $1 and r.organization = $1`,
    );
    expect(await reasonToRestart(killed)).toBeUndefined();
  });

  test.each(['run', 'recheck', 'verify', 'backfill of a range'] as const)('after a %s', async (kind) => {
    const scene = await openList(600);
    await cutShort(scene, 3);
    if (kind === 'verify') await scene.verify({ shouldRepair: true });
    else if (kind === 'run' || kind === 'recheck') await scene.run({ kind });
    else await scene.run({ kind: 'backfill', from: NOON, to: ONE });
    const [{ run_id: id, kind: stored }] = (await scene.runs()) as [Record<string, unknown>];
    expect(await reasonToRestart(scene)).toBe(`run ${id} (${stored}) followed it`);
    await expectStored(scene, scene.simulator.rows);
  });

  test('after a run that failed; but after a backfill of the same range that committed nothing, it is resumed', async () => {
    const scene = await openList(600);
    await cutShort(scene, 3);
    const failing = async (kind: 'run' | 'backfill') => {
      scene.simulator.set({ faults: [{ fault: 503 }] });
      await expect(scene.run({ kind })).rejects.toMatchObject({ code: 'source-away' });
      scene.simulator.set({ faults: [] });
    };
    await failing('backfill');
    await cutShort(scene, 1);
    expect((await scene.runs())[0]!.warnings).toEqual([]);
    await failing('run');
    expect(await reasonToRestart(scene)).toMatch(/^run \d+ \(run\) followed it$/);
  });
});
