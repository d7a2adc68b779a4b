/** An upgrade of the source that writes the details of every event differently, as the whole program shows it. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { FORMS } from '../support/forms.ts';
import { environmentFor, runProgram } from '../support/program.ts';

const EVENTS = 60;

let database: TestDatabase;
let pool: pg.Pool;
let simulator: Simulator;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  simulator = await createSimulator({ events: EVENTS });
  simulator.rewrite(0, EVENTS, FORMS.CRLF);
});
afterAll(async () => {
  await pool.end();
  await simulator.close();
  await database.drop();
});

async function call(...args: string[]) {
  const { code, stdout, stderr } = await runProgram(
    [...args, '--json'],
    environmentFor(simulator, database.url),
  );
  expect({ args, code, stderr: code === 0 ? '' : stderr }).toEqual({ args, code: 0, stderr: '' });
  return { result: JSON.parse(stdout), stderr };
}

async function count(sql: string): Promise<number> {
  return Number((await pool.query<{ count: string }>(`select count(*) as count from ${sql}`)).rows[0]!.count);
}

test('the second run replaces the rows, says so, and doubles nothing', async () => {
  await call('run');
  simulator.rewrite(0, EVENTS, FORMS.LF);
  const rerendered = await count(`audit.events where details_raw like E'%\\r\\n%'`);
  expect(rerendered).toBeGreaterThan(10);
  const { result, stderr } = await call('run');
  expect(result).toMatchObject({ proof: { state: 'complete' } });
  expect(result.counters).toMatchObject({ inserted: rerendered, superseded: rerendered, late: 0 });
  expect(result.warnings).toEqual([
    `The source writes the details of ${rerendered} stored events differently, as after an upgrade; their values are the same. ` +
      'The new forms replaced the old ones in all views and counts; the old rows stay in bi.superseded_events.',
  ]);
  expect(stderr).toContain('writes the details of');

  expect(await count('audit.events')).toBe(EVENTS + rerendered);
  expect(await count('bi.events')).toBe(EVENTS);
  expect(await count('bi.superseded_events')).toBe(rerendered);
  expect(await count('bi.gone_events')).toBe(0);
  const { rows } = await pool.query(
    `select (select sum(events)::int from bi.totals_by_day) as by_day, (select sum(events)::int from bi.users) as by_user,
       (select sum(rows_superseded)::int from bi.runs) as superseded, (select sum(rows_late)::int from bi.runs) as late`,
  );
  expect(rows).toEqual([{ by_day: EVENTS, by_user: EVENTS, superseded: rerendered, late: 0 }]);

  const { result: verified } = await call('verify');
  expect(verified.organizations[0].source).toMatchObject({
    counts: { missing: 0, changed: 0, gone: 0 },
    ...{ same: EVENTS, superseded: rerendered, rerendered: 0 },
  });
  await call('verify', '--offline');
  const { result: status } = await call('status');
  expect(status.organizations[0]).toMatchObject({
    stored: EVENTS,
    runs: [{ counters: { superseded: rerendered } }, {}],
  });
});

test('a quiet run afterwards finds nothing to do', async () => {
  const { result } = await call('run');
  expect(result.counters).toMatchObject({ inserted: 0, superseded: 0 });
  expect(result.warnings).toEqual([]);
});

test('verify prints what was replaced, and what a run still has to replace', async () => {
  simulator.rewrite(0, 30, FORMS.compact);
  const { code, stdout } = await runProgram(['verify'], environmentFor(simulator, database.url));
  expect(code).toBe(0);
  expect(stdout).toMatch(/written differently +\d+ +same event; a run or --repair replaces the row/);
  expect(stdout).toMatch(/superseded +\d+ +older forms of events; kept/);
});
