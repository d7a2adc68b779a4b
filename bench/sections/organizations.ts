/** Several organizations over one, two and four worker processes; and what becomes of them when one process is killed. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database.ts';
import { peakBytesOf, startWorkers, withOrganizations } from '../organizations.ts';
import { formatNumber, type Target, type View } from '../present.ts';
import type { Started } from '../processes.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';

const SIZES = {
  full: { count: 20, events: 3_000, latencyMs: 500, processes: [1, 2, 4] },
  short: { count: 6, events: 500, latencyMs: 50, processes: [1, 2] },
};
/** One request at a time: the time goes into waiting for the source, and not into processors that all share. */
const PAGE_SIZE = 250;
const PARALLEL = 2;
const WORKER = {
  EXPORT_PAGE_SIZE: String(PAGE_SIZE),
  EXPORT_CONCURRENCY: '1',
  EXPORT_PARALLEL_ORGANIZATIONS: String(PARALLEL),
  // Not before everything is over.
  EXPORT_SCHEDULE: '0 0 1 1 *',
};
const TICK_SECONDS = 5;
/** In which a process that was killed is replaced by the others at their next tick. */
const TICKING = { ...WORKER, EXPORT_SCHEDULE: `*/${TICK_SECONDS} * * * * *` };
const GIVE_UP_SECONDS = 600;

interface Played {
  processes: number;
  seconds: number;
  /** Organizations that each process completed, most first. */
  shares: number[];
  stored: number;
  faults: Faults;
  peakBytes: number[];
  killed?: { afterSeconds: number; completed: number; open: number };
}

/** Of what must never be. */
interface Faults {
  /** Organizations of which not every event is stored once. */
  incomplete: number;
  /** Events that were inserted and are not there, or were inserted twice. */
  miscounted: number;
  /** Pairs of runs of one organization that overlap. */
  overlaps: number;
}

export const organizationsSection: Section = {
  name: 'organizations',
  async measure(scene) {
    const { processes, ...size } = SIZES[scene.options.isShort ? 'short' : 'full'];
    const played = await withOrganizations(scene, size, async (environment) => {
      const shared: Played[] = [];
      for (const count of processes)
        shared.push(
          await play(scene, { ...size, processes: count, environment: { ...environment, ...WORKER } }),
        );
      const most = processes.at(-1)!;
      const ticking = { ...environment, ...TICKING };
      shared.push(await play(scene, { ...size, processes: most, environment: ticking, shouldKill: true }));
      return shared;
    });
    return {
      views: [viewOf(played, size.count)],
      targets: targetsOf(played),
      notes: [
        `${size.count} organizations of ${formatNumber(size.events)} events, ${size.latencyMs} ms a request, pages of ${PAGE_SIZE}, one request at a time,`,
        `${PARALLEL} organizations at once a process. Seconds are from the start of the processes to the last organization's success.`,
        `With -1, a process was killed (kill -9) when half of the organizations were complete; the schedule struck every ${TICK_SECONDS} s.`,
      ],
      figures: played,
    };
  },
};

interface Plan {
  processes: number;
  count: number;
  events: number;
  environment: Record<string, string>;
  shouldKill?: boolean;
}

function play(scene: Scene, plan: Plan): Promise<Played> {
  return scene.withDatabase(async (database) => {
    const startedAt = performance.now();
    const seconds = () => (performance.now() - startedAt) / 1000;
    const workers = await startWorkers(scene, { ...plan, count: plan.processes, database });
    const completed = () => countCompleted(database);
    let killed: Played['killed'];
    try {
      if (plan.shouldKill) {
        await until(async () => (await completed()) >= plan.count / 2, workers);
        killed = {
          afterSeconds: seconds(),
          completed: await completed(),
          open: await killOne(database, workers),
        };
      }
      await until(async () => (await completed()) === plan.count, workers);
      const took = seconds();
      const peaks = await Promise.all(workers.map(peakBytesOf));
      const played: Played = {
        processes: plan.processes,
        seconds: took,
        shares: await readShares(database),
        stored: await countStored(database),
        faults: await findFaults(database, plan.events),
        peakBytes: peaks.flatMap((peak) => peak ?? []),
        ...(killed && { killed }),
      };
      scene.report(`${nameOf(played)}: ${took.toFixed(1)} s, shares ${played.shares.join(' ')}`);
      return played;
    } finally {
      for (const worker of workers) worker.kill('SIGTERM');
      await Promise.all(workers.map(({ ended }) => ended));
    }
  });
}

