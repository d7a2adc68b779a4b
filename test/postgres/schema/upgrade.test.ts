/** A database from before the ledger, migrated. The test recomputes the digests as the column comments define them. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { readUnfinishedBackfill } from '../../../src/postgres/read/unfinished-backfill.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { applyMigrations } from '../../support/migrations.ts';
import { expectCounted } from '../../support/roll-ups.ts';
import { expectSame } from '../../support/truth.ts';

const MANY = 20_500;
const GAPS = 'select * from audit.gaps order by organization, from_ticks';

let database: TestDatabase;
let pool: Pool;
let gapsBefore: Record<string, unknown>[];

beforeAll(async () => {
  database = await createTestDatabase();
  pool = createPool(database.url, () => {});
  await applyMigrations(database.url, 2);
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(OLD_ROWS);
  await client.end();
  gapsBefore = (await pool.query(GAPS)).rows;
  expect(await migrate(pool)).toEqual([
    '0003_ledger_and_coverage',
    '0004_roles',
    '0005_quiet_runs',
    '0006_daily_activity',
    '0007_bi',
    '0008_lease',
    '0009_logs',
    '0010_resume',
    '0011_comments',
    '0012_completeness',
    '0013_ledger_format_2',
    '0014_verifications',
    '0015_superseded',
    '0016_run_history',
    '0017_constant_costs',
    '0018_partitions',
  ]);
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

/** Minutes since 2026-01-01, as ticks. */
const ticks = (minutes: number) => BigInt(Date.UTC(2026, 0, 1, 0, minutes)) * 10_000n;

/**
 * Events happen at a minute of 2026, and the watermark stands at the newest of them, unless said otherwise. The texts
 * hold what JSON escapes.
 */
const OLD_ROWS = `
  create function pg_temp.at(minutes numeric) returns timestamptz language sql as
    $$ select timestamptz '2026-01-01 00:00Z' + minutes * interval '1 minute' $$;
  create function pg_temp.ticks(minutes numeric) returns bigint language sql as
    $$ select (extract(epoch from pg_temp.at(minutes)) * 10000000)::bigint $$;
  create function pg_temp.event(organization text, minutes numeric, i int) returns void language sql as $$
    insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, category, user_name,
      email, message, extra, raw, ordinal, first_seen_at, run_id)
    values (organization, pg_temp.at(minutes), md5(organization || i)::uuid, pg_temp.ticks(minutes) + i % 10,
      minutes || ' as sent', 'User', case i % 3 when 0 then null when 1 then '' else E'An"a \\\\ \\t\\u0001\\u007f\\u2028 Ägir 😀' end,
      'mail' || i, E'line\\nline ' || i, case i % 2 when 0 then jsonb_build_object('b', i, 'a', '"') end,
      case i % 5 when 0 then '{"raw": "\\u0000"}' end, 0, pg_temp.at(minutes + 1), 7)
  $$;
  create function pg_temp.watermark(organization text, minutes numeric, i int, read_at numeric) returns void language sql as $$
    insert into audit.watermarks (organization, created_on_ticks, created_on, created_on_raw, read_at)
    values (organization, pg_temp.ticks(minutes) + i % 10, pg_temp.at(minutes), 'as sent', pg_temp.at(read_at))
  $$;
  create function pg_temp.gap(organization text, from_minutes numeric, to_minutes numeric, run_id bigint) returns void language sql as $$
    insert into audit.gaps values (organization, pg_temp.ticks(from_minutes), pg_temp.ticks(to_minutes),
      pg_temp.at(from_minutes), pg_temp.at(to_minutes), pg_temp.at(to_minutes + 1), run_id)
  $$;

  -- Seven to a minute, so that ties lie across the pieces in which they become entries.
  select count(pg_temp.event('m"any', i / 7, i)) from generate_series(0, ${MANY - 1}) i;
  select pg_temp.watermark('m"any', ${Math.floor((MANY - 1) / 7)}, 9, 100000);

  -- The run of its first gap began at minute 40; that of the second one is not known any more.
  insert into audit.runs (run_id, organization, kind, started_at, outcome) overriding system value
    values (1001, 'gaps', 'run', pg_temp.at(0), 'succeeded'), (1002, 'gaps', 'run', pg_temp.at(40), 'succeeded');
  select pg_temp.event('gaps', minutes, minutes) from unnest(array[0, 10, 40, 50, 90]) minutes;
  select pg_temp.gap('gaps', 10, 40, 1002), pg_temp.gap('gaps', 50, 90, 1003);
  -- The newest event is the first one after the gap.
  select pg_temp.watermark('gaps', 90, 0, 95);

  select pg_temp.event('one', 5, 9), pg_temp.watermark('one', 5, 9, 60);
  select pg_temp.event('future', 1, 0), pg_temp.event('future', 5000, 1), pg_temp.watermark('future', 5000, 1, 30);
  insert into audit.watermarks (organization) values ('empty');
  update audit.watermarks set next_skip = 41 where organization = 'one';
  insert into audit.runs (run_id, organization, kind, started_at, frontier_ticks, next_skip) overriding system value
    values (1004, 'paused', 'backfill', pg_temp.at(0), pg_temp.ticks(3), 9007199254740991);
  -- Rows that were copied from another database.
  select pg_temp.event('orphan', 1, 0);
`;

