/** A watermark that was changed by hand, or by a broken restore, against the stored events. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { READ_NEWEST, READ_WATERMARK } from '../../src/postgres/read/watermark.ts';
import type { RunRequest } from '../../src/runs/export.ts';
import { ticksAt } from '../support/batch.ts';
import { type Bench, createBench, type Scene } from '../support/bench.ts';
import { expectSame, fieldsOf, STORED_EVENTS, storedFieldsOf } from '../support/truth.ts';

const EVENTS = 300;
const OTHER_RUNS: Partial<RunRequest>[] = [
  { kind: 'run' },
  { kind: 'recheck' },
  { kind: 'backfill', from: ticksAt('2023-01-01T01:00:00Z') },
  { kind: 'backfill', to: ticksAt('2023-01-01T01:00:00Z') },
];

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

async function openStored(environment = {}): Promise<Scene> {
  const scene = await bench.open({ events: EVENTS }, environment);
  await scene.run();
  return scene;
}

/** Without the ledger, which notes rows that were deleted by hand. */
async function expectSameRows(scene: Scene): Promise<void> {
  const events = await scene.query(STORED_EVENTS);
  expectSame(
    events.map(storedFieldsOf),
    scene.simulator.rows.map(({ text }) => fieldsOf(JSON.parse(text))),
  );
}

/** SQL that moves all three columns by an interval: they still agree with each other. */
const move = (seconds: number) => `
  update audit.watermarks set created_on_ticks = created_on_ticks + ${seconds} * 10000000::bigint,
    created_on = created_on + ${seconds} * interval '1 s',
    created_on_raw = to_char((created_on + ${seconds} * interval '1 s') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
      || (created_on_ticks % 10) || 'Z'
  where organization = $1`;
const set = (assignment: string) => `update audit.watermarks set ${assignment} where organization = $1`;
const NEWEST =
  'select created_on, event_id from audit.events where organization = $1 order by created_on desc';
const deleteNewest = (count: number) =>
  `delete from audit.events where organization = $1 and (created_on, event_id) in (${NEWEST} limit ${count})`;

const changes: [string, string, RegExp][] = [
  ['moved forward by a second', move(1), /it is at .*, and no event of this time is stored/],
  ['moved forward by a year', move(31_536_000), /no event of this time is stored/],
  ['moved into the future', move(200 * 31_536_000), /it is at 2\d{3}-.*no event of this time is stored/],
  ['moved back between two events', move(-1), /no event of this time is stored/],
  ['moved to before the first event', move(-31_536_000), /no event of this time is stored/],
  [
    'ahead of the rows, because the newest one was deleted',
    deleteNewest(1),
    /no event of this time is stored/,
  ],
  ['ahead of the rows, because many were deleted', deleteNewest(150), /no event of this time is stored/],
  [
    'left, and all rows deleted',
    deleteNewest(EVENTS),
    /no event of this time is stored\. No event is stored\./,
  ],
  [
    'of another organization, restored without its rows',
    set(`created_on_ticks = 0, created_on = 'epoch', created_on_raw = '1970-01-01T00:00:00Z'`),
    /it is at 1970-01-01T00:00:00\.0000000Z, and no/,
  ],
  [
    'changed in created_on only',
    set(`created_on = created_on + interval '1 us'`),
    /its columns name different times/,
  ],
  ['changed in created_on_ticks only', set('created_on_ticks = created_on_ticks + 1'), /different times/],
  [
    'changed in created_on_raw only',
    set(`created_on_raw = '2023-01-01T00:00:00Z'`),
    /created_on_raw 2023-01-01T00:00:00Z/,
  ],
  [
    'with a created_on_raw that is no time',
    set(`created_on_raw = repeat('x', 100000)`),
    /created_on_raw x{50}…\)/,
  ],
  ['without created_on', set('created_on = null'), /created_on null/],
  ['without created_on_ticks', set('created_on_ticks = null'), /created_on_ticks null/],
  ['without created_on_raw', set('created_on_raw = null'), /created_on_raw null/],
  [
    'with only created_on_ticks',
    set('created_on = null, created_on_raw = null'),
    /created_on null, created_on_raw null/,
  ],
  ['with ticks of no year', set('created_on_ticks = 9223372036854775807'), /different times/],
  ['at infinity', set(`created_on = 'infinity'`), /different times/],
  ['without read_at', set('read_at = null'), /read_at is not a time/],
  ['read at infinity', set(`read_at = 'infinity'`), /read_at is not a time/],
];

