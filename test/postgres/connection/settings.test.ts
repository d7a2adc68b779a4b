/** Settings of the role, the database or the connection do not change what the program reads, stores or prints. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import { readActivity } from '../../../src/postgres/read/activity.ts';
import { readStatus } from '../../../src/postgres/read/status.ts';
import { runExport } from '../../../src/runs/export.ts';
import { verifyLedgers } from '../../../src/runs/verify-ledger.ts';
import { verifyAgainstSource } from '../../../src/runs/verify-source.ts';
import { type Bench, createApp, createBench } from '../../support/bench.ts';
import { withParameter } from '../../support/database.ts';
import {
  asOptions,
  CATEGORIES,
  createEvilSchema,
  createPlainPool,
  LEFT_OUT,
  ODD_SETTINGS,
  oddCombination,
} from '../../support/odd-settings.ts';
import { expectCounted } from '../../support/roll-ups.ts';

const EVENTS = 40;

/** Values that a setting could change on their way into or out of the table. The last two rows are not events. */
const ODD_ROWS = [
  { createdOn: '0001-01-01T00:00:00Z', userName: null, email: 'NULL', message: 'null', source: '' },
  { createdOn: '1900-01-01T00:00:00.1234567Z', userName: 'NULL', email: null, message: 'C:\\new\\table' },
  {
    createdOn: '1937-06-30T23:59:59.9999999Z',
    auditLogDetails: '{"path":"\\\\x41","n":1.10}',
    extraField: { a: 1.5 },
  },
  { createdOn: '2025-03-30T02:30:00+02:00', userName: "O'Neil \\'x", message: 'Grüße, Ωμέγα 日本 😀' },
  { createdOn: '2025-10-26T02:30:00Z', message: 'with \0 NUL', userName: '{NULL,"a"}' },
  { createdOn: '03.04.2025 10:00:00' },
  { message: 'no time' },
].map((row) => JSON.stringify(row));

let bench: Bench;
let plain: pg.Pool;

beforeAll(async () => {
  bench = await createBench();
  plain = createPlainPool(bench.database.url);
  await createEvilSchema(plain);
});
afterAll(async () => {
  await plain.end();
  await bench.close();
});

/** All stored data of an organization except its name and the times of storing. */
async function readStored(organization: string): Promise<unknown> {
  const tables = {
    events: `select to_jsonb(e) - '{organization,first_seen_at,updated_at,run_id}'::text[] as row from audit.events e
      where organization = $1 order by created_on_ticks, event_id`,
    // The hashes cover times and runs; verifyLedgers compares them.
    ledger: `select batch, kind, rows_inserted, rows_changed, from_at::text, to_at::text,
        (select array_agg(substring(inserted from i * 48 + 1 for 16) order by 1) from generate_series(0, length(inserted) / 48 - 1) i
         where kind in ('stored', 'changed')) as keys
      from audit.ledger where organization = $1 order by batch`,
    changes: `select row_batch, event_id, batch from audit.ledger_changes where organization = $1 order by 1, 2, 3`,
    rejected: `select content_hash, source_text, source_bytes, reason from audit.rejected_events
      where organization = $1 order by content_hash`,
    watermarks: `select created_on_ticks, created_on_raw, created_on::text, resume, source_total from audit.watermarks
      where organization = $1`,
    // Reads the clock: coverage ends when the end of the list was requested.
    coverage: `select from_ticks, from_at::text, to_at between now() - interval '10 minutes' and now() as is_to_now,
        to_ticks - (extract(epoch from to_at) * 10000000)::bigint between 0 and 9 as is_same
      from audit.coverage where organization = $1 order by 1`,
    activity: `select to_jsonb(a) - 'organization' as row from audit.daily_activity a where organization = $1
      order by day, activity_id`,
    runs: `select kind, outcome, error, warnings, rows_read, rows_inserted, rows_updated, rows_unchanged, rows_rejected, rows_late,
        from_ticks, to_ticks from audit.runs where organization = $1 order by run_id`,
  };
  const stored: Record<string, unknown> = {};
  for (const [name, sql] of Object.entries(tables))
    stored[name] = (await plain.query(sql, [organization])).rows;
  return stored;
}

