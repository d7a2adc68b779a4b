import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { openSession } from '../../src/postgres/write/store.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, runProgram } from '../support/program.ts';

let database: TestDatabase;
let pool: pg.Pool;
let simulator: Simulator;
let environment: Record<string, string>;
let organizations = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
beforeEach(async () => {
  simulator = await createSimulator({ organization: `run${organizations++}`, events: 250 });
  environment = environmentFor(simulator, database.url);
});
afterEach(() => simulator.close());

async function countStored(): Promise<number> {
  const { rows } = await pool.query(
    'select count(*)::int as count from audit.events where organization = $1',
    [simulator.organization],
  );
  return rows[0].count;
}

async function lastRun(): Promise<{ outcome: string; error: string | null }> {
  const { rows } = await pool.query(
    'select outcome, error from audit.runs where organization = $1 order by run_id desc limit 1',
    [simulator.organization],
  );
  return rows[0];
}

describe('run, as a process', () => {
  test('creates the tables, exports everything, and a second call stores only new events', async () => {
    const first = await runProgram(['run', '--json'], environment);
    expect([first.code, first.stderr.includes('error')]).toEqual([0, false]);
    expect(JSON.parse(first.stdout).counters).toMatchObject({ rowsRead: 250, inserted: 250, rejected: 0 });
    simulator.append(3);
    const second = await runProgram(['run', '--json'], environment);
    expect(JSON.parse(second.stdout).counters).toMatchObject({ inserted: 3, requests: 3 });
    expect(await countStored()).toBe(253);
  });

  test('exits 2 if the watermark does not match the events, until a backfill of the whole list', async () => {
    await runProgram(['run'], environment);
    await pool.query('delete from audit.events where organization = $1 and created_on > $2', [
      simulator.organization,
      '2023-01-01T00:30:00Z',
    ]);
    for (const command of [['run'], ['backfill', '--from', '2022-01-01']]) {
      const refused = await runProgram(command, environment);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toMatch(/does not match audit\.events: .* Run backfill without --from and --to/);
    }
    expect((await runProgram(['status'], environment)).stdout.replace(/\s+/g, ' ')).toContain(
      'Run backfill without --from and --to',
    );
    const again = await runProgram(['backfill'], environment);
    expect([again.code, again.stdout]).toEqual([
      0,
      expect.stringContaining('warning: The watermark was reset'),
    ]);
    expect(await countStored()).toBe(250);
    expect((await runProgram(['run'], environment)).code).toBe(0);
  });

  test('requests its token while it waits for the database, and only once', async () => {
    await runProgram(['migrate'], environment);
    const client = await pool.connect();
    try {
      await client.query('begin; lock table audit.migrations in access exclusive mode');
      const running = runProgram(['run'], environment);
      while (simulator.counts.token === 0) await new Promise((resolve) => setTimeout(resolve, 10));
      await client.query('rollback');
      expect((await running).code).toBe(0);
      expect(simulator.counts.token).toBe(1);
    } finally {
      client.release();
    }
  });

  test('the result goes to standard output, JSON log lines to standard error, a run with all its counters', async () => {
    const { stdout, stderr } = await runProgram(['run'], environment);
    expect(stdout).toMatch(/^Run \d+: 250 new events; 250 read in 3 requests, [\d.]+ m?s\.\n$/);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.at(-1)).toMatchObject({
      level: 'info',
      msg: expect.stringMatching(/^run \d+ succeeded: 250 new, [\d.]+ m?s$/),
      inserted: 250,
      requests: 3,
      late: 0,
    });
  });

  test('LOG_LEVEL=debug logs each page, warn logs the reason of each retry, and no line contains a secret', async () => {
    simulator.set({ faults: [{ fault: 503, next: 1 }] });
    const debug = { ...environment, LOG_LEVEL: 'debug', EXPORT_PAGE_SIZE: '100' };
    const { stdout, stderr } = await runProgram(['run'], debug);
    const lines = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.filter(({ msg }) => msg === 'page stored')).toHaveLength(3);
    expect(lines.filter(({ level }) => level === 'warn')).toEqual([expect.objectContaining({ status: 503 })]);
    const password = decodeURIComponent(new URL(database.url).password);
    for (const secret of [simulator.clientSecret, password].filter((text) => text.length > 8)) {
      expect(stdout + stderr).not.toContain(secret);
    }
    expect(stdout + stderr).not.toMatch(/Bearer [A-Za-z0-9]/);
  });

  test('exit 2 with every problem at once when the configuration is wrong', async () => {
    const { code, stderr } = await runProgram(['run'], {
      EXPORT_PAGE_SIZE: 'many',
      UIPATH_BASE_URL: 'ftp://x',
    });
    expect(code).toBe(2);
    for (const name of ['EXPORT_PAGE_SIZE', 'UIPATH_BASE_URL', 'UIPATH_ORGANIZATION', 'UIPATH_CLIENT_ID']) {
      expect(stderr).toContain(name);
    }
  });

  test('exit 2 with the nearest command or option when one is mistyped', async () => {
    const command = await runProgram(['backfil'], {});
    expect([command.code, command.stderr]).toEqual([2, expect.stringContaining('Did you mean backfill?')]);
    const option = await runProgram(['run', '--jsn'], {});
    expect([option.code, option.stderr]).toEqual([2, expect.stringContaining('Did you mean --json?')]);
  });

  test('exit 2 when --env-file names no file', async () => {
    const { code, stderr } = await runProgram(['run', '--env-file', '/nowhere/.env'], environment);
    expect([code, stderr]).toEqual([2, expect.stringContaining('Cannot read /nowhere/.env')]);
  });

  test('warns when the organization is stored with other upper and lower case', async () => {
    await runProgram(['run'], environment);
    const other = simulator.organization.toUpperCase();
    const { code, stderr } = await runProgram(['run'], { ...environment, UIPATH_ORGANIZATION: other });
    expect([code, stderr]).toEqual([
      0,
      expect.stringContaining(`${simulator.organization} is stored as well`),
    ]);
  });

  test('exit 2 and the URL when a portal page is returned instead of the API', async () => {
    const { code, stderr } = await runProgram(['run'], { ...environment, UIPATH_AUDIT_PATH: '/nowhere' });
    expect([code, stderr]).toEqual([2, expect.stringContaining(`${simulator.url}/nowhere`)]);
    expect(await lastRun()).toMatchObject({ outcome: 'failed', error: expect.stringContaining('/nowhere') });
  });

  test('exit 2 and the variables to check when the client is refused', async () => {
    const { code, stderr } = await runProgram(['run'], {
      ...environment,
      UIPATH_CLIENT_SECRET: 'wrong-secret-value',
    });
    expect([code, stderr]).toEqual([2, expect.stringContaining('UIPATH_CLIENT_SECRET')]);
    expect(stderr).not.toContain('wrong-secret-value');
  });

  test('exit 1 and the reason when the source ignores sortOrder=asc; nothing is stored', async () => {
    simulator.set({ ignoreSortOrder: true });
    const { code, stderr } = await runProgram(['run'], environment);
    expect([code, stderr]).toEqual([1, expect.stringContaining('ignored sortOrder=asc')]);
    expect(await countStored()).toBe(0);
  });

  test('exit 75 when the source stays away, and the run is in the history with its error', async () => {
    simulator.set({ faults: [{ fault: 503 }] });
    const { code } = await runProgram(['run'], environment);
    expect(code).toBe(75);
    expect(await lastRun()).toMatchObject({ outcome: 'failed', error: expect.stringContaining('503') });
  });

  test('exit 75 when the run made no progress for EXPORT_STALL_TIMEOUT; committed events are kept', async () => {
    simulator.set({ faults: [{ fault: 'silence', after: 1 }] });
    const { code, stderr } = await runProgram(['run'], {
      ...environment,
      EXPORT_PAGE_SIZE: '100',
      EXPORT_CONCURRENCY: '1',
      EXPORT_STALL_TIMEOUT: '3s',
      HTTP_TIMEOUT: '60s',
    });
    expect([code, stderr]).toEqual([75, expect.stringContaining('EXPORT_STALL_TIMEOUT')]);
    expect(await lastRun()).toMatchObject({
      outcome: 'failed',
      error: expect.stringContaining('made no progress'),
    });
    expect(await countStored()).toBe(99);
  });

  test('exit 75 when the database is away', async () => {
    const { code, stderr } = await runProgram(['run'], {
      ...environment,
      DATABASE_URL: 'postgres://u:hidden-word@127.0.0.1:1/x',
    });
    expect([code, stderr]).toEqual([75, expect.stringContaining('ECONNREFUSED')]);
    expect(stderr).not.toContain('hidden-word');
  });

  test('exit 75 and the name of the holder while another worker has the organization', async () => {
    await runProgram(['migrate'], environment);
    const holder = await openSession(pool, {
      organization: simulator.organization,
      log: 'classic',
      kind: 'run',
    });
    try {
      const { code, stderr } = await runProgram(['run'], environment);
      expect([code, stderr]).toEqual([75, expect.stringContaining(`process ${process.pid}`)]);
    } finally {
      await holder.release();
    }
  });
});
