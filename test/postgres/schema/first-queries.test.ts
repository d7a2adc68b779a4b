/** What BI tools send first reads by an index or a roll-up, and the lists for filters equal what the events have. */
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { FIRST_QUERIES } from '../../support/first-queries.ts';
import { expectCounted } from '../../support/roll-ups.ts';

const EVENTS = 40_000;

let bench: Bench;

// Four months of logins and changes by 40 users.
beforeAll(async () => {
  bench = await createBench();
  await bench.query(`
    select audit.create_event_months(array(select generate_series(date '2026-01-01', '2026-05-01', '1 month')::date));
    insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
      details, ordinal, run_id, batch, first_seen_at, updated_at)
    select 'acme', at, gen_random_uuid(), n, '', case when is_login then 'User' else 'Group' end, case when is_login then 'Login' else 'Update' end,
      'Cis', 'User ' || n % 40, case when not is_login then jsonb_build_object('name', 'Group ' || n) end, 0, 1, 1, at, at
    from generate_series(0, ${EVENTS - 1}) n, lateral (select timestamptz '2026-01-01Z' + n * interval '5 minutes' as at, n % 5 > 0 as is_login) row`);
  await bench.query('analyze');
});
afterAll(() => bench.close());

const filled = (sql: string) =>
  sql.replaceAll('$DAY', '2026-03-01').replaceAll('$REFRESHED', '2026-05-18 00:00Z');

test.each(FIRST_QUERIES.map(({ title, ...query }) => [title, query] as const))(
  '%s: the plan does not read everything',
  async (_title, { sql, servedBy }) => {
    const rows = await bench.query(`explain (costs off) ${filled(sql)}`);
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
    // Partitions have their number in the name of an index. Those without rows are read whole, and so may be the last one.
    const pattern = servedBy.replace(/^events/, 'events_2026_0[1-5]');
    expect(plan).toMatch(new RegExp(`\\b${pattern}(_pkey)?\\b`));
    if (servedBy !== 'events') expect(plan).not.toMatch(/Seq Scan on events_2026_0[1-4]/);
  },
);

describe('lists for filters', () => {
  test('have the organizations, with numbers and days of their events', async () => {
    expect(await bench.query('select * from bi.organizations')).toEqual(
      await bench.query(
        `select organization, count(*) as events, count(distinct day)::integer as days_active, min(day) as first_day, max(day) as last_day, log
         from bi.events group by organization, log`,
      ),
    );
  });

  test('have the kinds of events, with the area of changes', async () => {
    const counted = `select organization, category, action, source, area, count(*) as events, min(day) as first_day, max(day) as last_day, log`;
    const changes = `${counted} from (
        select *, (changed_at at time zone 'UTC')::date as day from bi.administrative_changes
      ) c group by organization, category, action, source, area, log`;
    const logins = `select organization, category, action, source, null, count(*), min(day), max(day), log from bi.events
      where category = 'User' and action = 'Login' group by organization, category, action, source, log`;
    expect(await bench.query('select * from bi.event_kinds order by category')).toEqual(
      await bench.query(`select * from (${changes} union all ${logins}) kinds order by category`),
    );
  });
});

test.each([
  'Asia/Kathmandu',
  'Australia/Lord_Howe',
  'America/St_Johns',
  'Pacific/Kiritimati',
  'Europe/Bucharest',
])('days of %s are sums of quarters of an hour', async (zone) => {
  expect(
    await bench.query(
      `select (starts_at at time zone $1)::date as day, category, sum(events)::text as events from bi.totals_by_quarter_hour
         where organization = 'acme' group by 1, 2 order by 1, 2`,
      [zone],
    ),
  ).toEqual(
    await bench.query(
      `select (created_on at time zone $1)::date as day, category, count(*)::text as events from bi.events
         where organization = 'acme' group by 1, 2 order by 1, 2`,
      [zone],
    ),
  );
});

test('names that no index could hold are stored whole, and found by what the views show of them', async () => {
  const long = randomBytes(4000).toString('hex');
  const wide = Array.from({ length: 3000 }, (_, i) =>
    String.fromCodePoint(0x1f300 + ((i * 7919) % 700)),
  ).join('');
  const events = [long, wide].map((userName, i) =>
    eventAt(`2026-06-01T10:00:0${i}Z`, {
      ...{ userName, category: 'Group', action: 'Update' },
      auditLogDetails: JSON.stringify({ name: userName }),
    }),
  );
  const session = await openSession(bench.pool, { organization: 'long', log: 'classic', kind: 'run' });
  await session.commit(batchOf(events)).finally(() => session.release());
  expect(
    await bench.query(`select user_name from audit.events where organization = 'long' order by created_on`),
  ).toEqual([{ user_name: long }, { user_name: wide }]);
  for (const name of [long, wide]) {
    const shown = [...name].slice(0, 500).join('');
    expect(
      await bench.query(
        `select e.user_name, c.target_name from bi.events e join bi.administrative_changes c using (organization, event_id)
         where e.organization = 'long' and e.user_name = $1 and c.target_name = $1`,
        [shown],
      ),
    ).toEqual([{ user_name: shown, target_name: shown }]);
  }
  await expectCounted(bench);
});
