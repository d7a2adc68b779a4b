import { setTimeout as sleep } from 'node:timers/promises';
/** What verify finds after manual changes of the table, end to end. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { eventIdOf } from '../../src/core/identity.ts';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { STORED_EVENTS } from '../../src/postgres/read/stored-events.ts';
import { runExport } from '../../src/runs/export.ts';
import { verifyOnline } from '../../src/runs/verify.ts';
import { eventAt, ticksAt } from '../support/batch.ts';
import { type Bench, createApp, createBench, type Scene } from '../support/bench.ts';
import { withParameter } from '../support/database.ts';
import { expectStored } from '../support/truth.ts';

const RUNS = Number(process.env.EXPORT_PROPERTY_RUNS ?? 12);
const EVENTS = 120;
const PAGES = { EXPORT_PAGE_SIZE: '20' };

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

/** The expected findings of a manual change. */
interface Expected {
  missing?: number;
  changed?: number;
  gone?: number;
  edited?: number;
  deleted?: number;
  inserted?: number;
}

interface Tampering {
  name: string;
  /** `$1` organization, `$2` event id of the row. */
  sql: string;
  expected: Expected;
}

const FORGED = eventAt('2026-01-01T00:00:00Z', { message: 'forged' });
const FORGED_COLUMNS = `organization, batch, run_id, created_on, event_id, created_on_ticks, created_on_raw, category, action,
  source, user_name, email, message, details_version, details_raw, details, ordinal, first_seen_at, updated_at`;
const set = (change: string) => `update audit.events set ${change} where organization = $1 and event_id = $2`;
const edit = (change: string, expected: Expected = { changed: 1, edited: 1 }): Tampering => ({
  name: change,
  sql: set(change),
  expected,
});

const TAMPERINGS: Tampering[] = [
  {
    name: 'deleted',
    sql: 'delete from audit.events where organization = $1 and event_id = $2',
    expected: { missing: 1, deleted: 1 },
  },
  ...['user_name', 'email', 'message', 'category', 'action', 'source', 'details_version', 'details_raw'].map(
    (column) => edit(`${column} = coalesce(${column}, '') || '!', updated_at = updated_at`),
  ),
  edit('user_name = null'),
  edit(`extra = '{"more": 1}'`),
  edit(`raw = '{}'`),
  edit(`details = '{"userName": "somebody else"}'`),
  edit('details = null'),
  edit('ordinal = ordinal + 1'),
  edit('created_on_ticks = created_on_ticks + 1'),
  edit(`created_on_raw = regexp_replace(created_on_raw, '(Z|[+]00:00)$', '-00:00')`),
  edit(`first_seen_at = first_seen_at - interval '1 day'`, { edited: 1 }),
  edit('run_id = run_id + 1', { edited: 1 }),
  edit(`updated_at = updated_at + interval '1 second'`, { edited: 1 }),
  // Listed by one entry, named by another.
  edit('batch = 1 + batch % (select max(batch) from audit.ledger where organization = $1)', {
    ...{ deleted: 1, inserted: 1 },
  }),
  edit('batch = 0', { deleted: 1, inserted: 1 }),
  edit('event_id = gen_random_uuid()', { missing: 1, changed: 1, deleted: 1, inserted: 1 }),
  edit(`created_on = created_on - interval '900 days'`, {
    ...{ missing: 1, changed: 1, deleted: 1, inserted: 1 },
  }),
  {
    name: 'forged beside it',
    sql: `insert into audit.events (${FORGED_COLUMNS})
      select ${FORGED_COLUMNS.replace('event_id', 'gen_random_uuid()')} from audit.events where organization = $1 and event_id = $2`,
    expected: { changed: 1, inserted: 1 },
  },
  {
    name: 'forged with an id of its own',
    sql: `insert into audit.events (${FORGED_COLUMNS})
      select organization, batch, run_id, '2026-01-01', '${eventIdOf(FORGED, 0)}', ${ticksAt('2026-01-01T00:00:00Z')}, '2026-01-01T00:00:00Z', 'User',
        'Login', 'Cis', 'A', 'a@example.com', 'forged', '1.0', '{}', '{}', 0, first_seen_at, updated_at
      from audit.events where organization = $1 and event_id = $2`,
    // After the newest event of the source, but before the run that found the end of its list.
    expected: { inserted: 1, gone: 1 },
  },
];

