/** Every question of docs/bi.md, asked by a reader of rows that are known, and what the views say of them. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import type { AuditEvent } from '../../src/core/event.ts';
import { newCounters } from '../../src/core/store.ts';
import { openSession } from '../../src/postgres/write/store.ts';
import { batchOf, eventAt, ticksAt } from '../support/batch.ts';
import { type Bench, createBench, type Row } from '../support/bench.ts';
import { createTestLogin, type TestLogin } from '../support/database.ts';
import { readQuestions } from '../support/questions.ts';

const NEWEST = '2026-12-31T22:30:00Z';

let bench: Bench;
let login: TestLogin;
let reader: pg.Client;

const loginOf = (userName: string | null, createdOn: string) =>
  eventAt(createdOn, { userName, email: '', message: `User '${userName}' logged in` });
const changeOf = (
  userName: string | null,
  createdOn: string,
  [category, action, source]: [string, string, string],
  details: unknown,
) =>
  eventAt(createdOn, {
    ...{ userName, category, action, source, email: 'mail@example.com' },
    message: `${category}: ${action}`,
    auditLogDetails: JSON.stringify(details),
  });

/** Ana logs in at eight on 25 days of October, and once at three at night; the rest happens in December, but for Cleo's. */
const EVENTS: AuditEvent[] = [
  loginOf('Cleo', '2026-03-01T09:00:00Z'),
  ...Array.from({ length: 25 }, (_, i) =>
    loginOf('Ana Wagner', `2026-10-${String(i + 1).padStart(2, '0')}T08:10:00Z`),
  ),
  changeOf(null, '2026-11-15T12:00:00Z', ['License Management', 'Renew', 'Licensing'], {
    licenseCode: '1-2',
  }),
  loginOf('Ana Wagner', '2026-12-03T03:00:00Z'),
  loginOf('Bob', '2026-12-05T09:00:00Z'),
  changeOf('Bob', '2026-12-05T09:30:00Z', ['Group', 'Update', 'Cis'], {
    ...{ groupId: 'g1', name: 'Administrators', addedMembers: ['m1'], removedMembers: [] },
  }),
  changeOf('Ana Wagner', '2026-12-10T10:00:00Z', ['Governance', 'Edit Policy', 'Governance'], {
    before: { name: 'Old', priority: 1 },
    after: { name: 'HR policy 1', priority: 2 },
  }),
  loginOf('Bob', NEWEST),
];

beforeAll(async () => {
  bench = await createBench();
  login = await createTestLogin(bench.database, 'audit_reader');
  for (const [organization, events] of [
    ['acme', EVENTS],
    ['other', [...EVENTS.slice(-3), loginOf('Somebody else', NEWEST)]],
  ] as const) {
    const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
    const covered = { from: events[0]!.createdOnTicks, to: ticksAt(NEWEST) + 1n, isFromHead: true };
    await session.commit(batchOf(events, { covered, sourceTotal: events.length }));
    const counters = { ...newCounters(), inserted: events.length, rowsRead: events.length, late: 2 };
    await session.finish({ outcome: 'succeeded', error: null, warnings: [], counters });
    await session.release();
  }
  await bench.query(`
    update audit.watermarks set proven_at = '2026-12-31 23:00Z', completeness = 'complete' where organization = 'acme';
    update audit.watermarks set completeness = 'not proven', completeness_reason = 'the list is moving' where organization = 'other';
    update audit.coverage set proven_at = '2026-12-31 23:00Z' where organization = 'acme'`);
  // Bigints and times as PostgreSQL writes them.
  const types = { getTypeParser: () => (text: string) => text };
  reader = new pg.Client({ connectionString: login.url, types: types as unknown as pg.CustomTypesConfig });
  await reader.connect();
  await reader.query(`set timezone = 'UTC'`);
});
afterAll(async () => {
  await reader.end();
  await login.drop();
  await bench.close();
});

async function ask(sql: string): Promise<(string | null)[][]> {
  return (await reader.query<(string | null)[]>({ text: sql, rowMode: 'array' })).rows;
}

