/**
 * Looks at one run after another. Within `start` the schedule is every second, on the second; a look is taken half-way
 * between two, so that what changed from one look to the next is one run's doing. Where a slow machine put none or two
 * between them, the pair is dropped.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database.ts';
import { assertStored } from '../loads.ts';
import { environmentOf, measureWorker } from '../measure.ts';
import { cpuSecondsOf, type Started } from '../processes.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { SimulatorProcess } from '../simulator.ts';

export const NEW_EVENTS = 100;

export interface Place {
  simulator: SimulatorProcess;
  database: Database;
}

export interface Observed {
  list: number;
  token: number;
  milliseconds: number;
  cpuSeconds: number | undefined;
  walBytes: number;
}

export interface Watched {
  quiet: Observed[];
  /** With new events. */
  fresh: Observed[];
  /** Rows that a quiet run inserted or updated, by table. */
  written: Record<string, number>;
}

const WANTED = {
  full: { quiet: 20, fresh: 10, oneOff: 3 },
  short: { quiet: 2, fresh: 1, oneOff: 1 },
};
const FIRST_LOOKS = 1;
const PERIOD_MS = 1000;
/** So many looks for each run that is wanted, on a machine too slow for one a second. */
const PATIENCE = 5;
const FIRST_RUN_MS = 60_000;

/** As many quiet runs of `start` as are wanted, and then as many with new events. */
export async function watchSchedule(scene: Scene, place: Place): Promise<Watched> {
  const wanted = WANTED[scene.options.isShort ? 'short' : 'full'];
  const environment = { EXPORT_SCHEDULE: '* * * * * *' };
  const worker = await scene.start(MAIN, ['start'], environmentOf({ ...place, environment }));
  await waitForFirstRun(place, worker);
  const view = { place, worker };
  for (let looks = 0; looks < FIRST_LOOKS; looks++) await look(view);
  const before = await readWritten(place.database);
  const quiet = await observe(view, wanted.quiet, 0);
  const after = await readWritten(place.database);
  const fresh = await observe(view, wanted.fresh, NEW_EVENTS);
  worker.kill('SIGTERM');
  const { code, stderr } = await worker.ended;
  if (code !== 0) throw new Error(`start ended with ${code} after SIGTERM:\n${stderr.slice(-2000)}`);
  await assertStored(place.database, (await place.simulator.look()).length);
  const durations = readDurations(stderr);
  const finish = ({ runId, ...seen }: Seen): Observed => ({ ...seen, milliseconds: durations.get(runId)! });
  return { quiet: quiet.map(finish), fresh: fresh.map(finish), written: perRun(before, after) };
}

/** The same by a process a run. */
export async function watchOneOffs(scene: Scene, place: Place): Promise<Pick<Watched, 'quiet' | 'fresh'>> {
  const { oneOff } = WANTED[scene.options.isShort ? 'short' : 'full'];
  const run = async (news: number): Promise<Observed> => {
    const before = await place.simulator.ask({ append: news });
    const measured = await measureWorker(scene, ['run'], place);
    const { counts } = await place.simulator.look();
    await assertStored(place.database, before.length);
    return {
      list: counts.list - before.counts.list,
      token: counts.token - before.counts.token,
      milliseconds: (measured.output as { durationMs: number }).durationMs,
      cpuSeconds: measured.client.cpuSeconds,
      walBytes: measured.walBytes!,
    };
  };
  const watched = { quiet: [] as Observed[], fresh: [] as Observed[] };
  for (let number = 0; number < oneOff; number++) watched.quiet.push(await run(0));
  for (let number = 0; number < oneOff; number++) watched.fresh.push(await run(NEW_EVENTS));
  return watched;
}

interface View {
  place: Place;
  worker: Started;
}

interface Look {
  runs: number;
  newestRun: string;
  inserted: number;
  list: number;
  token: number;
  cpuSeconds: number | undefined;
  walBytes: number;
}

type Seen = Omit<Observed, 'milliseconds'> & { runId: string };

async function observe(view: View, wanted: number, news: number): Promise<Seen[]> {
  const seen: Seen[] = [];
  let before = await look(view);
  for (let tries = 0; seen.length < wanted && tries < wanted * PATIENCE; tries++) {
    if (news > 0) await view.place.simulator.ask({ append: news });
    const now = await look(view);
    if (now.runs === before.runs + 1 && now.inserted === news) seen.push(between(before, now));
    before = now;
  }
  if (seen.length === 0)
    throw new Error('no second had one whole run in it: the machine is too slow for this section');
  return seen;
}

function between(before: Look, now: Look): Seen {
  const isTimed = now.cpuSeconds !== undefined && before.cpuSeconds !== undefined;
  return {
    runId: now.newestRun,
    list: now.list - before.list,
    token: now.token - before.token,
    cpuSeconds: isTimed ? now.cpuSeconds! - before.cpuSeconds! : undefined,
    walBytes: now.walBytes - before.walBytes,
  };
}

/** Half-way between two runs. */
async function look({ place, worker }: View): Promise<Look> {
  await sleep(PERIOD_MS - ((Date.now() + PERIOD_MS / 2) % PERIOD_MS));
  if (worker.hasEnded()) throw new Error(`start ended:\n${(await worker.ended).stderr.slice(-2000)}`);
  const { counts } = await place.simulator.look();
  const [run] = await place.database.query<{ runs: number; newest: string; inserted: string }>(
    `select count(*) over ()::int as runs, run_id as newest, rows_inserted as inserted
     from audit.runs where ended_at is not null order by run_id desc limit 1`,
  );
  return {
    runs: run!.runs,
    newestRun: run!.newest,
    inserted: Number(run!.inserted),
    list: counts.list,
    token: counts.token,
    cpuSeconds: await cpuSecondsOf(worker.pid),
    walBytes: await place.database.walBytes(),
  };
}

async function waitForFirstRun({ database }: Place, worker: Started): Promise<void> {
  const giveUpAt = performance.now() + FIRST_RUN_MS;
  for (;;) {
    const runs = await database.query(`select from audit.runs where kind = 'run' and outcome = 'succeeded'`);
    if (runs.length > 0) return;
    if (worker.hasEnded() || performance.now() > giveUpAt) {
      worker.kill('SIGKILL');
      throw new Error(`start made no run:\n${(await worker.ended).stderr.slice(-2000)}`);
    }
    await sleep(100);
  }
}

interface Written {
  runs: number;
  tables: Record<string, number>;
}

async function readWritten({ query }: Database): Promise<Written> {
  const tables = await query<{ name: string; written: string }>(
    `select schemaname || '.' || relname as name, n_tup_ins + n_tup_upd + n_tup_del as written from pg_stat_user_tables`,
  );
  const [runs] = await query<{ count: number }>('select count(*)::int as count from audit.runs');
  return {
    runs: runs!.count,
    tables: Object.fromEntries(tables.map(({ name, written }) => [name, Number(written)])),
  };
}

function perRun(before: Written, after: Written): Record<string, number> {
  const runs = after.runs - before.runs;
  const grown = Object.entries(after.tables).map(
    ([name, written]) => [name, (written - (before.tables[name] ?? 0)) / runs] as const,
  );
  return Object.fromEntries(grown.filter(([, written]) => written > 0));
}

/** By run, from the line each run logs at its end. */
function readDurations(log: string): Map<string, number> {
  const durations = new Map<string, number>();
  for (const line of log.split('\n').filter((text) => text.startsWith('{'))) {
    const { run, durationMs } = JSON.parse(line);
    if (run !== undefined && durationMs !== undefined) durations.set(String(run), durationMs);
  }
  return durations;
}
