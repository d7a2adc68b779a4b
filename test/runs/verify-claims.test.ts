/** What verify says of rows that are missing or inserted, and what becomes of the claim of audit.coverage. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { formatTicks } from '../../src/core/ticks.ts';
import { verifyOffline } from '../../src/runs/verify.ts';
import { type Bench, createBench, type Scene } from '../support/bench.ts';

const PAGES = { EXPORT_PAGE_SIZE: '20' };

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());

async function openExported(events = 100): Promise<{ scene: Scene; ids: string[] }> {
  const scene = await bench.open({ events: events / 2 }, PAGES);
  await scene.run();
  scene.simulator.append(events / 2);
  await scene.run();
  const rows = await scene.query(
    'select event_id from audit.events where organization = $1 order by created_on_ticks, event_id',
  );
  return { scene, ids: rows.map((row) => row.event_id as string) };
}

const remove = (scene: Scene, id: string) =>
  scene.query('delete from audit.events where organization = $1 and event_id = $2', id);

const offline = async (scene: Scene) => {
  const [verification] = await verifyOffline(scene.app, {
    ...{ from: undefined, to: undefined, onLedgerRows: () => {}, signal: new AbortController().signal },
    of: { organization: scene.organization },
  });
  return verification!;
};

/** Every column of what verify must not move. */
const claims = async (scene: Scene) => ({
  coverage: await scene.query('select * from audit.coverage where organization = $1 order by from_ticks'),
  watermark: await scene.watermark(),
});

/** The ranges that answer "is the time of this event proven?". */
const provenRangesOf = (scene: Scene, index: number) =>
  scene.query(
    `select 1 from bi.coverage where organization = $1 and proven_at is not null and from_at <= $2::timestamptz - interval '1 ms'
       and to_at >= $2::timestamptz + interval '1 ms'`,
    formatTicks(scene.simulator.rows[index]!.ticks!),
  );

const last = async (scene: Scene) =>
  (
    await scene.query(
      `select scope, outcome, differences, not_due, repaired, entries > 0 as has_entries, ledger_head, error
       from audit.verifications where organization = $1 order by verification_id desc limit 1`,
    )
  )[0];

describe('an event at the source that is not stored', () => {
  test('and that came after the last proof is not due: nothing is different', async () => {
    const { scene } = await openExported();
    scene.simulator.append(4);
    const { source, state } = await scene.verifyAll();
    expect(source).toMatchObject({ counts: { missing: 0 }, notDue: 4, same: 100 });
    expect(source!.examples.map(({ kind, cause }) => [kind, cause])).toEqual(
      Array(4).fill(['not due', null]),
    );
    expect(state).toMatchObject({ count: 0, examples: [] });
    expect(await last(scene)).toMatchObject({
      scope: 'online',
      outcome: 'clean',
      differences: {},
      not_due: '4',
    });
    await scene.run();
    expect((await scene.verifyAll()).source).toMatchObject({ notDue: 0, same: 104 });
  });

  test('is missing where the last run did not prove the history', async () => {
    const { scene } = await openExported();
    await scene.query(
      `update audit.watermarks set completeness = 'not proven', completeness_reason = 'by the test' where organization = $1`,
    );
    scene.simulator.append(4);
    const { source } = await scene.verifyAll();
    expect(source).toMatchObject({ counts: { missing: 4 }, deletedByHand: 0, notDue: 0, provenAt: null });
    expect(source!.examples[0]).toMatchObject({ kind: 'missing', cause: 'never stored' });
  });

  test('is missing where a later run failed', async () => {
    const { scene } = await openExported();
    scene.simulator.append(60);
    scene.simulator.set({ faults: [{ fault: 500 }], latencyMs: 0 });
    await expect(scene.run()).rejects.toMatchObject({ code: 'source-away' });
    scene.simulator.set({ faults: [] });
    expect((await scene.verifyAll()).source).toMatchObject({ counts: { missing: 60 }, notDue: 0 });
  });

  test('and that an entry lists was deleted by hand, with time, user and id', async () => {
    const { scene, ids } = await openExported();
    await remove(scene, ids[40]!);
    scene.simulator.append(2);
    const { source, ledger } = await scene.verifyAll();
    expect(source).toMatchObject({ counts: { missing: 1 }, deletedByHand: 1, notDue: 2 });
    const row = JSON.parse(scene.simulator.rows[40]!.text);
    expect(source!.examples.find(({ kind }) => kind === 'missing')).toMatchObject({
      cause: 'deleted by hand',
      eventId: ids[40],
      createdOnTicks: scene.simulator.rows[40]!.ticks,
      userName: row.userName,
    });
    expect(ledger.examples.find(({ kind }) => kind === 'deleted')).toMatchObject({
      eventId: ids[40],
      userName: row.userName,
    });
  });

  test('is stored by --repair where it was due, and left to the next run where it was not', async () => {
    const { scene, ids } = await openExported();
    await remove(scene, ids[40]!);
    scene.simulator.append(2);
    const { source } = await scene.verifyAll({ shouldRepair: true });
    expect(source).toMatchObject({ repaired: 1, notDue: 2 });
    const [run] = await scene.runs();
    expect(run).toMatchObject({ kind: 'verify', rows_inserted: '1', rows_unchanged: '99', rows_read: '100' });
    expect(await last(scene)).toMatchObject({
      outcome: 'clean',
      repaired: '1',
      not_due: '2',
      differences: {},
    });
  });
});

