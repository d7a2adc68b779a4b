/** One-off commands beside a worker that holds the lease, each as a process. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, type Program, runProgram, startProgram } from '../support/program.ts';

let database: TestDatabase;
let pool: pg.Pool;
let simulator: Simulator;
let environment: Record<string, string>;
let holder: Program;
let organizations = 0;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
beforeEach(async () => {
  simulator = await createSimulator({ organization: `wait${organizations++}`, events: 100 });
  environment = environmentFor(simulator, database.url);
  simulator.set({ latencyMs: 200 });
  holder = startProgram(['backfill'], {
    ...environment,
    EXPORT_PAGE_SIZE: '5',
    EXPORT_CONCURRENCY: '1',
    LOG_LEVEL: 'debug',
  });
  await holder.logged(/page stored/);
});
afterEach(async () => {
  holder.kill('SIGKILL');
  await holder.ended;
  await simulator.close();
});

test.each([[['run']], [['backfill']], [['verify', '--repair']]])(
  '%j waits for the lease and then does its work',
  async (args) => {
    const waiting = startProgram([...args, '--wait', '--json'], environment);
    await waiting.logged(/waiting: Another worker exports wait\d+ \(.*run \d+/);
    expect(waiting.hasEnded()).toBe(false);
    simulator.set({ latencyMs: 0 });
    expect((await holder.ended).code).toBe(0);
    const { code, stdout } = await waiting.ended;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toBeInstanceOf(Object);
    const { rows } = await pool.query(
      'select outcome from audit.runs where organization = $1 order by run_id',
      [simulator.organization],
    );
    expect(rows.map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded']);
  },
);

test('without --wait it ends with 75 and says what to do', async () => {
  const { code, stderr } = await runProgram(['run'], environment);
  expect([code, stderr]).toEqual([
    75,
    expect.stringMatching(/Another worker exports .*\. Stop it, or wait for it with --wait\./s),
  ]);
});

test('a signal ends the waiting', async () => {
  const waiting = startProgram(['run', '--wait'], environment);
  await waiting.logged(/waiting: /);
  const signalledAt = performance.now();
  waiting.kill('SIGINT');
  const { code, stderr } = await waiting.ended;
  expect(performance.now() - signalledAt).toBeLessThan(5_000);
  expect([code, stderr]).toEqual([
    75,
    expect.stringContaining('Stopped while waiting for another worker. Nothing was changed.'),
  ]);
});

test('a holder that is killed is not waited for longer than its connection lives', async () => {
  const waiting = startProgram(['run', '--wait'], environment);
  await waiting.logged(/waiting: /);
  holder.kill('SIGKILL');
  simulator.set({ latencyMs: 0 });
  const { code } = await waiting.ended;
  expect(code).toBe(0);
});