/** Runs, runs again, reads everything again, verifies both ways and reads the status, over `pool`; returns all results. */
async function exportOver(pool: Pool): Promise<unknown> {
  const scene = await bench.open({
    events: EVENTS,
    rows: ODD_ROWS,
    startAt: new Date('2026-01-31T23:50:00Z'),
  });
  const { organization, simulator } = scene;
  const { app } = createApp(simulator, { url: bench.database.url, pool });
  const everything = { from: undefined, to: undefined, signal: new AbortController().signal };
  try {
    await runExport(app, { kind: 'run', ...everything });
    simulator.insertLate(3);
    simulator.append(5);
    await runExport(app, { kind: 'run', ...everything });
    await runExport(app, { kind: 'backfill', ...everything });
    const source = await verifyAgainstSource(app, {
      ...everything,
      shouldRepair: false,
      onProgress: () => {},
    });
    const ledgers = await verifyLedgers(pool, {
      ...everything,
      of: { organization },
      expected: undefined,
      onRows: () => {},
    });
    const status = (await readStatus(pool, [organization])).organizations[0]!;
    const activity = await readActivity(pool, { organization, log: 'classic' });
    return {
      stored: await readStored(organization),
      // Reads the clock: the last proof is of the run before.
      source: { ...source, report: { ...source.report, provenAt: null } },
      ledger: ledgers.map(({ counts, rows, entries, examples }) => ({ counts, rows, entries, examples })),
      watermark: status.watermark,
      newestEventAt: status.newestEventAt?.toISOString(),
      // Reads the clock: coverage ends when the end of the list was requested.
      coverage: status.coverage.map(({ from, to }) => [
        from.toISOString(),
        // Reads the clock: see above.
        Math.abs(Date.now() - to.getTime()) < 600_000,
      ]),
      runs: status.runs.map(({ counters, from, startedAt, endedAt }) => [
        counters,
        from?.toISOString(),
        // Reads the clock: a run begins now, with any settings.
        Math.abs(Date.now() - startedAt.getTime()) < 600_000,
        endedAt !== null && endedAt >= startedAt,
      ]),
      activity,
    };
  } finally {
    app.source.close();
    await scene.close();
  }
}

const COMBINATIONS = [...Array(Math.max(...Object.values(ODD_SETTINGS).map(({ length }) => length))).keys()];

describe('an export', () => {
  let ordinary: unknown;

  beforeAll(async () => {
    ordinary = await exportOver(bench.pool);
  });

  // Each value of ODD_SETTINGS is in at least one combination.
  test.each(COMBINATIONS)('is the same with combination %i of odd settings', async (number) => {
    const settings = await oddCombination(plain, number);
    const errors: string[] = [];
    const url = withParameter(bench.database.url, 'options', asOptions(settings));
    const pool = createPool(url, (error) => errors.push(error.message));
    try {
      expect(await exportOver(pool)).toEqual(ordinary);
      expect(errors).toEqual([]);
    } finally {
      await pool.end();
    }
  });
});

test('every setting that a user may change is tested with an odd value, or known to need no test', async () => {
  const { rows } = await plain.query<{ name: string }>(
    `select name from pg_settings where context = 'user' and category like any ($1)`,
    [CATEGORIES],
  );
  const unknown = rows.map(({ name }) => name).filter((name) => !(name in ODD_SETTINGS || name in LEFT_OUT));
  expect(unknown).toEqual([]);
});

describe('a person whose own settings are odd', () => {
  test.each(COMBINATIONS)(
    'changes rows by hand, and the roll-ups stay right: combination %i',
    async (number) => {
      const scene = await bench.open({ events: EVENTS, startAt: new Date('2026-01-31T23:50:00Z') });
      await scene.run();
      const settings = (await oddCombination(plain, number)).filter(([name]) => !stopsAPerson(name));
      const hand = new pg.Client({
        connectionString: withParameter(bench.database.url, 'options', asOptions(settings)),
      });
      await hand.connect();
      try {
        const { organization } = scene;
        await hand.query(`
        update audit.events set created_on = created_on - interval '40 minutes' where organization operator(pg_catalog.=) '${organization}'
          and ordinal operator(pg_catalog.=) 0 and user_name is not null`);
        await hand.query(
          `insert into audit.events select (jsonb_populate_record(e, jsonb_build_object('event_id', gen_random_uuid(), 'user_name', 'NULL'))).*
         from audit.events e where organization operator(pg_catalog.=) '${organization}' limit 5`,
        );
        await hand.query(
          `delete from audit.events where ctid operator(pg_catalog.=) any (array(
           select ctid from audit.events where organization operator(pg_catalog.=) '${organization}' limit 7))`,
        );
      } finally {
        await hand.end();
      }
      await expectCounted(bench);
    },
  );

  test.each(COMBINATIONS)('reads the same in the views: combination %i', async (number) => {
    const settings = (await oddCombination(plain, number)).filter(
      ([name]) => !stopsAPerson(name) && name !== 'search_path',
    );
    const reader = new pg.Client({
      connectionString: withParameter(bench.database.url, 'options', asOptions(settings)),
    });
    await reader.connect();
    try {
      expect((await reader.query(READ_VIEWS)).rows).toEqual((await plain.query(READ_VIEWS)).rows);
    } finally {
      await reader.end();
    }
  });
});

/** Closes the person's own connection, or rejects the person's own statements. */
const stopsAPerson = (name: string) => /^(restrict_nonsystem|client_encoding|.*_timeout$)/.test(name);

/** Days, weekdays and hours of the views, in a format that no setting of the reader changes. */
const READ_VIEWS = `
  select 'logins' as view, event_id::text || ' ' || (day - date '2000-01-01') || ' ' || weekday || ' ' || hour as row from bi.logins
  union all select 'events', event_id::text || ' ' || (day - date '2000-01-01') from bi.events
  union all select 'login_hours', (day - date '2000-01-01') || ' ' || weekday || ' ' || hour || ' ' || coalesce(user_name, '-')
    from bi.login_hours
  union all select 'totals_by_day', (day - date '2000-01-01') || ' ' || events from bi.totals_by_day
  union all select 'users', coalesce(user_name, '-') || ' ' || days_active || ' ' || extract(epoch from last_seen_at) from bi.users
  order by 1, 2`;
