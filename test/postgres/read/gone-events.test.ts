/** Gone events as the status and the view bi.gone_events show them. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { readStatus } from '../../../src/postgres/read/status.ts';
import {
  createMigratedDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../../support/database.ts';

const GONE_AT = new Date('2026-03-01T12:00:00Z');
const DAY_MS = 86_400_000;
const after = (days: number) => new Date(GONE_AT.getTime() + days * DAY_MS);

let database: TestDatabase;
let login: TestLogin;
let pool: Pool;
let reader: pg.Pool;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = createPool(database.url, () => {});
  login = await createTestLogin(database, 'audit_reader');
  reader = new pg.Pool({ connectionString: login.url });
});

afterAll(async () => {
  await reader.end();
  await pool.end();
  await login.drop();
  await database.drop();
});

/** Stores `count` events of `organization`, one a minute, and notes them in `state`, each a second later than the one before. */
async function addGone(organization: string, state: string, count: number, log = 'classic'): Promise<void> {
  await pool.query(
    `insert into audit.watermarks (organization, log, completeness) values ($1, $2, 'complete') on conflict do nothing`,
    [organization, log],
  );
  await pool.query(
    `insert into audit.events (organization, log, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
       user_name, message, ordinal, run_id, batch)
     select $1, $2, timestamptz '2026-01-01Z' + n * interval '1 minute', md5($1 || $2 || $3 || n)::uuid, n, '', 'User', repeat('x', 300),
       'Cis', 'Ana', 'said', 0, 1, 1 from generate_series(1, $4) n`,
    [organization, log, state, count],
  );
  await pool.query(
    `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_at, suspected_run_id,
       gone_at, gone_run_id, shown_again_at)
     select $1, $2, timestamptz '2026-01-01Z' + n * interval '1 minute', md5($1 || $2 || $3 || n)::uuid, n, $3,
       $5::timestamptz - interval '5 minutes', 1, case when $3 <> 'suspected' then $5::timestamptz + n * interval '1 second' end, 2,
       case when $3 = 'shown again' then $5::timestamptz + interval '1 day' end
     from generate_series(1, $4) n`,
    [organization, log, state, count, GONE_AT],
  );
}

async function statusOf(organization: string, now?: Date) {
  const { organizations } = await readStatus(pool, [organization], now);
  expect(organizations).toHaveLength(1);
  return organizations[0]!;
}

test('the newest twenty are listed, with names that are cut, and all are counted', async () => {
  await addGone('many', 'gone', 23);
  const { completeness, goneEvents } = await statusOf('many', after(1));
  expect(completeness).toMatchObject({
    ...{ state: 'complete', gone: 23, recentlyGone: 23, suspected: 0 },
    lastGoneAt: new Date(GONE_AT.getTime() + 23_000),
  });
  expect(goneEvents).toHaveLength(20);
  expect(goneEvents.slice(0, 2).map(({ createdOn }) => createdOn)).toEqual([
    new Date('2026-01-01T00:23:00Z'),
    new Date('2026-01-01T00:22:00Z'),
  ]);
  expect(goneEvents[0]).toEqual({
    ...{
      createdOn: new Date('2026-01-01T00:23:00Z'),
      category: 'User',
      action: 'x'.repeat(200),
      userName: 'Ana',
    },
    ...{ noticedAt: new Date('2026-03-01T11:55:00Z'), goneAt: new Date('2026-03-01T12:00:23Z') },
  });
});

test.each([
  [6.99, 1],
  [7.01, 0],
])('after %d days %d of them are recent, and the row stays', async (days, recentlyGone) => {
  await pool.query(`delete from audit.watermarks where organization = 'one'`);
  await pool.query(`delete from audit.gone_events where organization = 'one'`);
  await pool.query(`delete from audit.events where organization = 'one'`);
  await addGone('one', 'gone', 1);
  expect((await statusOf('one', after(days))).completeness).toMatchObject({ gone: 1, recentlyGone });
  const { rows } = await reader.query(`select state from bi.gone_events where organization = 'one'`);
  expect(rows).toEqual([{ state: 'gone' }]);
});

test.each([
  ['suspected', { suspected: 2 }],
  ['former source', {}],
  ['shown again', {}],
])('events that are %s are not gone', async (state, given) => {
  await addGone(`are ${state}`, state, 2);
  const { completeness, goneEvents } = await statusOf(`are ${state}`, after(1));
  expect(completeness).toMatchObject({ gone: 0, recentlyGone: 0, suspected: 0, lastGoneAt: null, ...given });
  expect(goneEvents).toEqual([]);
});

test('those of another log are not counted', async () => {
  await addGone('logs', 'gone', 1);
  await addGone('logs', 'gone', 3, 'tenant:A');
  const { organizations } = await readStatus(pool, ['logs']);
  expect(
    organizations.map(({ log, completeness, goneEvents }) => [log, completeness.gone, goneEvents.length]),
  ).toEqual([
    ['classic', 1, 1],
    ['tenant:A', 3, 3],
  ]);
});

test('a gone event whose row was deleted in the copy is listed without names', async () => {
  await addGone('deleted', 'gone', 1);
  await pool.query(`delete from audit.events where organization = 'deleted'`);
  const { goneEvents } = await statusOf('deleted');
  expect(goneEvents).toMatchObject([
    { category: null, action: null, userName: null, noticedAt: expect.any(Date) },
  ]);
});

test('a reader of the views sees them with their users, but not the table', async () => {
  await addGone('seen', 'gone', 1);
  await addGone('seen', 'suspected', 1);
  await addGone('seen', 'shown again', 1);
  const { rows } = await reader.query(
    `select state, category, user_name, message, noticed_at, shown_again_at from bi.gone_events where organization = 'seen' order by state`,
  );
  const shown = {
    category: 'User',
    user_name: 'Ana',
    message: 'said',
    noticed_at: new Date('2026-03-01T11:55:00Z'),
  };
  expect(rows).toEqual([
    { ...shown, state: 'gone', shown_again_at: null },
    { ...shown, state: 'shown again', shown_again_at: after(1) },
  ]);
  for (const table of ['audit.gone_events', 'audit.completeness', 'audit.rejected_places']) {
    await expect(reader.query(`select * from ${table}`)).rejects.toMatchObject({ code: '42501' });
  }
});

test('a worker with the role audit_writer can read the status', async () => {
  await addGone('worked', 'gone', 1);
  const writer = await createTestLogin(database, 'audit_writer');
  const own = createPool(writer.url, () => {});
  try {
    const { organizations } = await readStatus(own, ['worked']);
    expect(organizations).toMatchObject([{ completeness: { gone: 1 }, goneEvents: [{ userName: 'Ana' }] }]);
  } finally {
    await own.end();
    await writer.drop();
  }
});
