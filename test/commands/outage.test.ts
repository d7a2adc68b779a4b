/** What `start` does, as a process, while the source or the database is away, and when ticks pass it by. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { migrate } from '../../src/postgres/migrate.ts';
import type { FaultRule } from '../../src/simulator/faults.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createTestDatabase, type TestDatabase, withParameter } from '../support/database.ts';
import { environmentFor, type Program, startProgram } from '../support/program.ts';
import { createDatabaseProxy, type DatabaseProxy } from '../support/proxy.ts';

interface Run {
  outcome: string | null;
  error: string | null;
  started_at: Date;
}

const EVERY_SECOND = { EXPORT_SCHEDULE: '* * * * * *' };
const SLOWLY = { EXPORT_PAGE_SIZE: '10', EXPORT_CONCURRENCY: '1' };

let database: TestDatabase;
let sql: pg.Pool;
let organizations = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  sql = new pg.Pool({ connectionString: database.url });
  await migrate(sql);
});
afterAll(async () => {
  await sql.end();
  await database.drop();
});

/** A test of its own organization, simulator, proxy and worker, so that several can wait at the same time. */
function withScene(work: (scene: Scene) => Promise<void>): () => Promise<void> {
  return async () => {
    const organization = `outage${organizations++}`;
    const scene = new Scene(
      await createSimulator({ organization, events: 120 }),
      await createDatabaseProxy(database.url),
    );
    try {
      await work(scene);
    } finally {
      await scene.close();
    }
  };
}

class Scene {
  program: Program | undefined;
  #address = '';

  constructor(
    public simulator: Simulator,
    readonly proxy: DatabaseProxy,
  ) {}

  /** Starts the worker, and resolves once it serves its status. */
  async start(given: Record<string, string>): Promise<void> {
    const program = startProgram(['start'], { ...environmentFor(this.simulator, database.url), ...given });
    this.program = program;
    await program.logged(/status page.* at http/);
    this.#address = /status page.* at (http:\/\/[\d.]+:\d+)/.exec(program.stderr())![1]!;
  }

  async until(condition: () => Promise<boolean>): Promise<void> {
    await this.eventually(async () => {
      if (!(await condition())) throw new Error(`gave up waiting; it logged:\n${this.program?.stderr()}`);
    });
  }

  async eventually(look: () => Promise<void>): Promise<void> {
    for (const giveUpAt = performance.now() + 30_000; ; await sleep(50)) {
      try {
        return await look();
      } catch (error) {
        if (performance.now() > giveUpAt) throw error;
      }
    }
  }

  untilSucceeded(): Promise<void> {
    return this.until(async () => (await this.runs()).some(({ outcome }) => outcome === 'succeeded'));
  }

  untilFailed(times: number): Promise<void> {
    return this.until(async () => (await this.failedRuns()).length >= times);
  }

  /** Oldest first. */
  async runs(): Promise<Run[]> {
    const { rows } = await sql.query<Run>(
      'select * from audit.runs where organization = $1 order by run_id',
      [this.simulator.organization],
    );
    return rows;
  }

  async failedRuns(): Promise<Run[]> {
    return (await this.runs()).filter(({ outcome }) => outcome === 'failed');
  }

  async countStored(): Promise<number> {
    const { rows } = await sql.query('select count(*)::int as n from audit.events where organization = $1', [
      this.simulator.organization,
    ]);
    return rows[0].n;
  }

  /** Up, and not ready for just these reasons: at once, or a moment after a run's end is stored. */
  async expectAway(reasons: RegExp[]): Promise<void> {
    await this.expectAlive();
    const words = reasons.map((reason) => expect.stringMatching(reason));
    await this.eventually(async () => {
      const { status, body } = await this.ask('/readyz');
      expect([status, body]).toEqual([503, { ready: false, reasons: words }]);
    });
  }

  /** Without help: ready again, in the same process, and every event of the source is stored once. */
  async expectCaughtUp(): Promise<void> {
    await this.until(async () => (await this.ask('/readyz')).status === 200);
    await this.until(async () => (await this.countStored()) >= this.simulator.length);
    expect(await this.countStored()).toBe(this.simulator.length);
    await this.expectAlive();
  }

