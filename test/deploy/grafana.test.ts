import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { parse } from 'yaml';
import { createSimulator } from '../../src/simulator/simulator.ts';
import {
  createMigratedDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../support/database.ts';
import { environmentFor, runProgram } from '../support/program.ts';
import { ROOT } from '../support/root.ts';
import { exportedNames, metricsIn } from './metric-names.ts';

interface Panel {
  title: string;
  datasource?: { uid: string };
  targets?: { expr?: string; rawSql?: string; format?: string; datasource: { uid: string } }[];
}

const FOLDER = join(ROOT, 'deploy', 'grafana');
const read = (name: string) => readFileSync(join(FOLDER, name), 'utf8');
const dashboard = JSON.parse(read('dashboard.json')) as {
  panels: Panel[];
  templating: { list: { name: string; query: string }[] };
};
const targets = dashboard.panels.flatMap(({ title, targets = [] }) =>
  targets.map((target) => ({ title, ...target })),
);
const questions = targets.flatMap(({ title, rawSql, format }) =>
  rawSql === undefined ? [] : [{ title, rawSql, format }],
);

let database: TestDatabase;
let reader: TestLogin;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createMigratedDatabase();
  const simulator = await createSimulator({ organization: 'acme', events: 50 });
  const { code, stderr } = await runProgram(['run'], environmentFor(simulator, database.url));
  await simulator.close();
  expect([code, stderr]).toEqual([0, expect.anything()]);
  const owner = new pg.Pool({ connectionString: database.url });
  // Until schema bi has the view of its own.
  await owner.query(
    `do $$ begin
       if to_regclass('bi.activity_by_day') is null then
         create view bi.activity_by_day as
           select organization, day, category, action, source, user_name, events from audit.daily_activity;
         grant select on bi.activity_by_day to audit_reader;
       end if;
     end $$`,
  );
  await owner.end();
  reader = await createTestLogin(database, 'audit_reader');
  pool = new pg.Pool({ connectionString: reader.url });
}, 60_000);

afterAll(async () => {
  await pool?.end();
  await reader?.drop();
  await database?.drop();
});

/** As Grafana fills in its macros and its variable. */
function fillIn(sql: string): string {
  const [from, to] = [`'2020-01-01T00:00:00Z'`, `'2040-01-01T00:00:00Z'`];
  return sql
    .replace(/\$__timeFilter\(([^)]+)\)/g, `$1 between ${from} and ${to}`)
    .replaceAll('$__timeFrom()', from)
    .replaceAll('$__timeTo()', to)
    .replace(/\$\{organization:sqlstring\}/g, `'acme','globex'`);
}

test('the dashboard asks for metrics that the program exports, and only those', async () => {
  const names = await exportedNames();
  const asked = targets.flatMap(({ expr = '' }) => metricsIn(expr));
  expect(new Set(asked).size).toBeGreaterThan(15);
  expect(asked.filter((name) => !names.has(name))).toEqual([]);
});

test('every panel asks a data source that is provisioned', () => {
  const provisioned = parse(read('provisioning/datasources/datasources.yaml')) as {
    datasources: { uid: string }[];
  };
  const uids = provisioned.datasources.map(({ uid }) => uid);
  expect(targets.filter(({ datasource }) => !uids.includes(datasource.uid))).toEqual([]);
  expect(
    dashboard.panels.flatMap(({ datasource }) => datasource ?? []).every(({ uid }) => uids.includes(uid)),
  ).toBe(true);
});

test.each(questions.map((question) => [question.title, question] as const))(
  'a reader may ask for "%s", and is answered',
  async (_title, { rawSql, format }) => {
    const sql = fillIn(rawSql);
    expect(sql).not.toContain('$');
    const { rows, fields } = await pool.query(sql);
    expect(rows.length).toBeGreaterThan(0);
    if (format === 'time_series')
      expect(fields.map(({ name }) => name)).toEqual(['time', 'metric', 'events']);
  },
);

test('the variable lists the organizations', async () => {
  const { rows } = await pool.query(dashboard.templating.list[0]!.query);
  expect(rows).toEqual([{ organization: 'acme' }]);
});

test('a reader may not look behind the views', async () => {
  await expect(pool.query('select * from audit.events')).rejects.toThrow('permission denied');
});