/** In five runs, so that the ledger has five entries at least: pages that wait are committed together. */
async function openExported(events = EVENTS): Promise<{ scene: Scene; ids: string[] }> {
  const scene = await bench.open({ events: events / 5 }, PAGES);
  await scene.run();
  for (let piece = 1; piece < 5; piece++) {
    scene.simulator.append(events / 5);
    await scene.run();
  }
  const rows = await scene.query(
    'select event_id from audit.events where organization = $1 order by created_on_ticks, event_id',
  );
  return { scene, ids: rows.map((row) => row.event_id as string) };
}

async function expectFound(scene: Scene, expected: Expected): Promise<void> {
  const source = await scene.verify();
  const ledger = await scene.verifyLedger();
  expect({ ...source.counts, ...ledger.counts }).toEqual({
    ...{ missing: 0, changed: 0, gone: 0, edited: 0, deleted: 0, inserted: 0, broken: 0, repaired: 0 },
    ...expected,
  });
}

describe('a table without manual changes', () => {
  test('equals the source and the ledger', async () => {
    const { scene } = await openExported();
    expect(await scene.verify()).toMatchObject({
      events: EVENTS,
      stored: EVENTS,
      same: EVENTS,
      examples: [],
    });
    expect(await scene.verifyLedger()).toMatchObject({ rows: EVENTS, examples: [] });
    await expectFound(scene, {});
  });

  test('equals the source after newer events appeared there, which are not exported yet', async () => {
    const { scene } = await openExported();
    // Reads the clock: the export claims every event up to its last request.
    const createdOn = new Date().toISOString();
    scene.simulator.append([JSON.stringify({ ...JSON.parse(eventText(1)), createdOn })]);
    await expectFound(scene, {});
    expect(await scene.verify()).toMatchObject({ notDue: 1, events: EVENTS + 1 });
  });

  test('may have rows that are gone at the source', async () => {
    const { scene } = await openExported();
    scene.simulator.deleteHead(30);
    scene.simulator.deleteAt(40, 5);
    await expectFound(scene, { gone: 35 });
  });

  test('can be verified over a half-open range', async () => {
    const { scene, ids } = await openExported();
    const rows = scene.simulator.rows;
    await scene.query('delete from audit.events where organization = $1 and event_id = any($2::uuid[])', [
      ids[10],
      ids[50],
      ids[90],
    ]);
    const [from, to] = [rows[30]!.ticks!, rows[80]!.ticks!];
    const { counts, events } = await scene.verify({ from, to });
    expect(counts).toEqual({ missing: 1, changed: 0, gone: 0 });
    expect(events).toBe(rows.filter(({ ticks }) => ticks! >= from && ticks! < to).length);
  });

  test('lacks late events until the next run: they are not due, because the last run proved the history', async () => {
    const { scene } = await openExported();
    scene.simulator.insertLate(3);
    await expectFound(scene, {});
    expect(await scene.verify()).toMatchObject({ notDue: 3 });
    await scene.run({ kind: 'recheck' });
    expect(await scene.verify()).toMatchObject({ notDue: 0, same: EVENTS + 3 });
  });
});

