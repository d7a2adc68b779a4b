import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, startProgram } from '../support/program.ts';
import { ROOT } from '../support/root.ts';

const CLOCK = `${ROOT}/test/torture/shifted-clock.mjs`;

let database: TestDatabase;
let pool: pg.Pool;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

test('start keeps its schedule when the clock is set back an hour', async () => {
  const simulator = await createSimulator({ events: 20 });
  const program = startProgram(['start'], {
    ...environmentFor(simulator, database.url),
    EXPORT_SCHEDULE: '* * * * * *',
    NODE_OPTIONS: `--import=${pathToFileURL(CLOCK).href}`,
    TORTURE_CLOCK_SHIFT_MS: '-3600000',
    TORTURE_CLOCK_WAITS: '1',
  });
  try {
    await program.logged(/run \d+ succeeded/);
    program.kill('SIGUSR2');
    await program.logged(/the clock was set back/);
    simulator.append(5);
    const giveUpAt = performance.now() + 30_000;
    let stored = 0;
    while (stored < 25 && performance.now() < giveUpAt) {
      const { rows } = await pool.query('select count(*)::int as count from audit.events');
      stored = rows[0].count;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(stored).toBe(25);
  } finally {
    program.kill('SIGKILL');
    await program.ended;
    await simulator.close();
  }
});