  async close(): Promise<void> {
    this.program?.kill('SIGKILL');
    await this.program?.ended;
    await this.simulator.close();
    await this.proxy.close();
  }

  private async expectAlive(): Promise<void> {
    const { status, body } = await this.ask('/healthz');
    expect([status, body]).toEqual([200, expect.objectContaining({ status: 'alive' })]);
  }

  private async ask(path: string): Promise<{ status: number; body: unknown }> {
    const response = await fetch(this.#address + path);
    return { status: response.status, body: await response.json() };
  }
}

describe('the source is away for some ticks', () => {
  const environment = { ...EVERY_SECOND, RETRY_LIMIT: '3' };

  const failing = (fault: FaultRule, reason: RegExp, given = {}) =>
    withScene(async (scene) => {
      const { simulator } = scene;
      await scene.start({ ...environment, ...given });
      await scene.untilSucceeded();
      simulator.append(30);
      simulator.set({ faults: [fault] });
      await scene.untilFailed(1);
      await scene.expectAway([reason]);
      const before = (await scene.runs()).length;
      simulator.clearRequests();
      await scene.untilFailed(3);
      // The tries of each run and no more; one may have been under way. Each run has its row before it asks.
      const { list } = simulator.counts;
      const tried = (await scene.runs()).length - before + 1;
      expect(list).toBeLessThanOrEqual(3 * tried);
      for (const { error } of await scene.failedRuns()) expect(error).toMatch(reason);
      simulator.set({ faults: [] });
      await scene.expectCaughtUp();
    });

  test.concurrent('and answers 503', failing({ fault: 503 }, /HTTP 503/));

  test.concurrent(
    'and says nothing',
    // Silence alone may take so long, and no answer on a busy machine.
    failing({ fault: 'silence' }, /3 times in vain; the last time: no whole answer within 1\.5 s/, {
      HTTP_TIMEOUT: '1500ms',
    }),
  );

  test.concurrent(
    'and listens no more',
    withScene(async (scene) => {
      await scene.start(environment);
      await scene.untilSucceeded();
      const { organization, url } = scene.simulator;
      await scene.simulator.close();
      await scene.untilFailed(3);
      await scene.expectAway([/^last run: .*ECONNREFUSED/]);
      for (const { error } of await scene.failedRuns()) expect(error).toContain('ECONNREFUSED');
      scene.simulator = await createSimulator({ organization, events: 150, port: Number(new URL(url).port) });
      await scene.expectCaughtUp();
    }),
  );

  test.concurrent(
    'and goes silent in the middle of a run, which is ended as stalled',
    withScene(async (scene) => {
      scene.simulator.set({ faults: [{ fault: 'silence', after: 3 }] });
      const impatient = { EXPORT_STALL_TIMEOUT: '3s', HTTP_TIMEOUT: '60s' };
      await scene.start({ ...EVERY_SECOND, ...SLOWLY, ...impatient });
      await scene.untilFailed(1);
      const sentence = /The run came no further for 3 s \(EXPORT_STALL_TIMEOUT\) and was ended/;
      await scene.expectAway([sentence]);
      expect((await scene.failedRuns())[0]!.error).toMatch(sentence);
      expect(await scene.countStored()).toBeGreaterThan(0);
      scene.simulator.set({ faults: [] });
      await scene.expectCaughtUp();
    }),
  );
});

describe('the database is away', () => {
  /** The worker is in the middle of its first run. */
  async function startBehindProxy(scene: Scene, given: Record<string, string> = {}): Promise<void> {
    scene.simulator.set({ latencyMs: 200 });
    await scene.start({ ...EVERY_SECOND, ...SLOWLY, DATABASE_URL: scene.proxy.url, ...given });
    await scene.until(async () => (await scene.countStored()) > 20);
  }

  test.concurrent(
    'for some ticks, and refuses connections',
    withScene(async (scene) => {
      await startBehindProxy(scene);
      await scene.proxy.stop();
      await scene.until(async () => scene.program!.stderr().split('ECONNREFUSED').length > 3);
      await scene.expectAway([/^database: .*ECONNREFUSED/, /^last run: .*ECONNREFUSED/]);
      expect(await scene.countStored()).toBeLessThan(120);
      await scene.proxy.start();
      await scene.expectCaughtUp();
      // The one that was cut off; the others could not even begin.
      const [first, ...later] = await scene.runs();
      expect(first).toMatchObject({ outcome: 'failed', error: expect.stringContaining('PostgreSQL failed') });
      expect(later.map(({ outcome }) => outcome)).toContain('succeeded');
      for (const { outcome } of later) expect(['succeeded', null]).toContain(outcome);
    }),
  );

  test.concurrent(
    'and answers nothing on connections old and new',
    withScene(async (scene) => {
      const { proxy } = scene;
      const url = withParameter(proxy.url, 'query_timeout', '2000');
      await startBehindProxy(scene, { DATABASE_URL: url, EXPORT_LEASE: '4s' });
      proxy.hang();
      const before = proxy.connections;
      // The query under way found no answer, or the heartbeat's did, which ends the connection.
      const lost = 'PostgreSQL failed while .*(Query read timeout|Connection terminated)';
      await scene.program!.logged(new RegExp(`run failed: ${lost}`));
      await scene.expectAway([/^database: /, new RegExp(`^last run: ${lost}`)]);
      // That of the next run, and that of /readyz.
      expect(proxy.connections - before).toBeLessThanOrEqual(3);
      await proxy.start();
      await scene.expectCaughtUp();
      expect((await scene.failedRuns())[0]!.error).toMatch(new RegExp(lost));
    }),
  );

  test.concurrent(
    'and answers nothing at the start, and is waited for',
    withScene(async (scene) => {
      scene.proxy.hang();
      await scene.start({ ...EVERY_SECOND, DATABASE_URL: scene.proxy.url });
      await scene.expectAway([/^database: no answer within 5 s/]);
      await scene.program!.logged(/waiting for the database: .*timeout/);
      expect(scene.proxy.connections).toBeLessThanOrEqual(3);
      await scene.proxy.start();
      await scene.expectCaughtUp();
    }),
  );
});

describe('ticks that could not be kept are made up for by one run', () => {
  /** Four ticks, of which the first comes when the worker is surely up; no other for the rest of a minute. */
  function fourTicks(): { schedule: Record<string, string>; lastAt: number } {
    // Reads the clock: the real schedule has its ticks at instants.
    const first = Math.ceil(Date.now() / 1000) + 12;
    const seconds = [0, 1, 2, 3].map((i) => (first + i) % 60);
    return { schedule: { EXPORT_SCHEDULE: `${seconds.join(',')} * * * * *` }, lastAt: (first + 3) * 1000 };
  }

  async function expectOneMore(scene: Scene): Promise<void> {
    await scene.until(async () => (await scene.runs())[1]?.outcome === 'succeeded');
    await sleep(1_500);
    expect((await scene.runs()).map(({ outcome }) => outcome)).toEqual(['succeeded', 'succeeded']);
  }

  test.concurrent(
    'when the process was stopped',
    withScene(async (scene) => {
      const { schedule, lastAt } = fourTicks();
      await scene.start(schedule);
      await scene.untilSucceeded();
      scene.program!.kill('SIGSTOP');
      // Reads the clock: until the ticks have passed.
      await sleep(lastAt + 2_500 - Date.now());
      expect(await scene.runs()).toHaveLength(1);
      scene.program!.kill('SIGCONT');
      await expectOneMore(scene);
    }),
  );

  test.concurrent(
    'when a run took longer',
    withScene(async (scene) => {
      const { simulator } = scene;
      const { schedule, lastAt } = fourTicks();
      // Of two answers: the token's and the list's.
      // Reads the clock: until the ticks have passed.
      simulator.set({ latencyMs: (lastAt + 1_000 - Date.now()) / 2 });
      await scene.start(schedule);
      await scene.until(async () => simulator.counts.list > 0);
      simulator.set({ latencyMs: 0 });
      await expectOneMore(scene);
      expect((await scene.runs())[1]!.started_at.getTime()).toBeGreaterThan(lastAt);
    }),
  );
});