describe('a stored event that no entry lists', () => {
  test('is found by a range that has it, which reads no row outside of the range for it', async () => {
    const { scene } = await openExported();
    await scene.query(
      `insert into audit.events (organization, log, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
       select organization, log, created_on, gen_random_uuid(), created_on_ticks, created_on_raw, 0, run_id, 1000000
       from audit.events where organization = $1 order by created_on limit 1`,
    );
    const [from, to] = [0, 10].map((index) => scene.simulator.rows[index]!.ticks!) as [bigint, bigint];
    const inserted = async (range: { from?: bigint; to?: bigint }) =>
      (await scene.verifyLedger(range)).counts.inserted;
    expect(await inserted({ from, to })).toBe(1);
    expect(await inserted({ to: from + 1n })).toBe(1);
    expect(await inserted({})).toBe(1);
    expect(await inserted({ from: to })).toBe(0);
  });

  test('was inserted by hand, with time, user and id; --repair makes no entry of it', async () => {
    const { scene, ids } = await openExported();
    // The next event of the source, entered before a run reads it, with another user.
    scene.simulator.append(1);
    await scene.run();
    const [forged] = await scene.query(
      `select event_id, batch from audit.events where organization = $1 order by created_on desc limit 1`,
    );
    const cut = async (table: string) =>
      scene.query(`delete from audit.${table} where organization = $1 and batch >= $2`, forged!.batch);
    await cut('ledger');
    await scene.query(
      `update audit.events set user_name = 'Mallory' where organization = $1 and event_id = $2`,
      forged!.event_id,
    );
    const entries = () =>
      scene.query('select batch from audit.ledger where organization = $1 order by batch');
    const before = await entries();
    const { source, ledger } = await scene.verifyAll({ shouldRepair: true });
    expect(source).toMatchObject({ counts: { changed: 1 }, insertedByHand: 1, repaired: 0 });
    expect(source!.examples[0]).toMatchObject({
      kind: 'changed',
      cause: 'inserted by hand',
      eventId: forged!.event_id,
    });
    expect(ledger.examples.find(({ kind }) => kind === 'inserted')).toMatchObject({
      eventId: forged!.event_id,
      userName: 'Mallory',
      createdOn: expect.any(String),
    });
    expect(await entries()).toEqual(before);
    expect(ids).toHaveLength(100);
  });
});

describe('a verification with differences', () => {
  test('moves neither proven_at nor verified_at nor a range, where nothing is missing', async () => {
    const { scene, ids } = await openExported();
    await scene.verifyAll();
    await scene.query(
      `update audit.events set message = 'forged' where organization = $1 and event_id = $2`,
      ids[7],
    );
    const before = await claims(scene);
    scene.simulator.append(3);
    expect((await scene.verifyAll()).source!.counts.changed).toBe(1);
    expect((await offline(scene)).ledger.counts.edited).toBe(1);
    expect(await claims(scene)).toEqual(before);
    expect(await last(scene)).toMatchObject({
      scope: 'offline',
      outcome: 'differences',
      differences: '{"edited": 1}',
    });
  });

  test('ends the claim where an event is missing, until a run has proven it again', async () => {
    const { scene, ids } = await openExported();
    await scene.verifyAll();
    const before = await claims(scene);
    await remove(scene, ids[40]!);
    expect(await provenRangesOf(scene, 40)).toHaveLength(1);
    await scene.verifyAll();
    expect(await provenRangesOf(scene, 40)).toHaveLength(0);
    const { coverage, watermark } = await claims(scene);
    expect(watermark).toEqual(before.watermark);
    // The range stays, since the ledger records it; only its proof ends.
    expect(coverage).toEqual([{ ...before.coverage[0], proven_at: null }]);
    // Again: what verify itself has written is no difference.
    const { state } = await scene.verifyAll();
    expect(state.examples).toEqual([]);
    expect((await claims(scene)).coverage).toEqual(coverage);
    await scene.run();
    expect(await provenRangesOf(scene, 40)).toHaveLength(1);
    expect((await scene.verifyAll()).state.examples).toEqual([]);
  });

  test('ends the claim of the entry that lists a deleted event, where only the ledger knows it', async () => {
    const { scene, ids } = await openExported();
    await remove(scene, ids[40]!);
    expect((await offline(scene)).ledger.counts.deleted).toBe(1);
    expect(await provenRangesOf(scene, 40)).toHaveLength(0);
  });

  test('of one table names the table, and is stored as such', async () => {
    const { scene } = await openExported();
    await scene.query('update audit.daily_totals set events = events + 1 where organization = $1');
    const { state } = await offline(scene);
    expect(state.tables).toEqual({ 'audit.daily_totals': state.count });
    expect(state.examples[0]).toMatchObject({ kind: 'state', table: 'audit.daily_totals' });
    expect(await last(scene)).toMatchObject({
      outcome: 'differences',
      differences: `{"state": ${state.count}}`,
    });
  });
});

test('a verification that fails is stored with its reason, and moves nothing', async () => {
  const { scene } = await openExported();
  const before = await claims(scene);
  scene.simulator.set({ faults: [{ fault: 503 }] });
  await expect(scene.verifyAll()).rejects.toMatchObject({ code: 'source-away' });
  expect(await last(scene)).toMatchObject({
    scope: 'online',
    outcome: 'failed',
    error: expect.stringContaining('503'),
  });
  expect(await claims(scene)).toEqual(before);
});

test('a run in progress causes no finding', async () => {
  const { scene } = await openExported();
  scene.simulator.append(2_000);
  const verifications = [];
  const running = scene.run().then(() => 'ended');
  do verifications.push(await offline(scene));
  while ((await Promise.race([running, Promise.resolve('running')])) === 'running');
  verifications.push(await offline(scene));
  for (const { ledger, state } of verifications) {
    expect(state.examples).toEqual([]);
    expect(ledger.examples).toEqual([]);
  }
});