describe('manual changes of the table are found', () => {
  test.each(TAMPERINGS)('$name', async ({ sql, expected }) => {
    const { scene, ids } = await openExported();
    await scene.query(sql, ids[50]);
    await expectFound(scene, expected);
  });

  test('exactly, for any number of changes and rows; and repaired, except forged rows', async () => {
    // Not of the first page, whose span has no beginning: a row moved far back is still in it. Nor the last row: moved on by a
    // tick it lies behind all that is compared, and its event is missing.
    const done = fc.uniqueArray(
      fc.record({
        row: fc.integer({ min: 30, max: EVENTS - 2 }),
        tampering: fc.constantFrom(...TAMPERINGS.slice(0, -1)),
      }),
      { selector: ({ row }) => row, maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(done, async (tamperings) => {
        const { scene, ids } = await openExported();
        const expected: Record<string, number> = {};
        for (const { row, tampering } of tamperings) {
          await scene.query(tampering.sql, ids[row]);
          for (const [kind, count] of Object.entries(tampering.expected)) {
            expected[kind] = (expected[kind] ?? 0) + count;
          }
        }
        await expectFound(scene, expected);
        await scene.verify({ shouldRepair: true });
        // Rows that the source does not show stay until a person deletes them.
        await scene.query(
          `delete from audit.events e where organization = $1 and not (event_id = any($2::uuid[])
             and created_on_ticks / 10 = (extract(epoch from created_on) * 1000000)::bigint)`,
          ids,
        );
        const { counts } = await scene.verify();
        expect(counts).toEqual({ missing: 0, changed: 0, gone: 0 });
        await scene.close();
      }),
      { numRuns: RUNS },
    );
  });
});

describe('a row', () => {
  test('of any size or kind whose details were emptied is found', async () => {
    const large = JSON.stringify(Array.from({ length: 2000 }, () => ({})));
    const doubled =
      '{"createdOn":"2024-01-01T00:00:03Z","category":"a","category":"b","auditLogDetails":"{}"}';
    const rows = [
      eventText(1),
      JSON.stringify({ ...JSON.parse(eventText(2)), auditLogDetails: large }),
      doubled,
    ];
    const scene = await bench.open({ rows }, PAGES);
    await scene.run();
    const emptied = await scene.query(
      'update audit.events set details = null where organization = $1 and details is not null returning event_id',
    );
    expect(emptied).toHaveLength(2);
    await expectFound(scene, { changed: 2, edited: 2 });
    expect(await scene.verify({ shouldRepair: true })).toMatchObject({ repaired: 2 });
    await expectFound(scene, { repaired: 2 } as Expected);
  });

  test('that was moved within its page does not count as the event: both are reported, and the event is stored again', async () => {
    const { scene, ids } = await openExported();
    await scene.query(set(`created_on = created_on + interval '1 microsecond'`), ids[50]);
    const { counts, repaired } = await scene.verify({ shouldRepair: true });
    expect({ counts, repaired }).toEqual({ counts: { missing: 1, changed: 1, gone: 0 }, repaired: 1 });
    expect((await scene.verify()).counts).toEqual({ missing: 0, changed: 1, gone: 0 });
  });

  test('whose ticks were edited is restored at any position in a page', async () => {
    const { scene } = await openExported(60);
    await scene.query(
      'update audit.events set created_on_ticks = created_on_ticks - 3 where organization = $1',
    );
    await scene.verify({ shouldRepair: true });
    const { counts, same } = await scene.verify();
    expect({ counts, same }).toEqual({ counts: { missing: 0, changed: 0, gone: 0 }, same: 60 });
  });
});

test('the stored events are read by the index, not sorted for each chunk', async () => {
  const client = await bench.sql.connect();
  try {
    await client.query('set enable_seqscan = off');
    const bounds = ['2023-01-01', '0', '2023-02-01', '99999999999999999', null, null];
    const { rows } = await client.query(`explain ${STORED_EVENTS}`, ['acme', 'classic', ...bounds]);
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(plan).toContain('Index Scan using events_2023_01_pkey');
    expect(plan).not.toContain('Sort  (');
  } finally {
    client.release(true);
  }
});

describe('repairing', () => {
  test('stores and restores in its own run, which the ledger records, and leaves no difference', async () => {
    const { scene, ids } = await openExported();
    await scene.query('delete from audit.events where organization = $1 and event_id = $2', ids[3]);
    await scene.query(set(`user_name = 'Nobody'`), ids[40]);
    await scene.query(set(`details_raw = '{}', details = '{}'`), ids[70]);
    const report = await scene.verify({ shouldRepair: true });
    expect(report).toMatchObject({ counts: { missing: 1, changed: 2, gone: 0 }, repaired: 3 });
    const [run] = await scene.runs();
    expect(run).toMatchObject({
      ...{ run_id: report.runId, kind: 'verify', outcome: 'succeeded' },
      ...{
        rows_read: String(EVENTS),
        rows_inserted: '1',
        rows_updated: '2',
        rows_unchanged: String(EVENTS - 3),
      },
    });
    await expectFound(scene, { repaired: 3 } as Expected);
    await expectStored(scene, scene.simulator.rows);
  });

  test('does not change the watermark or the next run', async () => {
    const { scene, ids } = await openExported();
    await scene.query('delete from audit.events where organization = $1 and event_id = $2', ids[3]);
    const { run_id: _run, updated_at: _at, ...before } = (await scene.watermark())!;
    await scene.verify({ shouldRepair: true });
    expect(await scene.watermark()).toMatchObject(before);
    scene.simulator.append(5);
    expect(await scene.run()).toMatchObject({ counters: { inserted: 5 } });
  });

  test('stores rows again that were deleted from audit.rejected_events', async () => {
    const scene = await bench.open({ rows: [eventText(1), '{"createdOn":5}', eventText(2)] }, PAGES);
    await scene.run();
    await scene.query('delete from audit.rejected_events where organization = $1');
    await expectFound(scene, { missing: 1, deleted: 1 });
    expect(await scene.verify({ shouldRepair: true })).toMatchObject({ repaired: 1 });
    await expectFound(scene, {});
  });

  test('is refused while another worker holds the lease', async () => {
    const { scene } = await openExported();
    scene.simulator.set({ latencyMs: 1_000 });
    scene.simulator.clearRequests();
    const running = scene.run();
    while (scene.simulator.counts.list === 0) await sleep(5);
    await expect(scene.verify({ shouldRepair: true })).rejects.toMatchObject({ code: 'locked' });
    scene.simulator.set({ latencyMs: 0 });
    await running;
    expect((await scene.verify()).counts.missing).toBe(0);
  });
});

describe('the ledger', () => {
  const head = async (scene: Scene) => (await scene.verifyLedger()).head!;
  const kinds = async (scene: Scene, expected?: Awaited<ReturnType<typeof head>>) => {
    const { counts } = await scene.verifyLedger(expected ? { expected } : {});
    return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  };

  test('has its own entry for a later change, so that both stay verifiable', async () => {
    const { scene } = await openExported();
    const { batch } = await head(scene);
    expect(await reread(scene, 'de')).toBeGreaterThan(0);
    expect(await reread(scene, 'en')).toBeGreaterThan(0);
    expect((await head(scene)).batch).toBeGreaterThan(batch);
    expect(await kinds(scene)).toEqual({});
  });

  test.each([
    ['an entry edited', `committed_at = committed_at + interval '1 second'`],
    ['its list edited', `inserted = overlay(inserted placing 'x' from 20)`],
    ['its count edited', 'rows_inserted = rows_inserted + 5'],
    ['its digest edited', `digest = 'x'`],
    ['its kind edited', `kind = 'retired'`],
    ['its format edited', 'format = 1'],
    ['its facts edited', `facts = 'x'`],
    ['its peaks edited', `peaks = '\\x00'`],
    ['an invented checkpoint', `checkpoint = 'x'`],
  ])('that has %s is broken there', async (_name, edit) => {
    const { scene } = await openExported();
    const [{ batch } = {}] = await scene.query(
      `update audit.ledger l set ${edit} where organization = $1 and batch = (
         select batch from audit.ledger where organization = $1 and kind = 'stored' order by batch offset 2 limit 1)
       returning batch`,
    );
    const { examples } = await scene.verifyLedger();
    const broken = examples.filter(({ kind }) => kind === 'broken').map((found) => String(found.batch));
    expect(broken).toContain(batch);
  });

  test('without one of its entries is broken after it, and no longer lists its rows', async () => {
    const { scene } = await openExported();
    const [{ rows_inserted: rows } = {}] = await scene.query(
      `delete from audit.ledger where organization = $1 and batch = (
         select batch from audit.ledger where organization = $1 and kind = 'stored' order by batch offset 2 limit 1)
       returning rows_inserted`,
    );
    expect(await kinds(scene)).toEqual({ broken: 1, inserted: rows });
  });

  test('whose end was cut off, with its rows, is found by an entry kept elsewhere', async () => {
    const { scene } = await openExported();
    const expected = await head(scene);
    expect(await kinds(scene, expected)).toEqual({});
    for (const table of ['events', 'ledger']) {
      await scene.query(
        `delete from audit.${table} where organization = $1 and batch = $2`,
        expected.batch.toString(),
      );
    }
    expect(await kinds(scene)).toEqual({});
    expect(await kinds(scene, expected)).toEqual({ broken: 1 });
  });

  test('that was rewritten from the start is found by an entry kept elsewhere', async () => {
    const { scene } = await openExported();
    const expected = await head(scene);
    const tables = ['events', 'ledger', 'ledger_changes', 'watermarks', 'coverage'];
    for (const table of tables) await scene.query(`delete from audit.${table} where organization = $1`);
    scene.simulator.deleteAt(50, 1);
    await scene.run();
    expect(await kinds(scene)).toEqual({});
    expect(await kinds(scene, expected)).toEqual({ broken: 1 });
  });
});

describe('a clean result', () => {
  const coverage = (scene: Scene) =>
    scene.query(
      // Reads the clock: a comparison recorded just now, against one of long ago.
      "select from_ticks, to_ticks, verified_at > now() - interval '1 hour' as is_verified from audit.coverage where organization = $1",
    );

  test('is recorded in audit.coverage, also for events that the source has deleted since', async () => {
    const { scene } = await openExported();
    scene.simulator.deleteHead(20);
    await scene.verifyAll();
    expect(await coverage(scene)).toMatchObject([{ is_verified: true }]);
  });

  test('is recorded for the ranges that runs have read, and changes neither these nor what the ledger recorded of them', async () => {
    const scene = await bench.open({ events: 60 }, PAGES);
    const { rows } = scene.simulator;
    await scene.run({ kind: 'backfill', from: rows[0]!.ticks!, to: rows[20]!.ticks! + 5n });
    await scene.run({ kind: 'backfill', from: rows[21]!.ticks!, to: rows[40]!.ticks! + 5n });
    const before = await coverage(scene);
    // No event is between the two.
    await scene.verifyAll({ from: rows[0]!.ticks!, to: rows[41]!.ticks! });
    expect(await coverage(scene)).toEqual(before.map((range) => ({ ...range, is_verified: true })));
    expect(Object.values((await scene.verifyLedger()).counts).every((count) => count === 0)).toBe(true);
  });

  test('proves nothing that no run has requested yet, after an event dated in the future', async () => {
    const future = JSON.stringify({ ...JSON.parse(eventText(1)), createdOn: '2099-01-01T00:00:00Z' });
    const scene = await bench.open({ rows: [eventText(1), future] }, PAGES);
    await scene.run();
    const before = await coverage(scene);
    // Reads the clock: an event newer than the last run, whenever that was.
    const createdOn = new Date().toISOString();
    scene.simulator.append([JSON.stringify({ ...JSON.parse(eventText(2)), createdOn })]);
    expect((await scene.verifyAll()).source).toMatchObject({ notDue: 1, same: 2 });
    expect(await coverage(scene)).toEqual([{ ...before[0], is_verified: true }]);
    await scene.run();
    expect((await scene.verify()).same).toBe(3);
  });

  test('includes events that a backfill of a range has stored after the watermark', async () => {
    const scene = await bench.open({ events: 100 }, PAGES);
    await scene.run();
    scene.simulator.append(30);
    const from = scene.simulator.rows[95]!.ticks!;
    await scene.run({ kind: 'backfill', from });
    await scene.query(
      'delete from audit.events where organization = $1 and created_on_ticks >= $2',
      scene.simulator.rows[105]!.ticks!.toString(),
    );
    // Those of the backfill, which no run has counted yet, were deleted by hand. The other 5 are not due.
    expect(await scene.verify()).toMatchObject({ counts: { missing: 25 }, deletedByHand: 25, notDue: 0 });
  });

  test('is valid even if it cannot be recorded', async () => {
    const { scene } = await openExported();
    const readOnly = createPool(
      withParameter(bench.database.url, 'options', '-c default_transaction_read_only=on'),
      () => {},
    );
    try {
      const again = createApp(scene.simulator, {
        url: bench.database.url,
        pool: readOnly,
        environment: PAGES,
      });
      const { source } = await verifyOnline(again.app, {
        ...{
          from: undefined,
          to: undefined,
          shouldRepair: false,
          onProgress: () => {},
          onLedgerRows: () => {},
        },
        signal: new AbortController().signal,
      });
      expect(source?.same).toBe(EVENTS);
      const warnings = again.lines.filter(({ level }) => level === 'warn');
      expect(warnings.map(({ msg }) => msg)).toEqual([expect.stringContaining('the result is not recorded')]);
    } finally {
      await readOnly.end();
    }
  });

  test('is not recorded if an event is missing, or for a part only', async () => {
    const { scene, ids } = await openExported();
    await scene.verifyAll({ to: scene.simulator.rows[60]!.ticks! });
    expect(await coverage(scene)).toMatchObject([{ is_verified: null }]);
    await scene.query('delete from audit.events where organization = $1 and event_id = $2', ids[3]);
    await scene.verifyAll();
    expect(await coverage(scene)).toMatchObject([{ is_verified: null }]);
    await scene.verifyAll({ shouldRepair: true });
    expect(await coverage(scene)).toMatchObject([{ is_verified: true }]);
  });
});

function eventText(second: number): string {
  const { createdOnRaw: createdOn } = eventAt(`2024-01-01T00:00:0${second}Z`);
  return JSON.stringify({ createdOn, category: 'User', action: 'Login' });
}

/** Reads everything again in another language; returns how many rows that changed. */
async function reread(scene: Scene, language: string): Promise<number> {
  const { app } = scene;
  const again = createApp(scene.simulator, {
    url: bench.database.url,
    pool: app.pool,
    environment: { ...PAGES, UIPATH_LANGUAGE: language },
  });
  const signal = new AbortController().signal;
  const { counters } = await runExport(again.app, { kind: 'backfill', signal });
  return counters.updated;
}
