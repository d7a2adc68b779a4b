/** The roll-ups equal the aggregate over `audit.events` after any change of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AuditEvent } from '../../../src/core/event.ts';
import { openSession } from '../../../src/postgres/write/store.ts';
import { batchOf, eventAt } from '../../support/batch.ts';
import { type Bench, createBench } from '../../support/bench.ts';
import { expectCounted } from '../../support/roll-ups.ts';

const RUNS = Number(process.env.PROPERTY_RUNS ?? 60);
const ORGANIZATIONS = ['acme', 'other'];

let bench: Bench;

beforeAll(async () => {
  bench = await createBench();
});
afterAll(() => bench.close());
beforeEach(() => forget());

async function forget(): Promise<void> {
  await bench.query('truncate audit.events, audit.ledger, audit.ledger_changes');
}

// Few of each, so that they meet; among them those that an index or PostgreSQL's text cannot hold.
const day = fc.constantFrom('2026-03-01', '2026-03-02', '2026-03-29', '1969-12-31', '0001-01-01');
const time = fc.constantFrom(
  '00:00:00',
  '00:59:59.9999999',
  '12:30:00.0000019',
  '23:00:00',
  '23:59:59.9999999',
);
const name = fc.constantFrom(null, '', 'Ana', 'Ana\0', 'Ana\uFFFD', '(,"Ana")', 'x'.repeat(10_000));
const word = fc.constantFrom(null, '', 'User', 'Login');
const event = fc
  .record({ day, time, userName: name, category: word, action: word, source: word, message: name })
  .map(({ day, time, ...fields }) => {
    const isExact = !Object.values(fields).some((text) => text?.includes('\0'));
    return eventAt(`${day}T${time}Z`, { ...fields, raw: isExact ? null : JSON.stringify(fields) });
  });
const organization = fc.constantFrom(...ORGANIZATIONS);
const log = fc.constantFrom('classic', 'tenant:A');
/** Selects the stored events to change, of any organization. */
const share = fc.constantFrom(
  'event_id < $1',
  'event_id >= $1',
  'created_on >= $2',
  'user_name is null',
  'true',
);
const EDITS = [
  `user_name = 'Bea'`,
  'user_name = null',
  `category = coalesce(category, '') || '!'`,
  `created_on = created_on + interval '25 hours'`,
  `created_on = created_on + interval '1 microsecond'`,
  `organization = 'third', batch = 1`,
  `log = 'tenant:A'`,
  `log = 'classic'`,
  `message = 'edited'`,
  'superseded_by = event_id',
  'superseded_by = null',
];

type Step =
  | { does: 'commit' | 'restore'; organization: string; log: string; events: AuditEvent[] }
  | { does: 'read again'; organization: string; log: string; events: AuditEvent[]; userName: string | null }
  | { does: 'edit'; edit: string; share: string; isKept: boolean }
  | { does: 'delete'; share: string; isKept: boolean }
  | { does: 'truncate' };

const events = fc.array(event, { minLength: 1, maxLength: 12 });
const isKept = fc.boolean();
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 50, arbitrary: fc.record({ does: fc.constant('commit' as const), organization, log, events }) },
  { weight: 10, arbitrary: fc.record({ does: fc.constant('restore' as const), organization, log, events }) },
  {
    weight: 30,
    arbitrary: fc.record({
      does: fc.constant('read again' as const),
      organization,
      log,
      events,
      userName: name,
    }),
  },
  {
    weight: 30,
    arbitrary: fc.record({
      does: fc.constant('edit' as const),
      edit: fc.constantFrom(...EDITS),
      share,
      isKept,
    }),
  },
  { weight: 20, arbitrary: fc.record({ does: fc.constant('delete' as const), share, isKept }) },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('truncate' as const) }) },
);

