/** Another source under a known name, as the whole program shows it: exit codes, log and /readyz. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, errorIn, runProgram, startProgram } from '../support/program.ts';

let database: TestDatabase;
let pool: pg.Pool;
let first: Simulator;
let second: Simulator;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  first = await createSimulator({ events: 30 });
  second = await createSimulator({ events: 30, seed: 2 });
  expect((await runProgram(['run'], environmentFor(first, database.url))).code).toBe(0);
});
afterAll(async () => {
  await pool.end();
  await Promise.all([first.close(), second.close()]);
  await database.drop();
});

const countStored = async () =>
  (await pool.query<{ count: number }>('select count(*)::int as count from audit.events')).rows[0]!.count;

test.each([[['run']], [['backfill']], [['verify']], [['verify', '--repair']]])(
  '%j exits with 2',
  async (args) => {
    const { code, stderr } = await runProgram(args, environmentFor(second, database.url));
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is not the source that'),
    });
    expect(stderr).toContain(`EXPORT_ACCEPT_SOURCE=${second.url}`);
    expect(stderr).not.toMatch(/simulated-secret|eyJ/);
    expect(await countStored()).toBe(30);
  },
);

test('EXPORT_ACCEPT_SOURCE with another address than UIPATH_BASE_URL exits with 2', async () => {
  const environment = { ...environmentFor(second, database.url), EXPORT_ACCEPT_SOURCE: first.url };
  const { code, stderr } = await runProgram(['run'], environment);
  expect(code).toBe(2);
  expect(errorIn(stderr)).toContain(
    `EXPORT_ACCEPT_SOURCE: expected UIPATH_BASE_URL, ${second.url}, found "${first.url}"`,
  );
  expect(await countStored()).toBe(30);
});

test('start reports it and waits for its schedule', async () => {
  const environment = {
    ...environmentFor(second, database.url),
    EXPORT_SCHEDULE: '0 0 1 1 *',
    STATUS_PORT: '0',
  };
  const program = startProgram(['start'], environment);
  try {
    await program.logged(/run \d+ failed: .*is not the source that/);
    const port = /127\.0\.0\.1:(\d+)/.exec(
      program.stderr().match(/"msg":"[^"]*http:\/\/127\.0\.0\.1:\d+[^"]*"/)?.[0] ?? '',
    )?.[1];
    const line = JSON.parse(
      program
        .stderr()
        .split('\n')
        .find((text) => /run \d+ failed: /.test(text))!,
    );
    expect(line).toMatchObject({ code: 'other-source', level: 'error' });
    expect(line).not.toHaveProperty('retryInSeconds');
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.text()).toContain('is not the source that');
  } finally {
    program.kill('SIGTERM');
    await program.ended;
  }
  expect(await countStored()).toBe(30);
});

test('run with EXPORT_ACCEPT_SOURCE exits with 0 and marks what the new source does not show', async () => {
  const environment = { ...environmentFor(second, database.url), EXPORT_ACCEPT_SOURCE: second.url };
  expect((await runProgram(['run'], environment)).code).toBe(0);
  expect(await countStored()).toBe(60);
  const { rows } = await pool.query('select state, count(*)::int from audit.gone_events group by 1');
  expect(rows).toEqual([{ state: 'former source', count: 30 }]);
  expect((await runProgram(['run'], environmentFor(second, database.url))).code).toBe(0);
});
