/** Several simulated organizations, and worker processes that share them out. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Database } from './database.ts';
import { environmentOf } from './measure.ts';
import type { Started } from './processes.ts';
import { MAIN, type Scene } from './scene.ts';

export interface SimulatedOrganizations {
  count: number;
  /** Each has so many. */
  events: number;
  latencyMs: number;
}

export interface Simulated {
  organization: string;
  url: string;
  clientId: string;
  clientSecret: string;
}

const SCRIPT = fileURLToPath(new URL('./organizations-process.js', import.meta.url));

/** Lets `work` have them, with the variables that lead a worker to all of them. */
export async function withOrganizations<T>(
  scene: Scene,
  options: SimulatedOrganizations,
  work: (environment: Record<string, string>) => Promise<T>,
): Promise<T> {
  const child = fork(SCRIPT, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  try {
    const [simulated] = (await once(child, 'message')) as [Simulated[]];
    const file = join(scene.directory, 'organizations.json');
    const entries = simulated.map(({ organization, url, clientId, clientSecret }) => ({
      UIPATH_ORGANIZATION: organization,
      UIPATH_BASE_URL: url,
      UIPATH_CLIENT_ID: clientId,
      UIPATH_CLIENT_SECRET: clientSecret,
    }));
    await writeFile(file, JSON.stringify(entries));
    return await work({ UIPATH_ORGANIZATIONS_FILE: file });
  } finally {
    child.kill('SIGKILL');
  }
}

/** So many processes of `start`, begun at the same moment. */
export function startWorkers(
  scene: Scene,
  {
    database,
    environment,
    count,
  }: { database: Database; environment: Record<string, string>; count: number },
): Promise<Started[]> {
  const variables = environmentOf({ database, environment: { ...environment, STATUS_PORT: 'off' } });
  return Promise.all(Array.from({ length: count }, () => scene.start(MAIN, ['start'], variables)));
}

/** The most memory that a process has had so far; `undefined` where there is no /proc. */
export async function peakBytesOf({ pid }: Started): Promise<number | undefined> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
