import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, type Program, startProgram } from '../support/program.ts';
import { createDatabaseProxy } from '../support/proxy.ts';

let database: TestDatabase;
let pool: pg.Pool;
let simulator: Simulator;
let environment: Record<string, string>;
let program: Program | undefined;
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
  simulator = await createSimulator({ organization: `start${organizations++}`, events: 120 });
  environment = { ...environmentFor(simulator, database.url), EXPORT_SCHEDULE: '* * * * * *' };
});
afterEach(async () => {
  program?.kill('SIGKILL');
  await program?.ended;
  await simulator.close();
});

async function addressOf(started: Program): Promise<string> {
  await started.logged(/status page.* at http/);
  return /status page.* at (http:\/\/[\d.]+:\d+)/.exec(started.stderr())![1]!;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 20_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt)
      throw new Error(`gave up waiting; the program logged:\n${program?.stderr()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function countStored(): Promise<number> {
  const { rows } = await pool.query(
    'select count(*)::int as count from audit.events where organization = $1',
    [simulator.organization],
  );
  return rows[0].count;
}

describe('start, as a process', () => {
  test('exports once at start, then on the schedule, and SIGTERM ends it with exit 0', async () => {
    program = startProgram(['start'], environment);
    await program.logged(/run \d+ succeeded/);
    expect(await countStored()).toBe(120);
    simulator.append(5);
    await until(async () => (await countStored()) === 125);
    const { rows } = await pool.query(
      `select count(*)::int as overlaps from audit.runs a join audit.runs b on a.organization = b.organization
       and a.run_id < b.run_id and b.started_at < a.ended_at where a.organization = $1`,
      [simulator.organization],
    );
    expect(rows).toEqual([{ overlaps: 0 }]);
    const signalledAt = performance.now();
    program.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
    expect(performance.now() - signalledAt).toBeLessThan(10_000);
  });

  test('verifies offline on EXPORT_VERIFY_SCHEDULE, beside the runs, and reports differences', async () => {
    program = startProgram(['start'], { ...environment, EXPORT_VERIFY_SCHEDULE: '* * * * * *' });
    await program.logged(/verify: no differences/);
    // The first verify may end before the first run has stored anything.
    await program.logged(/run \d+ succeeded/);
    // No run repairs it.
    await pool.query(
      `update audit.daily_totals set events = events + 1 where ctid = (
         select ctid from audit.daily_totals where organization = $1 limit 1)`,
      [simulator.organization],
    );
    await program.logged(/verify: differences found/);
    const { rows } = await pool.query(
      `select last_verify_scope, verify_differences, last_clean_verify_at is not null as was_clean
       from bi.export_health where organization = $1`,
      [simulator.organization],
    );
    expect(rows).toEqual([
      { last_verify_scope: 'offline', verify_differences: { state: 1 }, was_clean: true },
    ]);
    const lines = program
      .stderr()
      .split('\n')
      .filter((line) => line.includes('verify: differences found'));
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'error', differences: { state: 1 } });
    program.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
  });

  test('waits for a database that is away at start', async () => {
    const proxy = await createDatabaseProxy(database.url);
    await proxy.stop();
    program = startProgram(['start'], { ...environment, DATABASE_URL: proxy.url });
    const address = await addressOf(program);
    await program.logged(/waiting for the database/);
    expect((await fetch(`${address}/healthz`)).status).toBe(200);
    expect((await fetch(`${address}/readyz`)).status).toBe(503);
    await proxy.start();
    try {
      await until(async () => (await fetch(`${address}/readyz`)).status === 200);
      await program.logged(/run \d+ succeeded/);
      expect(await countStored()).toBe(120);
    } finally {
      program.kill('SIGTERM');
      await program.ended;
      await proxy.close();
    }
  });

  test('is not ready while its first run finds no source, counts the retries, and is ready when it ends', async () => {
    let isAway = true;
    const front = createServer((request, response) => {
      if (isAway) response.writeHead(503).end();
      else
        request.pipe(
          httpRequest(
            `${simulator.url}/${simulator.organization}/identity_/connect/token`,
            { method: 'POST', headers: request.headers },
            (token) => token.pipe(response.writeHead(token.statusCode!, token.headers)),
          ),
        );
    });
    await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve));
    const { port } = front.address() as AddressInfo;
    try {
      const UIPATH_TOKEN_URL = `http://127.0.0.1:${port}/token`;
      program = startProgram(['start'], { ...environment, UIPATH_TOKEN_URL, RETRY_LIMIT: '100' });
      const address = await addressOf(program);
      const ready = async () => {
        const response = await fetch(`${address}/readyz`);
        return [response.status, ((await response.json()) as { reasons: string[] }).reasons.join('; ')];
      };
      await program.logged(/request failed, retrying/);
      expect(await ready()).toEqual([
        503,
        expect.stringMatching(/^first run: no usable response yet after \d+ attempts? \(HTTP 503\)$/),
      ]);
      const metrics = await (await fetch(`${address}/metrics`)).text();
      expect(metrics).toMatch(/source_retries_total\{organization="start\d+",reason="HTTP 503"\} [1-9]/);
      isAway = false;
      await program.logged(/run \d+ succeeded/);
      expect(await ready()).toEqual([200, '']);
      const { rows } = await pool.query(
        'select retries > 0 as retried from audit.runs where organization = $1 order by run_id limit 1',
        [simulator.organization],
      );
      expect(rows).toEqual([{ retried: true }]);
    } finally {
      front.close();
      front.closeAllConnections();
    }
  });

  test('a second worker on one organization is on standby, and takes over when the first ends', async () => {
    simulator.set({ latencyMs: 300 });
    const first = startProgram(['start'], {
      ...environment,
      EXPORT_PAGE_SIZE: '10',
      EXPORT_CONCURRENCY: '1',
    });
    try {
      await first.logged(/exporting once now/);
      await until(async () => (await countStored()) > 0);
      program = startProgram(['start'], environment);
      await program.logged(/standing by/);
    } finally {
      first.kill('SIGKILL');
      await first.ended;
    }
    await program.logged(/run \d+ succeeded/);
    expect(await countStored()).toBe(120);
  });
});
