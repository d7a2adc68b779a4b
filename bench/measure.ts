/** One process at work, and what it cost everybody. */
import type { Database } from './database.ts';
import type { Usage } from './processes.ts';
import { MAIN, type Scene } from './scene.ts';
import type { SimulatorProcess } from './simulator.ts';

/** What is taken part in; whoever is left out is not looked at. */
export interface Parties {
  simulator?: SimulatorProcess;
  database?: Database;
  /** More variables, or others, for the process. */
  environment?: Record<string, string>;
  /** Another copy of the program. */
  main?: string;
}

export interface Measured {
  /** The JSON it printed. */
  output: unknown;
  /** Of the whole process, start and end included. */
  processSeconds: number;
  /** Of the process. */
  client: Usage;
  simulatorCpuSeconds: number | undefined;
  databaseCpuSeconds: number | undefined;
  walBytes: number | undefined;
}

/** The worker's command, with --json. */
export function measureWorker(scene: Scene, args: readonly string[], parties: Parties): Promise<Measured> {
  return measureScript(scene, parties.main ?? MAIN, [...args, '--json'], parties);
}

/** Throws, with its last words, when the script does not end with 0. */
export async function measureScript(
  scene: Scene,
  script: string,
  args: readonly string[],
  parties: Parties,
): Promise<Measured> {
  const { simulator, database } = parties;
  const look = async () => ({
    simulator: (await simulator?.look())?.cpuSeconds,
    database: database && (await scene.server.cpuSeconds()),
    wal: await database?.walBytes(),
  });
  const before = await look();
  const started = await scene.start(script, args, environmentOf(parties));
  const { code, stdout, stderr, seconds, usage } = await started.ended;
  const after = await look();
  if (code !== 0 || !usage)
    throw new Error(`${script} ${args.join(' ')} ended with ${code}:\n${stderr.slice(-2000)}`);
  return {
    output: JSON.parse(stdout),
    processSeconds: seconds,
    client: usage,
    simulatorCpuSeconds: minus(after.simulator, before.simulator),
    databaseCpuSeconds: minus(after.database, before.database),
    walBytes: minus(after.wal, before.wal),
  };
}

/** Leads a worker, or whoever reads its variables, to simulator and database. */
export function environmentOf({ simulator, database, environment }: Parties): Record<string, string> {
  return {
    ...simulator?.environment,
    ...(database && { DATABASE_URL: database.url }),
    STATUS_PORT: '0',
    EXPORT_RECHECK_SCHEDULE: 'off',
    ...environment,
  };
}

function minus(after: number | undefined, before: number | undefined): number | undefined {
  return after === undefined || before === undefined ? undefined : after - before;
}
