/** A simulated organization in a process of its own, which answers questions beside its requests. */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { AgeRange } from '../src/simulator/changes.ts';
import type { RequestCounts } from '../src/simulator/requests.ts';

/** What it may be told to do; then it tells how it stands. */
export interface Ask {
  append?: number;
  latencyMs?: number;
  /** One event, this much older than the newest one. */
  insertLate?: AgeRange;
  /** The event at this index, the oldest has 0. */
  deleteAt?: number;
}

export interface Look {
  url: string;
  organization: string;
  clientId: string;
  clientSecret: string;
  /** Rows it shows. */
  length: number;
  counts: RequestCounts;
  cpuSeconds: number;
  peakBytes: number;
}

export interface Answer {
  number: number;
  look: Look;
}

export interface SimulatorProcess {
  /** Points a worker at it. */
  environment: Record<string, string>;
  organization: string;
  ask(ask: Ask): Promise<Look>;
  look(): Promise<Look>;
  close(): Promise<void>;
}

export interface SimulatedList {
  events: number;
  /** Renders every page beforehand, so that an answer costs no more than copying it. */
  prerender: boolean;
  /** Approximate size of the details of each event; default: the usual sizes. */
  detailsBytes?: number;
  /** Time of the first event (ISO 8601), and the mean time between two. */
  startAt?: string;
  spacingMs?: number;
}

/** More than a list that is rendered beforehand ever needs here. */
const CACHE_BYTES = 4 * 2 ** 30;
const SCRIPT = fileURLToPath(new URL('./simulator-process.js', import.meta.url));

export async function startSimulator(list: SimulatedList): Promise<SimulatorProcess> {
  const options = { ...list, ...(list.prerender && { cacheBytes: CACHE_BYTES }) };
  const child = fork(SCRIPT, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const waiting = new Map<number, { resolve: (look: Look) => void; reject: (error: Error) => void }>();
  let number = 0;
  const answered = (of: number) =>
    new Promise<Look>((resolve, reject) => waiting.set(of, { resolve, reject }));
  const ended = new Promise<void>((resolve) => {
    child.on('exit', (code, signal) => {
      for (const { reject } of waiting.values())
        reject(new Error(`the simulator ended with ${code ?? signal}`));
      resolve();
    });
  });
  child.on('message', ({ number: of, look }: Answer) => {
    waiting.get(of)?.resolve(look);
    waiting.delete(of);
  });
  const { url, organization, clientId, clientSecret } = await answered(0);
  const ask = (given: Ask) => {
    number++;
    child.send({ number, ...given });
    return answered(number);
  };
  return {
    environment: {
      UIPATH_BASE_URL: url,
      UIPATH_ORGANIZATION: organization,
      UIPATH_CLIENT_ID: clientId,
      UIPATH_CLIENT_SECRET: clientSecret,
    },
    organization,
    ask,
    look: () => ask({}),
    async close() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
