/** `start` as a process behind a simulator and a database proxy, for tests of what it does while one of them is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from './database.ts';
import { environmentFor, type Program, startProgram } from './program.ts';
import { createDatabaseProxy, type DatabaseProxy } from './proxy.ts';

interface Run {
  outcome: string | null;
  error: string | null;
  started_at: Date;
}

export const EVERY_SECOND = { EXPORT_SCHEDULE: '* * * * * *' };
export const SLOWLY = { EXPORT_PAGE_SIZE: '10', EXPORT_CONCURRENCY: '1' };

let database: TestDatabase;
let sql: pg.Pool;
let organizations = 0;

/** To be called once in a test file that uses `withScene`. */
export function openOutages(): void {
  beforeAll(async () => {
    database = await createMigratedDatabase();
    sql = new pg.Pool({ connectionString: database.url });
  });
  afterAll(async () => {
    await sql.end();
    await database.drop();
  });
}

/** A test of its own organization, simulator, proxy and worker, so that several can wait at the same time. */
export function withScene(work: (scene: Scene) => Promise<void>): () => Promise<void> {
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

export class Scene {
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