const WEEKDAYS = ['2', '4', '6'];
const ANSWERS: (string | null)[][][] = [
  [
    ['2026-03-01', 'User', '1'],
    ['2026-10-01', 'User', '25'],
    ['2026-11-01', 'License Management', '1'],
    ['2026-12-01', 'Governance', '1'],
    ['2026-12-01', 'Group', '1'],
    ['2026-12-01', 'User', '3'],
  ],
  [
    ['2026-12-03', 'Cis', '1'],
    ['2026-12-05', 'Cis', '2'],
    ['2026-12-10', 'Governance', '1'],
    ['2026-12-31', 'Cis', '1'],
  ],
  [
    ['Ana Wagner', '27', '2026-12-10 10:00:00+00'],
    ['Bob', '3', '2026-12-31 22:30:00+00'],
    [null, '1', '2026-11-15 12:00:00+00'],
  ],
  [['Cleo', '2026-03-01 09:00:00+00', '1', '1']],
  [['Bob', '2026-12-05 09:00:00+00', '2']],
  [
    [WEEKDAYS[1]!, '3', '1'],
    [WEEKDAYS[1]!, '22', '1'],
    [WEEKDAYS[2]!, '9', '1'],
  ],
  [['2026-12-03 03:00:00+00', 'Ana Wagner', '26', '1']],
  [['Bob', '1', '2026-12-05 09:00:00+00']],
  [
    ['2026-12-10 10:00:00+00', 'Ana Wagner', 'Policies', 'Edit Policy', 'HR policy 1', null, '1', '2'],
    ['2026-12-05 09:30:00+00', 'Bob', 'Groups', 'Update', 'Administrators', '["m1"]', null, null],
  ],
  [
    ['2026-11-01', 'License Management', 'Renew', '1'],
    ['2026-12-01', 'Governance', 'Edit Policy', '1'],
    ['2026-12-01', 'Group', 'Update', '1'],
  ],
  [
    ['Bob', 'User', 'Login', '2', '3', '2026-12-31 22:30:00+00'],
    ['Ana Wagner', 'Governance', 'Edit Policy', '1', '1', '2026-12-10 10:00:00+00'],
    ['Bob', 'Group', 'Update', '1', '1', '2026-12-05 09:30:00+00'],
    [null, 'License Management', 'Renew', '1', '1', '2026-11-15 12:00:00+00'],
    ['Cleo', 'User', 'Login', '1', '3', '2026-03-01 09:00:00+00'],
  ],
  [
    ['2026-12-05 09:00:00+00', 'Bob', 'User', 'Login', 'f'],
    ['2026-12-05 09:30:00+00', 'Bob', 'Group', 'Update', 't'],
    ['2026-12-10 10:00:00+00', 'Ana Wagner', 'Governance', 'Edit Policy', 't'],
  ],
  [
    ['2026-12-10 10:00:00+00', 'Governance', 'Edit Policy', 'HR policy 1', 'Governance: Edit Policy'],
    ['2026-12-03 03:00:00+00', 'User', 'Login', null, `User 'Ana Wagner' logged in`],
    ...Array.from({ length: 25 }, (_, i) => [
      `2026-10-${String(25 - i).padStart(2, '0')} 08:10:00+00`,
      ...['User', 'Login', null, `User 'Ana Wagner' logged in`],
    ]),
  ],
  [['2026-12-05 09:30:00+00', 'Bob', 'Group', 'Update', 'Group: Update']],
  [
    ['2026-12-03', '1'],
    ['2026-12-05', '1'],
  ],
  [
    [
      'acme',
      'complete',
      null,
      '2026-12-31 23:00:00+00',
      'succeeded',
      '32',
      '0',
      '0',
      '0',
      '2026-12-31 22:30:00+00',
    ],
    [
      ...['other', 'not proven', 'the list is moving', null, 'succeeded', '4', '0', '0', '0'],
      '2026-12-31 22:30:00+00',
    ],
  ],
  [['2026-03-01 09:00:00+00', '2026-12-31 22:30:00+00', '2026-12-31 23:00:00+00']],
  [['run', '1', '0', '32', '2']],
];

describe('a question of docs/bi.md', () => {
  const questions = readQuestions();

  test('is asked at least twelve times, and each has an answer here', () => {
    expect(questions.length).toBeGreaterThanOrEqual(12);
    expect(questions).toHaveLength(ANSWERS.length);
    expect(questions.map(({ title }) => Number.parseInt(title, 10))).toEqual(ANSWERS.map((_, i) => i + 1));
  });

  test.each(questions.map(({ title, sql }, i) => [title, sql, ANSWERS[i]!] as const))(
    '%s',
    async (_, sql, answer) => {
      expect(await ask(sql)).toEqual(answer);
    },
  );

  test('reads the same, whatever the time zone of the session is', async () => {
    const asked = questions.filter(({ sql }) => !/_at|created_on/.test(sql.split('\nfrom')[0]!));
    expect(asked.length).toBeGreaterThan(4);
    await reader.query(`set timezone = 'Pacific/Kiritimati'`);
    try {
      for (const { title, sql } of asked)
        expect([title, await ask(sql)]).toEqual([
          title,
          ANSWERS[questions.findIndex((q) => q.title === title)],
        ]);
    } finally {
      await reader.query(`set timezone = 'UTC'`);
    }
  });
});