/** What was committed before comes again in a later batch, with another name. */
async function play(given: Step, known: Map<string, AuditEvent[]>): Promise<void> {
  if (given.does === 'truncate') return forget();
  if (given.does === 'edit')
    return change(`update audit.events set ${given.edit} where ${given.share}`, given.isKept);
  if (given.does === 'delete') return change(`delete from audit.events where ${given.share}`, given.isKept);
  const { organization, log } = given;
  const before = known.get(`${organization} ${log}`) ?? [];
  const again =
    given.does === 'read again'
      ? before.map((old) => (old.raw === null ? { ...old, userName: storable(given.userName) } : old))
      : [];
  const committed = [...given.events, ...again].sort((a, b) =>
    a.createdOnTicks < b.createdOnTicks ? -1 : 1,
  );
  known.set(`${organization} ${log}`, committed);
  const session = await openSession(bench.pool, { organization, log, kind: 'run' });
  try {
    const batch = batchOf(committed);
    if (given.does === 'restore') await session.restore(batch);
    else await session.commit(batch);
  } catch (error) {
    // The key of audit.events has no log yet: an event of another log, or moved there by hand, is not stored twice.
    if (!/of another log/.test((error as Error).message)) throw error;
  } finally {
    await session.release();
  }
}

function storable(text: string | null): string | null {
  return text?.replaceAll('\0', '') ?? null;
}

async function change(sql: string, isKept: boolean): Promise<void> {
  const filled = sql.replace('$1', `'80000000-0000-0000-0000-000000000000'`).replace('$2', `'2026-03-02'`);
  const client = await bench.sql.connect();
  try {
    await client.query('begin');
    // A key that is taken fails the statement, and with it all that it did.
    const isDone = await client.query(filled).then(
      () => true,
      () => false,
    );
    await client.query(isDone && isKept ? 'commit' : 'rollback');
  } finally {
    client.release();
  }
}

test('after any history of commits, re-reads, repairs, late rows, edits, deletions and rollbacks', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
      await forget();
      const known = new Map<string, AuditEvent[]>();
      for (const each of steps) {
        await play(each, known);
        await expectCounted(bench);
      }
    }),
    { numRuns: RUNS },
  );
}, 600_000);

test('when a person deletes a whole day by hand while the worker adds to it', async () => {
  const commit = async (...seconds: string[]) => {
    const session = await openSession(bench.pool, { organization: 'acme', log: 'classic', kind: 'run' });
    const given = seconds.map((second) => eventAt(`2026-03-01T10:00:${second}Z`));
    await session.commit(batchOf(given)).finally(() => session.release());
  };
  const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  await commit('01', '02', '03');
  const administrator = await bench.sql.connect();
  try {
    await administrator.query('begin');
    await administrator.query('delete from audit.events');
    const committing = commit('04', '05');
    while ((await bench.query(waiting)).length === 0) await sleep(5);
    await administrator.query('commit');
    await committing;
  } finally {
    administrator.release();
  }
  await expectCounted(bench);
  expect(await bench.query('select events, days_active from audit.all_user_totals')).toEqual([
    { events: '2', days_active: 1 },
  ]);
});

test('behind the horizon up to which users are counted, and before it', async () => {
  const dayOf = (number: number) => new Date(Date.UTC(2026, 0, 1 + number)).toISOString().slice(0, 10);
  const on = (number: number, userName = `User ${number % 3}`) =>
    eventAt(`${dayOf(number)}T10:00:00Z`, { userName });
  const commit = async (events: AuditEvent[]) => {
    const session = await openSession(bench.pool, { organization: 'acme', log: 'classic', kind: 'run' });
    await session.commit(batchOf(events)).finally(() => session.release());
    await expectCounted(bench);
  };
  const horizon = async () => (await bench.query('select day::text from audit.user_horizon'))[0]?.day;
  const days = Array.from({ length: 120 }, (_, number) => on(number));
  await commit(days.slice(0, 20));
  expect(await horizon()).toBe(dayOf(0));
  const first = await horizon();
  await commit(days.slice(20, 50));
  expect(await horizon()).not.toBe(first);
  await commit(days.slice(50));
  const late = (number: number) => ({ ...on(number, 'Late'), action: 'Late' });
  await commit([late(3), late(4), late(110)]);
  // Another name for what lies on both sides of it.
  await commit([on(5, 'Renamed'), on(115, 'Renamed')]);
  // Another form of what lies on both sides of it.
  await commit([6, 7, 112].map((number) => ({ ...on(number), auditLogDetails: '{ }' })));
  expect(await bench.query('select count(*) from audit.events where superseded_by is not null')).toEqual([
    { count: '3' },
  ]);
  for (const change of [
    `update audit.events set superseded_by = null where created_on < '2026-03-01'`,
    `update audit.events set user_name = 'Bea' where created_on < '2026-01-09' or created_on > '2026-04-25'`,
    `delete from audit.events where user_name = 'Late'`,
    `update audit.events set created_on = created_on - interval '100 days' where user_name = 'User 1'`,
    `delete from audit.events where created_on < '2026-02-01'`,
  ]) {
    await bench.query(change);
    await expectCounted(bench);
  }
});

