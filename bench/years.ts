/** Years of events of one organization, loaded once for the sections that query or change them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Database } from './database.ts';
import { loadOrganization } from './load-organization.ts';
import { formatNumber, formatSpread } from './present.ts';
import type { Scene } from './scene.ts';
import { type Spread, spreadOf } from './statistics.ts';

const ATTEMPTS = { full: 15, short: 1 };
export const READER = 'audit_reader';

export interface Years {
  database: Database;
  loaded: { rows: number; seconds: number };
}

/** Dropped with the server. The last section that uses it may change rows. */
export function years(scene: Scene): Promise<Years> {
  return scene.once('years', async () => {
    const database = await scene.server.createDatabase();
    const loaded = await loadOrganization(database.url, scene.options.biEvents);
    scene.report(`${formatNumber(loaded.rows)} events stored in ${loaded.seconds.toFixed(1)} s`);
    // As autovacuum leaves the tables some minutes after a load.
    await database.query('vacuum analyze');
    await database.checkpoint();
    return { database, loaded };
  });
}

export interface Timed {
  milliseconds: Spread;
  /** CPU time of the server per query; `undefined` where it is not on this machine. */
  cpuMilliseconds: number | undefined;
  rows: number;
}

/** The cells of a query in a table: title, milliseconds, CPU milliseconds, rows. */
export function timedCells({
  title,
  milliseconds,
  cpuMilliseconds,
  rows,
}: Timed & { title: string }): (string | undefined)[] {
  return [
    title,
    formatSpread(milliseconds, 1),
    cpuMilliseconds === undefined ? undefined : formatNumber(cpuMilliseconds, 1),
    formatNumber(rows),
  ];
}

/** Runs each query as a reader, some times as it is and once for its plan. Writes the plans to a file beside the figures. */
export async function timeQueries<Query extends { title: string; sql: string }>(
  scene: Scene,
  { query }: Database,
  { queries, plansName }: { queries: readonly Query[]; plansName: string },
): Promise<{ timed: (Query & Timed)[]; plansFile: string }> {
  const timed: (Query & Timed)[] = [];
  const plans: string[] = [];
  await query(`set role ${READER}`);
  for (const one of queries) {
    // Fills the caches.
    const rows = (await query(one.sql)).length;
    const milliseconds: number[] = [];
    const cpuBefore = await scene.server.cpuSeconds();
    for (let time = 0; time < ATTEMPTS[scene.options.isShort ? 'short' : 'full']; time++) {
      const startedAt = performance.now();
      await query(one.sql);
      milliseconds.push(performance.now() - startedAt);
    }
    const cpuAfter = await scene.server.cpuSeconds();
    const cpuMilliseconds =
      cpuBefore === undefined || cpuAfter === undefined
        ? undefined
        : (1000 * (cpuAfter - cpuBefore)) / milliseconds.length;
    const spread = spreadOf(milliseconds);
    timed.push({ ...one, milliseconds: spread, cpuMilliseconds, rows });
    const plan = await query<{ 'QUERY PLAN': string }>(`explain (analyze, buffers) ${one.sql}`);
    const lines = plan.map((line) => line['QUERY PLAN']).join('\n');
    plans.push(`${one.title}\n\n${one.sql}\n\n${spread.median.toFixed(1)} ms\n\n${lines}\n`);
  }
  await query('reset role');
  const plansFile = join(dirname(scene.options.json), plansName);
  await mkdir(dirname(plansFile), { recursive: true });
  await writeFile(plansFile, plans.join('\n'));
  if (scene.options.plans) process.stdout.write(`${plans.join('\n')}\n`);
  return { timed, plansFile };
}
