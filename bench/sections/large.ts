/**
 * One very long log, read from its source once: what a run, a dashboard and a look at the state cost beside so many events.
 * On request, with `--bi-events`: 50,000,000 events take some 40 minutes and 30 GB.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readQuestions } from '../../test/support/questions.ts';
import { backfill, type Load, peakMegabytes } from '../loads.ts';
import { environmentOf, measureWorker } from '../measure.ts';
import { formatBytes, formatNumber, formatSpread, type Target, type View } from '../present.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { spreadOf } from '../statistics.ts';
import { type Timed, timedCells, timeQueries } from '../years.ts';
import { NEW_EVENTS, type Place } from './quiet-runs.ts';

/** The events lie between these, in the past. The questions of docs/bi.md ask about the years after: they are moved. */
const FIRST_AT = Date.UTC(2023, 0, 1);
const LAST_AT = Date.UTC(2026, 0, 1);
const YEARS = [2024, 2026, 2027];
const DAY_MS = 86_400_000;
const LATE_MS = 200 * DAY_MS;
const TIMES = 3;
const STATUS_PORT = 18_080;
const WANTED_MS = { dashboard: 50, 'drill-down': 300 };

const STATE_QUERIES = [
  { title: 'bi.export_health', kind: 'dashboard' as const, sql: 'select * from bi.export_health' },
];

interface Run {
  what: string;
  requests: number;
  inserted: number;
  milliseconds: number;
  cpuSeconds: number;
  databaseCpuSeconds: number | undefined;
  walBytes: number;
  completeness: string | null;
}

interface Look {
  what: string;
  milliseconds: number[];
}

type Answered = Timed & { title: string; kind: 'dashboard' | 'drill-down'; sql: string };

export const largeSection: Section = {
  name: 'large',
  async measure(scene) {
    const events = scene.options.biEvents;
    const spacingMs = (LAST_AT - FIRST_AT) / events;
    const simulator = await scene.simulate({
      ...{ events, prerender: false, startAt: new Date(FIRST_AT).toISOString(), spacingMs },
    });
    const database = await scene.server.createDatabase();
    const place = { simulator, database };
    scene.report(`loading ${formatNumber(events)} events`);
    const load = await backfill(scene, place);
    scene.report(
      `${load.seconds.toFixed(0)} s, ${formatNumber(load.rows / load.seconds)} rows/s; vacuum analyze`,
    );
    await database.query('vacuum analyze');
    await database.checkpoint();
    const runs = await playRuns(scene, place);
    const looks = await lookAtState(scene, place);
    const { timed, plansFile } = await timeQueries(scene, database, {
      queries: [...readQuestions().map(aYearEarlier), ...STATE_QUERIES],
      plansName: 'large-plans.txt',
    });
    const [size] = await database.query<{ bytes: string }>(
      'select pg_database_size(current_database()) as bytes',
    );
    return {
      views: [viewOfRuns(load, runs), viewOfLooks(looks), viewOfAnswers(timed)],
      targets: targetsOf(timed),
      notes: [
        `The load: ${formatNumber(load.rows / load.seconds)} rows/s, at most ${formatNumber(peakMegabytes(load))} MB; the database has ${formatBytes(Number(size!.bytes))}.`,
        `Each run is a process of its own, with EXPORT_SETTLE=0s. The plans are in ${plansFile}.`,
      ],
      figures: { load, runs, looks, timed, databaseBytes: Number(size!.bytes) },
    };
  },
};

function aYearEarlier<Query extends { sql: string }>(query: Query): Query {
  const sql = YEARS.reduce((text, year) => text.replaceAll(`'${year}-`, `'${year - 1}-`), query.sql);
  return { ...query, sql };
}

async function playRuns(scene: Scene, place: Place): Promise<Run[]> {
  const runs: Run[] = [];
  const play = async (what: string) => {
    for (let time = 0; time < TIMES; time++) {
      if (what === 'new') await place.simulator.ask({ append: NEW_EVENTS });
      if (what === 'late')
        await place.simulator.ask({ insertLate: { fromMs: LATE_MS, toMs: LATE_MS + 1000 } });
      runs.push(await run(scene, place, what));
      scene.report(`${what}: ${runs.at(-1)!.milliseconds} ms, ${runs.at(-1)!.requests} requests`);
    }
  };
  for (const what of ['quiet', 'new', 'late']) await play(what);
  return runs;
}

