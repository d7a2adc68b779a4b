/** What all sections share: the server, the simulators, the processes; and how nothing of it is left behind. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../test/support/root.ts';
import { type Database, openServer, type Server } from './database.ts';
import type { Options } from './options.ts';
import { type Started, startScript } from './processes.ts';
import { type SimulatedList, type SimulatorProcess, startSimulator } from './simulator.ts';

export interface Scene {
  options: Options;
  server: Server;
  /** For files of a section; removed at the end. */
  directory: string;
  /** Says on standard error what goes on. */
  report(line: string): void;
  simulate(list: SimulatedList): Promise<SimulatorProcess>;
  /** The list of `options.events` typical events that most sections read; nobody appends to it. */
  source(): Promise<SimulatorProcess>;
  /** A database for `work`, without a row. */
  withDatabase<T>(work: (database: Database) => Promise<T>): Promise<T>;
  /** The same without tables. */
  withEmptyDatabase<T>(work: (database: Database) => Promise<T>): Promise<T>;
  /** Starts a script, and ends it with the scene if it has not ended by then. */
  start(script: string, args: readonly string[], environment: Record<string, string>): Promise<Started>;
  /** What several sections need is made once, when the first asks for it. */
  once<T>(name: string, make: () => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** For sections that need no warm-up of their own to show that they work. */
export function roundsOf({ options }: Pick<Scene, 'options'>): { rounds: number; isWarm: boolean } {
  return { rounds: options.rounds, isWarm: options.isShort };
}

export const MAIN = join(ROOT, 'dist', 'main.js');

export async function openScene(options: Options, report: (line: string) => void): Promise<Scene> {
  const directory = await mkdtemp(join(tmpdir(), 'audit-bench-'));
  const running = new Set<Started>();
  const simulators = new Set<SimulatorProcess>();
  const made = new Map<string, Promise<unknown>>();
  let server: Server | undefined;

  const start: Scene['start'] = async (script, args, environment) => {
    const started = await startScript(script, args, environment);
    running.add(started);
    void started.ended.finally(() => running.delete(started)).catch(() => {});
    return started;
  };
  const simulate: Scene['simulate'] = async (list) => {
    const simulator = await startSimulator(list);
    simulators.add(simulator);
    return simulator;
  };
  const once: Scene['once'] = <T>(name: string, make: () => Promise<T>) => {
    if (!made.has(name)) made.set(name, make());
    return made.get(name) as Promise<T>;
  };
  const migrate = async (url: string) => {
    const { code, stderr } = await (await start(MAIN, ['migrate'], { DATABASE_URL: url })).ended;
    if (code !== 0) throw new Error(`migrate ended with ${code}:\n${stderr}`);
  };
  const close = async () => {
    for (const started of running) {
      started.kill('SIGKILL');
      await started.ended;
    }
    for (const simulator of simulators) await simulator.close();
    await server?.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const given = process.env.DATABASE_URL;
    server = await openServer({
      ...{ given, directory: join(directory, 'postgres'), migrate },
      // The short form makes a database every other second, and waits for no disk.
      settings: options.isShort ? { fsync: 'off' } : {},
    });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ...{ options, server, directory, report, simulate, start, once, close },
    source: () => once('source', () => simulate({ events: options.events, prerender: true })),
    withDatabase: (work) => server.createDatabase().then(usedFor(work)),
    withEmptyDatabase: (work) => server.createEmptyDatabase().then(usedFor(work)),
  };
}

/** Drops the database afterwards. */
function usedFor<T>(work: (database: Database) => Promise<T>): (database: Database) => Promise<T> {
  return async (database) => {
    try {
      return await work(database);
    } finally {
      await database.drop();
    }
  };
}