describe('a watermark that is', () => {
  test.each(changes)(
    '%s is refused, and a backfill of the whole list sets it again',
    async (_, change, found) => {
      const scene = await openStored();
      await scene.query(change);
      scene.simulator.append(20);
      const before = [await scene.query(STORED_EVENTS), await readWatermark(scene)];
      const newest = (
        await scene.query('select max(created_on_ticks) as ticks from audit.events where organization = $1')
      )[0]!;
      for (const request of OTHER_RUNS) {
        const error = await scene.run(request).then(
          () => undefined,
          (error) => error,
        );
        expect(error).toMatchObject({ code: 'configuration' });
        expect(error.message).toMatch(found);
        expect(error.message.length).toBeLessThan(700);
        expect(error.message).toContain(
          `The watermark of ${scene.organization} in audit.watermarks does not match`,
        );
        expect(error.message).toContain('Run backfill without --from and --to');
        if (newest.ticks !== null)
          expect(error.message).toContain('The newest stored event is of 2023-01-01T');
        expect((await scene.runs())[0]).toMatchObject({
          kind: request.kind,
          outcome: 'failed',
          error: error.message,
          requests: '0',
        });
      }
      expect([await scene.query(STORED_EVENTS), await readWatermark(scene)]).toEqual(before);

      const { warnings } = await scene.run({ kind: 'backfill' });
      expect(warnings).toEqual([
        expect.stringMatching(
          /^The watermark was reset, because .* This backfill starts from the beginning\. /,
        ),
      ]);
      await expectSameRows(scene);
      scene.simulator.append(5);
      expect((await scene.run()).warnings).toEqual([]);
      await expectSameRows(scene);
    },
  );

  test('after that backfill every kind of run works again', async () => {
    const scene = await openStored();
    await scene.query(changes[0]![1]);
    await scene.run({ kind: 'backfill' });
    scene.simulator.append(5);
    for (const request of [...OTHER_RUNS, { kind: 'backfill' as const }])
      expect((await scene.run(request)).warnings).toEqual([]);
    await expectSameRows(scene);
  });

  test.each([
    [
      'moved back onto another event',
      `from (${NEWEST} offset 100 limit 1) k join audit.events e using (created_on, event_id)`,
    ],
    [
      'moved back onto the first event',
      `from (${NEWEST} offset ${EVENTS - 1} limit 1) k join audit.events e using (created_on, event_id)`,
    ],
  ])('%s is accepted, and nothing is lost or doubled', async (_, where) => {
    const scene = await openStored();
    await scene.query(
      `update audit.watermarks w set created_on = e.created_on, created_on_ticks = e.created_on_ticks,
         created_on_raw = e.created_on_raw ${where} where w.organization = $1 and e.organization = $1`,
    );
    scene.simulator.append(20);
    expect(await scene.run()).toMatchObject({ counters: { inserted: 20 }, warnings: [] });
    await expectSameRows(scene);
  });

  test.each([
    [
      'null, as before the first run',
      set('created_on = null, created_on_ticks = null, created_on_raw = null'),
    ],
    [
      'null in every column',
      set('created_on = null, created_on_ticks = null, created_on_raw = null, read_at = null, resume = null'),
    ],
    ['deleted with its row', 'delete from audit.watermarks where organization = $1'],
    ['read earlier', set(`read_at = '2023-01-01T00:30Z'`)],
    ['with another resume value', set(`resume = '{"skip": 123456}'`)],
    ['with a resume value of another kind', set(`resume = '["x"]'`)],
    [
      'without an older event',
      `delete from audit.events where organization = $1 and created_on < '2023-01-01T00:30Z'`,
    ],
  ])('%s is accepted', async (_, change) => {
    const scene = await openStored();
    await scene.query(change);
    scene.simulator.append(20);
    expect((await scene.run()).warnings).toEqual([]);
    await scene.run({ kind: 'backfill' });
    await expectSameRows(scene);
  });

  test('older than stored rows of a backfill of a range, or than an event dated ahead, is accepted', async () => {
    const scene = await openStored();
    scene.simulator.append(500);
    const newest = scene.simulator.rows.at(-1)!.ticks!;
    await scene.run({ kind: 'backfill', from: newest });
    expect((await scene.run()).warnings).toEqual([]);
    await expectSameRows(scene);
  });
});