async function run(scene: Scene, place: Place, what: string): Promise<Run> {
  const before = await place.simulator.look();
  const environment = { EXPORT_SETTLE: '0s' };
  const measured = await measureWorker(scene, ['run'], { ...place, environment });
  const after = await place.simulator.look();
  const output = measured.output as { durationMs: number; counters: { inserted: number } };
  const [row] = await place.database.query<{ completeness: string | null }>(
    'select completeness from audit.runs order by run_id desc limit 1',
  );
  return {
    what,
    requests: after.counts.list - before.counts.list,
    inserted: output.counters.inserted,
    milliseconds: output.durationMs,
    cpuSeconds: measured.client.cpuSeconds,
    databaseCpuSeconds: measured.databaseCpuSeconds,
    walBytes: measured.walBytes!,
    completeness: row!.completeness,
  };
}

/** `status` as a command, and the pages of `start`. */
async function lookAtState(scene: Scene, place: Place): Promise<Look[]> {
  const status: number[] = [];
  for (let time = 0; time < TIMES; time++)
    status.push((await measureWorker(scene, ['status'], place)).processSeconds * 1000);
  const environment = {
    STATUS_PORT: String(STATUS_PORT),
    STATUS_HOST: '127.0.0.1',
    EXPORT_ON_START: 'false',
  };
  const worker = await scene.start(MAIN, ['start'], environmentOf({ ...place, environment }));
  const looks: Look[] = [{ what: 'status (whole process)', milliseconds: status }];
  for (const path of ['/', '/readyz', '/metrics']) {
    const milliseconds: number[] = [];
    while (milliseconds.length < TIMES) {
      const startedAt = performance.now();
      const response = await fetch(`http://127.0.0.1:${STATUS_PORT}${path}`).catch(() => undefined);
      await response?.text();
      if (response) milliseconds.push(performance.now() - startedAt);
      else if (worker.hasEnded())
        throw new Error(`start ended:\n${(await worker.ended).stderr.slice(-2000)}`);
      await sleep(1000);
    }
    looks.push({ what: `GET ${path}`, milliseconds });
  }
  worker.kill('SIGTERM');
  await worker.ended;
  return looks;
}

function viewOfRuns(load: Load, runs: readonly Run[]): View {
  return {
    title: `Runs with ${formatNumber(load.rows)} events stored`,
    head: ['', 'list requests', 'new rows', 'ms', 'CPU ms', 'database CPU ms', 'log written', 'completeness'],
    rows: runs.map((one) => [
      one.what,
      formatNumber(one.requests),
      formatNumber(one.inserted),
      formatNumber(one.milliseconds),
      formatNumber(one.cpuSeconds * 1000),
      one.databaseCpuSeconds === undefined ? undefined : formatNumber(one.databaseCpuSeconds * 1000),
      formatBytes(one.walBytes),
      one.completeness ?? undefined,
    ]),
  };
}

function viewOfLooks(looks: readonly Look[]): View {
  return {
    title: 'Looks at the state',
    head: ['', 'ms'],
    rows: looks.map(({ what, milliseconds }) => [what, formatSpread(spreadOf(milliseconds))]),
  };
}

function viewOfAnswers(timed: readonly Answered[]): View {
  return {
    title: 'The questions of docs/bi.md, and the state in SQL',
    head: ['', 'ms', 'CPU ms', 'rows'],
    rows: timed.map(timedCells),
  };
}

function targetsOf(timed: readonly Answered[]): Target[] {
  return Object.entries(WANTED_MS).map(([kind, wanted]) => {
    const medians = timed.filter((one) => one.kind === kind).map(({ milliseconds }) => milliseconds.median);
    return {
      what: `${kind} queries`,
      wanted: `under ${wanted} ms`,
      found: `${formatNumber(Math.max(...medians), 1)} ms at most; ${medians.filter((ms) => ms >= wanted).length} of ${medians.length} slower`,
      isMet: medians.every((ms) => ms < wanted),
    };
  });
}
