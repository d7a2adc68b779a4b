import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readUnfinishedBackfill } from '../../../src/postgres/read/unfinished-backfill.ts';
import { pruneRuns } from '../../../src/postgres/write/prune-runs.ts';
import { type Bench, createBench } from '../../support/bench.ts';

const DAY_MS = 86_400_000;
const HISTORY_MS = 400 * DAY_MS;

let bench: Bench;
beforeAll(async () => {
  bench = await createBench();
  // A row of any table may stand for a reference.
  await bench.query('set session_replication_role = replica');
});
afterAll(() => bench.close());

const prune = (organization: string, historyMs = HISTORY_MS) =>
  pruneRuns(bench.pool, { organization, log: 'classic' }, historyMs);

/** Inserts a quiet run that is `days` old, with other columns as given, and returns its number. */
async function addRun(
  organization: string,
  days: number,
  columns: Record<string, unknown> = {},
): Promise<string> {
  const row = { kind: 'run', outcome: 'succeeded', requests: 2, retries: 1, rows_read: 10, ...columns };
  const names = Object.keys(row);
  // Reads the clock: runs are pruned by their age.
  const at = "now() - $2 * interval '1 day'";
  const rows = await bench.query(
    `insert into audit.runs (organization, log, started_at, ended_at, ${names.join(', ')})
     select $1, 'classic', at, at + interval '1 second', ${names.map((_, i) => `$${i + 3}`).join(', ')}
     from (select ${at} as at) as t returning run_id`,
    [organization, days, ...Object.values(row)],
  );
  return rows[0]!.run_id as string;
}

const runsOf = async (organization: string) =>
  (
    await bench.query('select run_id from audit.runs where organization = $1 order by run_id', [organization])
  ).map(({ run_id: id }) => id);

test('only runs that are old, succeeded and stored nothing are removed, and each day keeps its sums', async () => {
  const kept = [
    await addRun('a', 900, { outcome: 'failed', error: 'no response' }),
    await addRun('a', 899, { outcome: 'abandoned' }),
    await addRun('a', 899, { outcome: 'interrupted' }),
    await addRun('a', 899, { outcome: null }),
    await addRun('a', 898, { kind: 'backfill' }),
    await addRun('a', 898, { kind: 'verify' }),
    await addRun('a', 897, { rows_inserted: 1 }),
    await addRun('a', 897, { rows_updated: 1 }),
    await addRun('a', 897, { rows_superseded: 1 }),
    await addRun('a', 897, { rows_rejected: 1 }),
    await addRun('a', 896, { completeness: 'incomplete' }),
    await addRun('a', 896, { completeness: 'source changed' }),
  ];
  for (let hour = 0; hour < 24; hour += 1) await addRun('a', 500 + hour / 24);
  await addRun('a', 901, { completeness: 'complete', kind: 'recheck' });
  await addRun('a', 895, { completeness: 'not proven', warnings: ['a large tie group'] });
  // The newest of its kind, though old.
  kept.push(await addRun('a', 600, { kind: 'recheck' }));
  kept.push(await addRun('a', 398), await addRun('a', 0));
  const other = await addRun('b', 900);

  expect(await prune('a')).toBe(26);
  expect(await runsOf('a')).toEqual(kept);
  expect(await runsOf('b')).toEqual([other]);
  const [sums] = await bench.query(
    `select sum(removed_runs)::int as runs, sum(requests)::int as requests, sum(retries)::int as retries, sum(rows_read)::int as rows,
       count(*) filter (where removed_runs > 0)::int >= 3 as has_days,
       bool_and(removed_runs = 0 or (first_started_at at time zone 'UTC')::date = day) as is_dated
     from audit.run_days where organization = 'a'`,
  );
  expect(sums).toEqual({ runs: 26, requests: 52, retries: 26, rows: 260, has_days: true, is_dated: true });
  expect(await prune('a')).toBe(0);
  expect(
    await readUnfinishedBackfill(
      bench.pool,
      { organization: 'a', log: 'classic' },
      { from: undefined, to: undefined },
    ),
  ).toBeUndefined();
});