describe('the views of schema bi', () => {
  test('carry a comment each, and so do all their columns, and all tables, columns and functions of audit', async () => {
    const missing: Row[] = await bench.query(
      `select attrelid::regclass::text as relation, attname as part from pg_attribute join pg_class c on c.oid = attrelid
       where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace) and relkind in ('r', 'v') and attnum > 0
         and not attisdropped and col_description(attrelid, attnum) is null
       union all
       select oid::regclass::text, null from pg_class where relnamespace in ('audit'::regnamespace, 'bi'::regnamespace)
         and relkind in ('r', 'v', 'i') and obj_description(oid, 'pg_class') is null
       union all
       select proname, null from pg_proc where pronamespace = 'audit'::regnamespace and obj_description(oid, 'pg_proc') is null`,
    );
    expect(missing).toEqual([]);
  });

  test('find a user without a name, and one with an empty one, apart', async () => {
    const session = await openSession(bench.pool, { organization: 'names', log: 'classic', kind: 'run' });
    await session.commit(
      batchOf([null, '', null].map((name, i) => loginOf(name, `2026-12-01T0${i}:00:00Z`))),
    );
    await session.release();
    expect(
      await ask(
        `select user_name, events, logins, days_active from bi.users where organization = 'names' order by 1`,
      ),
    ).toEqual([
      ['', '1', '1', '1'],
      [null, '2', '2', '1'],
    ]);
  });

  test('count a day with logins of two sources once', async () => {
    const session = await openSession(bench.pool, { organization: 'sources', log: 'classic', kind: 'run' });
    const events = Array.from({ length: 12 }, (_, i) =>
      ['Cis', 'Orchestrator'].map((source, minute) =>
        eventAt(`2026-12-${String(i + 1).padStart(2, '0')}T08:0${minute}:00Z`, { userName: 'Dan', source }),
      ),
    ).flat();
    await session.commit(batchOf(events));
    await session.release();
    expect(
      await bench.query(
        `select days, days_near_hour from audit.login_habits where organization = 'sources' and hour = 8`,
      ),
    ).toEqual([{ days: '12', days_near_hour: '12' }]);
    expect(
      await ask(`select count(*), min(hour), max(hour) from bi.login_hours where organization = 'sources'`),
    ).toEqual([['12', '8', '8']]);
  });

  test('know the habits of an organization that ended long before another', async () => {
    const day = (number: number) => new Date(Date.UTC(2026, 0, number)).toISOString().slice(0, 10);
    for (const [organization, first, days] of [
      ['ended', 1, 3],
      ['goes on', 10, 200],
    ] as const) {
      const session = await openSession(bench.pool, { organization, log: 'classic', kind: 'run' });
      const events = Array.from({ length: days }, (_, i) => loginOf('Eva', `${day(first + i)}T08:00:00Z`));
      await session.commit(batchOf(events));
      await session.release();
    }
    expect(
      await bench.query(
        `select organization, days, days_near_hour from audit.login_habits
         where organization in ('ended', 'goes on') and hour = 8 order by 1`,
      ),
    ).toEqual([
      { organization: 'ended', days: '3', days_near_hour: '3' },
      { organization: 'goes on', days: '180', days_near_hour: '180' },
    ]);
  });

  test('say what is done to whom in each kind of details that the simulator knows', async () => {
    const { EVENT_KINDS, makeEvent } = await import('../../src/simulator/events.ts');
    const session = await openSession(bench.pool, { organization: 'kinds', log: 'classic', kind: 'run' });
    const events = EVENT_KINDS.map((kind, i) => {
      const { createdOn: _, ...fields } = makeEvent(kind, { variant: 1 });
      return eventAt(`2026-12-01T10:00:${String(i).padStart(2, '0')}Z`, fields);
    });
    await session.commit(batchOf(events));
    await session.release();
    const rows = await ask(
      `select action, category, area, target_name is not null from bi.administrative_changes where organization = 'kinds' order by changed_at`,
    );
    expect(
      rows.map(([action, category, area, isNamed]) => `${category} / ${action}: ${area}, ${isNamed}`),
    ).toEqual([
      'User / Create: Users, t',
      'User / Delete: Users, t',
      'Group / Update: Groups, t',
      'RobotAccount / Create: Robot accounts, t',
      'ExternalClient / Update: External applications, t',
      'AuthenticationSetting / Update: Settings, f',
      'License Management / Renew: Licences, t',
      'Governance / Create Policy: Policies, t',
      'Governance / Edit Policy: Policies, t',
      'Governance / Deploy To User: Policies, t',
    ]);
  });
});