/** How many rows of a table a statement reads, with its triggers. */
async function rowsReadBy(sql: string, table = 'audit.daily_activity'): Promise<number> {
  const client = await bench.sql.connect();
  // What the session read in the last second may still be in it.
  const rowsRead = async () => {
    const { rows } = await client.query<{ read: string }>(
      `select seq_tup_read + idx_tup_fetch as read from pg_stat_xact_user_tables
       where relid = $1::regclass`,
      [table],
    );
    return Number(rows[0]?.read ?? 0);
  };
  try {
    await client.query('begin');
    // The statement itself is to find its rows by key.
    await client.query('set local enable_seqscan = off');
    const before = await rowsRead();
    await client.query(sql);
    const read = (await rowsRead()) - before;
    await client.query('commit');
    return read;
  } finally {
    client.release();
  }
}

/** Rows of `organization` as `numbers` says, 100 a day. */
const fill = (organization: string, numbers: string) =>
  `insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, category, action, source,
     user_name, ordinal, run_id, batch)
   select '${organization}', timestamptz '2026-01-01T10:00Z' + n / 100 * interval '1 day', gen_random_uuid(), n, '', 'User', 'Login',
     'Cis', 'User ' || n % 100, 0, 1, 1
   from ${numbers} n`;

test('for late rows, reading only their own days', async () => {
  await bench.query(fill('acme', 'generate_series(0, 9999)'));
  await bench.query('analyze audit.daily_activity');
  expect(await rowsReadBy(fill('acme', 'generate_series(500, 501)'))).toBeLessThan(500);
  await bench.query(`delete from audit.events where user_name = 'User 7' and created_on < '2026-01-04'`);
  await bench.query(fill('acme', 'unnest(array[107, 107, 207, 407])'));
  await expectCounted(bench);
});

/** Rows of 100 days: changes of some days, of old ones or new ones. */
const CHANGES = [
  [
    `update audit.events set user_name = 'Bea' where organization = 'acme' and created_on = '2026-01-07T10:00Z' and user_name = 'User 7'`,
    1,
  ],
  [
    `update audit.events set user_name = 'User 8' where organization = 'acme' and created_on >= '2026-04-09T10:00Z' and user_name = 'User 7'`,
    2,
  ],
  [
    `update audit.events set user_name = md5(user_name) where organization = 'acme' and created_on < '2026-01-03T10:00Z'`,
    2,
  ],
  [
    `update audit.events set category = 'Group' where organization = 'acme' and created_on = '2026-01-01T10:00Z'`,
    1,
  ],
  [
    `delete from audit.events where organization = 'acme' and created_on = '2026-01-01T10:00Z' and user_name = 'User 7'`,
    1,
  ],
  [
    `delete from audit.events where organization = 'acme' and created_on between '2026-02-01' and '2026-02-03'`,
    2,
  ],
  [
    `update audit.events set superseded_by = event_id where organization = 'acme' and created_on = '2026-03-07T10:00Z' and user_name = 'User 9'`,
    1,
  ],
] as const;

test.each(['before any row was stored', 'as the tables are'])(
  'for changed and deleted rows, reading only their own days, with plans made %s',
  async (when) => {
    const isEmpty = when === 'before any row was stored';
    // The pool gives the same session again, with its plans.
    if (isEmpty)
      for (const [sql] of CHANGES) {
        await bench.query(fill('acme', 'generate_series(0, 1)'));
        await bench.query(sql);
        await forget();
      }
    await bench.query(fill('acme', 'generate_series(0, 9999)'));
    if (!isEmpty) await bench.query('analyze');
    for (const [sql, days] of CHANGES) {
      const events = await rowsReadBy(sql, 'audit.events');
      expect([sql, events, events <= days * 400]).toEqual([sql, events, true]);
      await expectCounted(bench);
    }
    await forget();
    await bench.query(fill('acme', 'generate_series(0, 9999)'));
    for (const [sql, days] of CHANGES) {
      const rows = await rowsReadBy(sql);
      expect([sql, rows, rows <= days * 2000]).toEqual([sql, rows, true]);
    }
  },
);