/** Kills a process in the middle of its runs; says how many those were. */
async function killOne(database: Database, workers: readonly Started[]): Promise<number> {
  for (;;) {
    const rows = await database.query<{ worker: string; runs: number }>(
      `select worker, count(*)::int as runs from audit.runs where outcome is null and rows_inserted > 0
       group by worker order by runs desc`,
    );
    const victim = workers.find(({ pid }) => rows[0]?.worker.endsWith(` ${pid}`));
    if (victim) {
      victim.kill('SIGKILL');
      return rows[0]!.runs;
    }
    await sleep(10);
  }
}

async function countCompleted({ query }: Database): Promise<number> {
  const [row] = await query<{ count: number }>(
    `select count(distinct organization)::int as count from audit.runs where outcome = 'succeeded'`,
  );
  return row!.count;
}

async function countStored({ query }: Database): Promise<number> {
  const [row] = await query<{ count: number }>('select count(*)::int as count from audit.events');
  return row!.count;
}

async function readShares({ query }: Database): Promise<number[]> {
  const rows = await query<{ organizations: number }>(
    `select count(*)::int as organizations
     from (select distinct on (organization) worker from audit.runs where outcome = 'succeeded'
           order by organization, run_id) as first
     group by worker order by 1 desc`,
  );
  return rows.map(({ organizations }) => organizations);
}

async function findFaults({ query }: Database, events: number): Promise<Faults> {
  const [row] = await query<{ incomplete: number; miscounted: number; overlaps: number }>(
    `select
       (select count(*)::int from audit.watermarks w
        where (select count(*) from audit.events e where e.organization = w.organization) <> $1) as incomplete,
       (select coalesce(sum(abs(inserted - stored)), 0)::int
        from (select organization, sum(rows_inserted) as inserted from audit.runs group by organization) as r
        join (select organization, count(*) as stored from audit.events group by organization) as e
          using (organization)) as miscounted,
       (select count(*)::int from audit.runs a join audit.runs b on a.organization = b.organization
        and a.run_id < b.run_id and b.started_at < a.ended_at) as overlaps`,
    [events],
  );
  return row!;
}

async function until(condition: () => Promise<boolean>, workers: readonly Started[]): Promise<void> {
  const giveUpAt = performance.now() + GIVE_UP_SECONDS * 1000;
  while (!(await condition())) {
    if (workers.every((worker) => worker.hasEnded())) {
      const { stderr } = await workers[0]!.ended;
      throw new Error(`the workers ended:\n${stderr.slice(-2000)}`);
    }
    if (performance.now() > giveUpAt) throw new Error(`not complete after ${GIVE_UP_SECONDS} s`);
    await sleep(100);
  }
}

function nameOf({ processes, killed }: Played): string {
  const name = `${processes} process${processes === 1 ? '' : 'es'}`;
  return killed ? `${name}, -1` : name;
}

function viewOf(played: readonly Played[], count: number): View {
  const alone = played[0]!;
  return {
    title: `${count} organizations, shared out`,
    head: [
      '',
      'seconds',
      'times as fast',
      'organizations by process',
      'events stored',
      'lost, doubled, overlapping',
      'peak MB',
    ],
    rows: played.map((each) => [
      nameOf(each),
      formatNumber(each.seconds, 1),
      each.killed ? undefined : formatNumber(alone.seconds / each.seconds, 2),
      each.shares.join(' '),
      formatNumber(each.stored),
      Object.values(each.faults).join(', '),
      each.peakBytes.map((bytes) => formatNumber(bytes / 1e6)).join(' '),
    ]),
  };
}

function targetsOf(played: readonly Played[]): Target[] {
  const alone = played[0]!;
  const shared = played.filter(({ killed, processes }) => !killed && processes > 1);
  const faults = played.flatMap((each) => Object.values(each.faults));
  return [
    ...shared.map(({ processes, seconds }) => ({
      what: `${processes} processes, times as fast as one`,
      wanted: `at least ${formatNumber(processes * 0.7, 1)}`,
      found: formatNumber(alone.seconds / seconds, 2),
      isMet: alone.seconds / seconds >= processes * 0.7,
    })),
    {
      what: 'organizations with a lost or doubled event, or overlapping runs',
      wanted: '0',
      found: formatNumber(faults.reduce((sum, count) => sum + count, 0)),
      isMet: faults.every((count) => count === 0),
    },
  ];
}
