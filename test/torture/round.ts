/**
 * One round: an organization of its own, the real program, and a database of its own. A fault gets the round and plays
 * itself by these means.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { below, pick, type Random } from '../../src/simulator/random.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import { environmentFor, type Program } from '../support/program.ts';
import type { Cluster } from './cluster.ts';
import { Mover } from './mover.ts';
import type { Scenario } from './scenario.ts';
import type { Workshop } from './workshop.ts';

/** The fault came too late or changed nothing: the round says nothing and is played again. */
export class Missed extends Error {}

/** Longer than anything a round waits for on a slow machine. */
const PATIENCE_MS = 30_000;
const POLL_MS = 4;

export type Command = 'run' | 'start' | 'backfill';

export interface RunRow {
  run_id: string;
  outcome: string | null;
  error: string | null;
  worker: string;
  rows_read: string;
  rows_inserted: string;
}

interface Parts {
  random: Random;
  scenario: Scenario;
  simulator: Simulator;
  cluster: Cluster;
  workshop: Workshop;
  pool: pg.Pool;
  url: string;
}

export class Round {
  /** Promises broken, in words. */
  readonly broken: string[] = [];
  /** What happened in which way, to be counted over all rounds. */
  readonly notes: string[] = [];
  /** From the fault's end to the next commit. */
  recoveryMs: number | undefined;
  readonly programs: Program[] = [];
  /** Until then a replica lagged: what runs said that began before may be false, and heals. */
  laggedUntil: number | undefined;
  /** When the list was replaced by another one. No run may say "complete" afterwards. */
  replacedAt: number | undefined;
  /** The states of audit.completeness that are right at the end. */
  endings: readonly string[] = ['complete'];
  #fault: { endedAt: number; runId: string; progress: string } | undefined;
  #pagesBefore = 0;

  readonly mover: Mover;

  constructor(private readonly parts: Parts) {
    this.mover = new Mover(parts.simulator, parts.random, parts.scenario.spacingMs);
  }

  get simulator(): Simulator {
    return this.parts.simulator;
  }

  get scenario(): Scenario {
    return this.parts.scenario;
  }

  get cluster(): Cluster {
    return this.parts.cluster;
  }

  get workshop(): Workshop {
    return this.parts.workshop;
  }

  /** The harness's own connections to the round's database. */
  get pool(): pg.Pool {
    return this.parts.pool;
  }

  private get random(): Random {
    return this.parts.random;
  }

  get environment(): Record<string, string> {
    return { ...environmentFor(this.simulator, this.parts.url), ...this.scenario.environment };
  }

  /** A whole number of milliseconds, or of anything, from `from` to `to`. */
  draw(from: number, to: number): number {
    return from + below(this.random, to - from + 1);
  }

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return pick(this.random, items);
  }

  demand(isKept: boolean, promise: string): void {
    if (!isKept) this.broken.push(promise);
  }

  /** Starts the program; without `command`, with the one this round has drawn. */
  start(command: string = this.scenario.command, environment: Record<string, string> = {}): Program {
    const program = this.workshop.start([command], { ...this.environment, ...environment });
    this.programs.push(program);
    return program;
  }

  /** Starts the worker of the round, lets the list move if this round's does, and waits until pages are being read. */
  async startReading(environment: Record<string, string> = {}): Promise<Program> {
    this.#pagesBefore = this.simulator.counts.list;
    const worker = this.start(undefined, environment);
    await this.reachPages(0.03 + 0.75 * this.random());
    if (this.scenario.moves) this.mover.start();
    return worker;
  }

  /** Waits until about this share of the pages was asked for, and a moment more. */
  async reachPages(share: number): Promise<void> {
    const target = this.#pagesBefore + Math.ceil(share * this.scenario.pagesToRead);
    await this.until(() => this.simulator.counts.list >= target, { orEnd: true });
    await sleep(this.draw(0, 12));
  }

  /** Waits for a condition. With `orEnd` the fault was missed when all programs end first. */
  async until(
    condition: () => boolean | Promise<boolean>,
    { orEnd = false, withinMs = PATIENCE_MS, what = 'something' } = {},
  ): Promise<void> {
    const giveUpAt = performance.now() + withinMs;
    for (;;) {
      const isOver = orEnd && this.programs.every((program) => program.hasEnded());
      if (await condition()) return;
      if (isOver) throw new Missed('the processes ended before the fault');
      if (performance.now() > giveUpAt) throw new Error(`waited ${withinMs} ms for ${what} in vain`);
      await sleep(POLL_MS);
    }
  }

  /** Rows of a query on the round's database. */
  async query<T extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<T[]> {
    return (await this.pool.query<T>(text, values)).rows;
  }

  /** Newest first. */
  async runs(): Promise<RunRow[]> {
    return this.query<RunRow>('select * from audit.runs where organization = $1 order by run_id desc', [
      this.simulator.organization,
    ]);
  }

  /** The run under way; the fault was missed where there is none. */
  async openRun(): Promise<RunRow> {
    const newest = (await this.runs())[0];
    if (!newest || newest.outcome !== null) throw new Missed('no run was under way');
    return newest;
  }

  /** Changes with every commit of a page by a run after `runId`, and with nothing else. Empty while the database is away. */
  async progress(runId = '0'): Promise<string> {
    const rows = await this.query<{ progress: string | null }>(
      `select string_agg(concat_ws(':', run_id, rows_read, frontier_ticks), ' ' order by run_id) as progress
       from audit.runs where organization = $1 and run_id > $2 and frontier_ticks is not null`,
      [this.simulator.organization, runId],
    ).catch(() => []);
    return rows[0]?.progress ?? '';
  }

  /** The fault is over now, or was at `at`: from here recovery is measured, to a commit of a run after `runId` if given. */
  async endFault({ at = performance.now(), runId = '0' } = {}): Promise<void> {
    this.#fault = { endedAt: at, runId, progress: await this.progress(runId) };
  }

  /** Waits for the first commit since the fault's end; whenever no process is left, the next one is started at once. */
  async recover(environment: Record<string, string> = {}): Promise<void> {
    const { endedAt, runId, progress } = this.#fault!;
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const now = await this.progress(runId);
      if (now !== '' && now !== progress) break;
      if (performance.now() > giveUpAt) {
        throw new Error(`no commit within ${PATIENCE_MS / 1000} s of the fault's end`);
      }
      if (this.programs.every((program) => program.hasEnded())) this.start(undefined, environment);
      await sleep(POLL_MS);
    }
    this.recoveryMs = performance.now() - endedAt;
  }
}