test('after any changes of days on both sides of the horizon', async () => {
  const user = fc.constantFrom(...[1, 7, 50].map((number) => `User ${number}`), 'Late', 'New');
  const on = fc.integer({ min: 0, max: 99 }).map((day) => {
    const at = new Date(Date.UTC(2026, 0, 1 + day, 10)).toISOString();
    return [at, new Date(Date.parse(at) + 5 * 86_400_000).toISOString()] as const;
  });
  const edit = fc.oneof(
    fc
      .tuple(on, user, user)
      .map(
        ([[from, to], before, after]) =>
          `update audit.events set user_name = '${after}' where created_on between '${from}' and '${to}' and user_name = '${before}'`,
      ),
    fc
      .tuple(on, user)
      .map(
        ([[from, to], name]) =>
          `delete from audit.events where created_on between '${from}' and '${to}' and user_name = '${name}'`,
      ),
    on.map(([from, to]) => `delete from audit.events where created_on between '${from}' and '${to}'`),
    fc
      .tuple(on, fc.constantFrom('null', 'event_id'))
      .map(
        ([[from], by]) =>
          `update audit.events set superseded_by = ${by} where created_on = '${from}' and user_name in ('User 1', 'User 7', 'New')`,
      ),
    fc
      .tuple(on, fc.constantFrom('1 microsecond', '3 hours', '-40 days', '40 days'))
      .map(
        ([[from, to], by]) =>
          `update audit.events set created_on = created_on + interval '${by}' where created_on between '${from}' and '${to}' and user_name = 'User 7'`,
      ),
    fc.integer({ min: 0, max: 9999 }).map((number) => fill('acme', `unnest(array[${number}, ${number}])`)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 8 }), async (edits) => {
      await forget();
      await bench.query(`${fill('acme', 'generate_series(0, 9999)')} where n % 100 in (1, 7, 50)`);
      for (const sql of edits) {
        await bench.query(sql);
        await expectCounted(bench);
      }
    }),
    { numRuns: Math.ceil(RUNS / 6) },
  );
}, 600_000);

test('for superseded rows, reading only their own days', async () => {
  await bench.query(fill('acme', 'generate_series(0, 9999)'));
  await bench.query(fill('acme', 'generate_series(500, 501)'));
  await bench.query('analyze audit.daily_activity');
  const older = `select min(event_id::text)::uuid from audit.events where created_on_ticks in (500, 501) group by created_on_ticks`;
  expect(
    await rowsReadBy(`update audit.events set superseded_by = event_id where event_id in (${older})`),
  ).toBeLessThan(500);
  await expectCounted(bench);
});

test('changes succeed also where rows of the roll-ups were deleted by hand', async () => {
  await bench.query(fill('acme', 'generate_series(0, 9999)'));
  for (const table of ['user_actions', 'user_totals', 'daily_activity', 'daily_totals', 'time_totals']) {
    await bench.query(`delete from audit.${table}`);
    await bench.query(`update audit.events set user_name = 'Bea' where created_on = '2026-01-05T10:00Z'`);
    await bench.query(
      `delete from audit.events where created_on = '2026-01-06T10:00Z' and user_name < 'User 5'`,
    );
  }
});

test('for clients with another encoding', async () => {
  const session = await openSession(bench.pool, { organization: 'acme', log: 'classic', kind: 'run' });
  const given = ['01', '02'].map((second) => eventAt(`2026-03-01T10:00:${second}Z`, { userName: 'José' }));
  await session.commit(batchOf(given)).finally(() => session.release());
  const client = await bench.sql.connect();
  try {
    await client.query(`set client_encoding to 'LATIN1'`);
    await client.query(`delete from audit.events where created_on = '2026-03-01T10:00:01Z'`);
  } finally {
    client.release(true);
  }
  await expectCounted(bench);
});