interface Entry {
  organization: string;
  batch: string;
  run_id: string | null;
  committed: string;
  from: string;
  to: string;
  rows_inserted: number;
  rows_changed: number;
  inserted: Buffer;
  previous_digest: Buffer | null;
  digest: Buffer;
}

async function readLedger(organization: string): Promise<Entry[]> {
  const utc = (column: string) => `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  const { rows } = await pool.query<Entry>(
    `select *, ${utc('committed_at')} as committed, ${utc('from_at')} as "from", ${utc('to_at')} as "to"
     from audit.ledger where organization = $1 order by batch`,
    [organization],
  );
  return rows;
}

const int = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest();

/** The 32 bytes of every row of a batch, in some order. */
async function leavesOf(organization: string, batch: string): Promise<string[]> {
  const { rows } = await pool.query<Record<string, string | null>>(
    `select event_id, created_on_raw, user_name, email, message, extra::text, raw
     from audit.events where organization = $1 and batch = $2`,
    [organization, batch],
  );
  return rows.map((row) => {
    const { event_id: id, created_on_raw: raw, user_name: user, email, message, extra, raw: text } = row;
    const field = (type: number, value: Buffer | null) => [
      int(type),
      int(value?.length ?? -1),
      value ?? Buffer.of(),
    ];
    const texts = [raw, user, email, message, extra, text].map((value) =>
      value === null ? null : Buffer.from(value!),
    );
    const uuid = field(2950, Buffer.from(id!.replaceAll('-', ''), 'hex'));
    const content = Buffer.concat([int(7), ...uuid, ...texts.flatMap((value) => field(25, value))]);
    return id!.replaceAll('-', '') + sha256(content).toString('hex').slice(0, 32);
  });
}

test.each(['m"any', 'gaps', 'one', 'future', 'orphan'])(
  'the events of %s are the first entries of its ledger',
  async (organization) => {
    const entries = await readLedger(organization);
    let previous: Buffer | null = null;
    for (const [i, entry] of entries.entries()) {
      const leaves = entry.inserted.toString('hex').match(/.{64}/g)!;
      const facts = { batch: entry.batch, run: entry.run_id, changed: entry.rows_changed };
      expect(facts).toEqual({ batch: String(i + 1), run: null, changed: 0 });
      expect(leaves).toHaveLength(entry.rows_inserted);
      expectSame(leaves, await leavesOf(organization, entry.batch));
      const canonical = JSON.stringify([
        organization,
        entry.batch,
        null,
        entry.committed,
        entry.from,
        entry.to,
        sha256(entry.inserted).toString('hex'),
        sha256('').toString('hex'),
        previous === null ? null : previous.toString('hex'),
      ]);
      expect(entry.previous_digest).toEqual(previous);
      expect(entry.digest.toString('hex')).toBe(sha256(canonical).toString('hex'));
      previous = entry.digest;
    }
    const { rows } = await pool.query('select count(*)::int as n from audit.events where organization = $1', [
      organization,
    ]);
    expect(entries.reduce((sum, entry) => sum + entry.rows_inserted, 0)).toBe(rows[0].n);
    expect(entries.length).toBe(organization === 'm"any' ? 3 : 1);
  },
);

test('the gaps are the same spans as before', async () => {
  const columns = 'organization, from_ticks, to_ticks, from_at, to_at, noticed_at, run_id';
  const { rows } = await pool.query(GAPS.replace('*', columns));
  expect(rows).toHaveLength(2);
  expect(rows).toEqual(gapsBefore);
});

test('what lies between them is covered: from the oldest event to just behind the newest, or when it was read', async () => {
  const { rows } = await pool.query<Record<string, string>>(
    `select organization, from_ticks, to_ticks, from_at, to_at, begun_at, proven_at from audit.coverage
     order by organization, from_ticks`,
  );
  const at = (value: bigint) => new Date(Number(value / 10_000n));
  const range = (organization: string, from: bigint, to: bigint, begun: number) => ({
    organization,
    from_ticks: from.toString(),
    to_ticks: to.toString(),
    from_at: at(from),
    to_at: at(to),
    begun_at: at(ticks(begun)),
    // No count has proven it.
    proven_at: null,
  });
  // No part of a range is said to have been read later than it was for the first time.
  expect(rows).toEqual([
    range('future', ticks(1), ticks(30), 2),
    range('gaps', ticks(0), ticks(10), 1),
    range('gaps', ticks(40), ticks(50), 41),
    range('gaps', ticks(90), ticks(90) + 1n, 91),
    range('m"any', ticks(0), ticks(Math.floor((MANY - 1) / 7)) + 10n, 1),
    range('one', ticks(5) + 9n, ticks(5) + 10n, 6),
  ]);
  const { rows: exact } = await pool.query(
    `select to_char(to_at at time zone 'UTC', 'US') as microseconds from audit.coverage where organization = 'one'`,
  );
  expect(exact).toEqual([{ microseconds: '000001' }]);
});

test('an offset is where the source continues, and none where no event was committed', async () => {
  const { rows } = await pool.query(
    'select organization, resume from audit.watermarks order by organization',
  );
  expect(Object.fromEntries(rows.map(({ organization, resume }) => [organization, resume]))).toEqual({
    ...{ empty: null, future: { skip: 0 }, gaps: { skip: 0 }, 'm"any': { skip: 0 } },
    one: { skip: 41 },
  });
  const { rows: runs } = await pool.query(
    'select run_id, resume from audit.runs where run_id >= 1001 order by run_id',
  );
  expect(runs).toEqual([
    { run_id: '1001', resume: null },
    { run_id: '1002', resume: null },
    { run_id: '1004', resume: { skip: 9007199254740991 } },
  ]);
  expect(
    await readUnfinishedBackfill(
      pool,
      { organization: 'paused', log: 'classic' },
      { from: undefined, to: undefined },
    ),
  ).toMatchObject({
    kind: 'restart',
    runId: '1004',
    because: expect.stringContaining('more than a day ago'),
  });
});

test('a worker of the previous version that still runs stores nothing, and loses nothing', async () => {
  const before = await pool.query('select * from audit.watermarks');
  // As 0.1.0 began its runs, and moved its watermark.
  for (const statement of [
    `select created_on_ticks, read_at, next_skip from audit.watermarks where organization = 'one'`,
    `update audit.watermarks set created_on_ticks = 9, next_skip = 7::bigint where organization = 'one'`,
    `update audit.runs set pages = 1, next_skip = coalesce(7, next_skip) where run_id = 1004`,
  ]) {
    await expect(pool.query(statement)).rejects.toThrow(/^column "next_skip" .*does not exist/);
  }
  expect((await pool.query('select * from audit.watermarks')).rows).toEqual(before.rows);
});

test('the events are counted in the roll-ups', async () => {
  await expectCounted({ query: async (text) => (await pool.query(text)).rows });
  const { rows } = await pool.query('select sum(events)::int as events from audit.daily_totals');
  expect(rows[0].events).toBeGreaterThan(MANY);
});

test('the next run continues the chain', async () => {
  const session = await openSession(pool, { organization: 'gaps', log: 'classic', kind: 'run' });
  await session.commit(batchOf([eventAt('2026-01-01T02:00:00.0000000Z')]));
  await session.release();
  const [first, second] = await readLedger('gaps');
  expect(second).toMatchObject({ batch: '2', run_id: session.runId, rows_inserted: 1 });
  expect(second!.previous_digest).toEqual(first!.digest);
  const [leaf] = await leavesOf('gaps', '2');
  // Format 2 lists the id and the hash of the record.
  expect(second!.inserted).toHaveLength(48);
  expect(second!.inserted.toString('hex').slice(0, 32)).toBe(leaf!.slice(0, 32));
});