test('the newest success is kept, however old', async () => {
  await addRun('old', 800);
  const newest = await addRun('old', 700);
  const failed = await addRun('old', 1, { outcome: 'failed' });
  await prune('old');
  expect(await runsOf('old')).toEqual([newest, failed]);
});

test('a shorter history than 30 days removes nothing younger', async () => {
  const kept = [await addRun('short', 29), await addRun('short', 0)];
  await addRun('short', 33);
  expect(await prune('short', 0)).toBe(1);
  expect(await runsOf('short')).toEqual(kept);
});

test('the next call continues where the last one stopped, and a run of two workers at once removes each run once', async () => {
  for (let day = 402; day < 1_200; day += 7) await addRun('many', day);
  await addRun('many', 0);
  const removed = await Promise.all([prune('many'), prune('many'), prune('many')]);
  while ((await prune('many')) > 0);
  const [{ runs }] = (await bench.query(
    `select sum(removed_runs)::int as runs from audit.run_days where organization = 'many'`,
  )) as [{ runs: number }];
  expect([runs, (await runsOf('many')).length]).toEqual([114, 1]);
  expect(removed.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(114);
});

test('every run that another table names is kept', async () => {
  const columns = (await bench.query(
    `select c.oid::regclass::text as table, attname as column from pg_attribute a join pg_class c on c.oid = attrelid
     where relnamespace = 'audit'::regnamespace and relkind in ('r', 'p') and not relispartition and attname ~ 'run_id$'
       and c.oid <> 'audit.runs'::regclass order by 1, 2`,
  )) as { table: string; column: string }[];
  // A run that stored an event has rows_inserted and a ledger entry: searching all events would take too long.
  const searched = columns.filter(({ table }) => table !== 'audit.events');
  expect(searched.length).toBeGreaterThan(7);
  const named: { place: string; id: string }[] = [];
  for (const { table, column } of searched) {
    const id = await addRun('named', 600);
    await insertReference(table, column, id);
    named.push({ place: `${table}.${column}`, id });
  }
  const quiet = await addRun('named', 600);
  await addRun('named', 0);
  await prune('named');
  const left = await runsOf('named');
  expect(named.filter(({ id }) => !left.includes(id))).toEqual([]);
  expect(left).not.toContain(quiet);
});

/** Inserts a row that has nothing but what the table demands, in a table without its checks. */
async function insertReference(table: string, column: string, runId: string): Promise<void> {
  await bench.query(`do $$ declare name text; begin
    for name in select conname from pg_constraint where conrelid = '${table}'::regclass and contype in ('c', 'p') loop
      execute format('alter table ${table} drop constraint %I cascade', name);
    end loop; end $$`);
  const required = (await bench.query(
    `select attname as name, atttypid::regtype::text as type from pg_attribute
     where attrelid = $1::regclass and attnum > 0 and not attisdropped and attnotnull and attname <> all ($2)
       and not atthasdef and attidentity = '' and attgenerated = ''`,
    [table, [column, 'organization', 'log']],
  )) as { name: string; type: string }[];
  const values = required.map(({ type }) => VALUES[type] ?? `''::${type}`);
  await bench.query(
    `insert into ${table} (organization, log, ${[column, ...required.map(({ name }) => name)].join(', ')})
     values ('named', 'classic', ${[runId, ...values].join(', ')})`,
  );
}

const VALUES: Record<string, string> = {
  bigint: '1',
  integer: '1',
  smallint: '1',
  boolean: 'true',
  uuid: 'gen_random_uuid()',
  jsonb: `'{}'`,
  // Reads the clock: any value of the type.
  date: 'current_date',
  'timestamp with time zone': 'now()',
};
