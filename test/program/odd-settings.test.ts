/** The real commands with odd session settings of the role, the database and the environment, against an ordinary database. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { createSimulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, createTestLogin } from '../support/database.ts';
import { asOptions, createEvilSchema, createPlainPool, oddCombination } from '../support/odd-settings.ts';
import { environmentFor, runProgram } from '../support/program.ts';

const COMMANDS = [
  ['migrate', '--json'],
  ['run', '--json'],
  ['run', '--json'],
  ['status', '--json'],
  ['verify', '--json'],
  ['verify', '--offline', '--json'],
  ['backfill', '--json'],
  ['check', '--json'],
];
const VIEWS = `
  select 'bi.logins' as view, to_jsonb(l)::text as row from bi.logins l
  union all select 'bi.activity_by_day', to_jsonb(a)::text from bi.activity_by_day a
  union all select 'bi.login_hours', to_jsonb(h)::text from bi.login_hours h
  union all select 'bi.users', to_jsonb(u)::text from bi.users u
  order by 1, 2`;

const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

type Where = 'ordinary' | 'role' | 'database' | 'PGOPTIONS';

async function openDatabase(where: Where, combination: number) {
  const database = await createTestDatabase();
  closers.push(() => database.drop());
  const login = await createTestLogin(database);
  const plain = createPlainPool(database.url);
  const name = new URL(database.url).pathname.slice(1);
  closers.push(async () => {
    // A role that owns a database cannot be dropped.
    await plain.query(`alter database ${name} owner to current_user`);
    await plain.end();
    await login.drop();
  });
  await createEvilSchema(plain);
  await plain.query(`alter database ${name} owner to ${login.name}`);
  const settings = where === 'ordinary' ? [] : await oddCombination(plain, combination);
  const target = where === 'role' ? `role ${login.name}` : `database ${name}`;
  if (where === 'role' || where === 'database') {
    for (const [setting, value] of settings) await plain.query(`alter ${target} set ${setting} = ${value}`);
  }
  const variables: Record<string, string> =
    where === 'PGOPTIONS'
      ? {
          PGOPTIONS: asOptions(settings),
          PGDATESTYLE: 'German',
          PGTZ: 'Asia/Kolkata',
          PGCLIENTENCODING: 'LATIN1',
        }
      : {};
  return { database, login, plain, target, variables };
}

/** Without what differs from one database, simulator and moment to another. Only a time in the right form counts as one. */
function withoutMoments(text: string, own: readonly string[]): string {
  return (
    own
      .reduce((left, name) => left.replaceAll(name, '…'), text)
      .replace(/"202[6-9]-(?!01|02)[-\d]+T[\d:.]+Z"/g, '"now"')
      .replace(/"(lagMs|newestEventAgeMs|durationMs)":\d+/g, '"$1":0')
      .replace(/"digest":"[0-9a-f]{64}"/g, '"digest":"…"')
      // The root of the tree.
      .replace(/\\n[A-Za-z0-9+/]{43}=/g, '\\n…')
      .replace(/"worker":"[^"]+"/g, '"worker":"…"')
      .replace(/in \d+ ms|\d+ days ago/g, '…')
  );
}

async function play(where: Where, combination: number, tz: string): Promise<unknown> {
  const { database, login, plain, variables } = await openDatabase(where, combination);
  const simulator = await createSimulator({ events: 60, startAt: new Date('2026-01-31T23:50:00Z') });
  closers.push(() => simulator.close());
  const environment = { ...environmentFor(simulator, login.url), ...variables, TZ: tz };
  const own = [simulator.url, login.name, new URL(database.url).pathname.slice(1)];
  const results: unknown[] = [];
  for (const command of COMMANDS) {
    const { code, stdout, stderr } = await runProgram(command, environment);
    results.push([command.join(' '), code, code === 0 ? '' : stderr, withoutMoments(stdout, own)]);
    if (results.length === 2) {
      simulator.insertLate(3);
      simulator.append(5);
    }
  }
  const ledger = await plain.query(
    `select batch, kind, from_at::text, to_at::text, rows_changed,
       (select array_agg(encode(substring(inserted from i * 48 + 1 for 16), 'hex') order by 1)
        from generate_series(0, length(inserted) / 48 - 1) i) as keys
     from audit.ledger where kind <> 'state' order by batch`,
  );
  const views = await plain.query(VIEWS);
  return { results, ledger: ledger.rows, views: views.rows };
}

describe('the commands', () => {
  let ordinary: Promise<unknown> | undefined;

  test.each([
    ['role', 0, 'America/St_Johns'],
    ['database', 1, 'Asia/Kolkata'],
    ['PGOPTIONS', 3, 'Pacific/Kiritimati'],
  ] as const)(
    'do and say the same with odd settings of the %s, combination %i, in the time zone %s',
    async (where, n, tz) => {
      ordinary ??= play('ordinary', 0, 'UTC');
      const expected = await ordinary;
      expect(await play(where, n, tz)).toEqual(expected);
    },
    180_000,
  );

  test('refuse session_replication_role=replica, which the user may not change, and say what to do', async () => {
    const { login, plain } = await openDatabase('ordinary', 0);
    await plain.query(`alter role ${login.name} set session_replication_role = replica`);
    const { code, stderr } = await runProgram(['migrate'], { DATABASE_URL: login.url });
    expect([code, stderr]).toEqual([2, expect.stringContaining('reset session_replication_role')]);
  });
});