describe('a reset', () => {
  test('does not resume an unfinished backfill, and leaves no state of a count', async () => {
    const scene = await openStored();
    const stop = new AbortController();
    scene.simulator.set({ latencyMs: 20 });
    const cut = scene.run({ kind: 'backfill', signal: stop.signal, onChunk: () => stop.abort() });
    await expect(cut).rejects.toMatchObject({ code: 'interrupted' });
    scene.simulator.set({ latencyMs: 0 });
    await scene.query(deleteNewest(EVENTS));
    await scene.query(
      // Reads the clock: the time is written only.
      set(
        `head_ticks = 1, head_at = now(), ranks = '{}', completeness = 'complete', proven_at = now(), assessed_at = now()`,
      ),
    );
    const abort = new AbortController();
    // Stops before the first page: only the reset is committed.
    abort.abort();
    await expect(scene.run({ kind: 'backfill', signal: abort.signal })).rejects.toMatchObject({
      code: 'interrupted',
    });
    expect(await readWatermark(scene)).toMatchObject({
      ...{ created_on: null, created_on_ticks: null, created_on_raw: null, read_at: null, resume: null },
      ...{
        head_ticks: null,
        head_at: null,
        ranks: null,
        completeness: null,
        proven_at: null,
        assessed_at: null,
      },
      // The source is the same one.
      source_url: scene.simulator.url,
    });
    await scene.run();
    await expectSameRows(scene);
  });

  test('is not needed for verify --repair, which stores deleted rows again', async () => {
    const scene = await openStored();
    await scene.query(deleteNewest(10));
    await scene.verify({ shouldRepair: true });
    await scene.run();
    await expectSameRows(scene);
  });

  test('costs no scan: two look-ups in the primary key, and no other partition is planned', async () => {
    const scene = await openStored();
    await bench.query(
      `select audit.create_event_months(array['2022-11-01', '2022-12-01']::date[]); analyze audit.events`,
    );
    const [state] = await scene.query(READ_WATERMARK, 'classic');
    const plan = await scene
      .query(
        `explain (format text) ${READ_NEWEST}`,
        ...['classic', state!.newest_from, state!.created_on, state!.created_on_ticks],
      )
      .then((rows) => rows.map((row) => row['QUERY PLAN']).join('\n'));
    // Partitions without rows are read whole.
    expect(plan).not.toMatch(/Seq Scan on events_2023_01|Sort {2}\(|2022/);
    expect(plan.match(/Index.* using events_2023_01_pkey/g)).toHaveLength(2);
  });
});

async function readWatermark(scene: Scene) {
  const [row] = await scene.query('select * from audit.watermarks where organization = $1');
  const {
    lease_run_id: _run,
    lease_until: _until,
    lease_pid: _pid,
    run_id: _id,
    updated_at: _at,
    source_total: _total,
    ...rest
  } = row!;
  return rest;
}
