/** The statements on `audit.events` as a partitioned table, which has no `xmax` in `returning`. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { PostgresSession } from '../../../src/postgres/write/session.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';

let bench: Bench;
let session: PostgresSession;

beforeAll(async () => {
  bench = await createBench();
  await bench.query(`
    alter table audit.events rename to events_in_one;
    create table audit.events (like audit.events_in_one including defaults) partition by range (created_on);
    alter table audit.events add primary key (organization, created_on, event_id);
    create table audit.events_2025 partition of audit.events for values from ('2025-01-01') to ('2026-01-01');
    create table audit.events_2026 partition of audit.events for values from ('2026-01-01') to ('2027-01-01');`);
  session = await openSession(bench.pool, { organization: 'partitioned', log: 'classic', kind: 'run' });
});
afterAll(async () => {
  await session.release();
  await bench.close();
});

const old = eventAt('2025-12-31T23:00:00Z');
const recent = eventAt('2026-01-01T01:00:00Z');
const later = eventAt('2026-01-01T02:00:00Z');
const renamed = { ...recent, userName: 'renamed' };
const ledger = () =>
  bench.query(
    `select kind, rows_inserted, rows_changed from audit.ledger where kind in ('stored', 'changed') order by batch`,
  );

test('rows are copied, upserted and restored, and inserted rows distinguished from changed ones', async () => {
  const counts = { inserted: 0, updated: 0, unchanged: 0 };
  expect(await session.commit(batchOf([old, recent]))).toMatchObject({ ...counts, inserted: 2 });
  expect(await session.commit(batchOf([old, renamed, later]))).toMatchObject({
    inserted: 1,
    updated: 1,
    unchanged: 1,
  });
  expect(await session.commit(batchOf([old, renamed, later]))).toMatchObject({ ...counts, unchanged: 3 });
  await bench.query(`update audit.events set action = 'Forged' where user_name = 'renamed'`);
  expect(await session.restore(batchOf([renamed]))).toMatchObject({ inserted: 0, updated: 1 });
  expect(await ledger()).toEqual([
    { kind: 'stored', rows_inserted: 2, rows_changed: 0 },
    { kind: 'stored', rows_inserted: 1, rows_changed: 0 },
    { kind: 'changed', rows_inserted: 0, rows_changed: 1 },
    { kind: 'changed', rows_inserted: 0, rows_changed: 1 },
  ]);
});
