/** One long backfill: is the table's size felt, in time or in memory? */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../database.ts';
import { backfill, type Load, peakMegabytes } from '../loads.ts';
import { formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import type { SimulatorProcess } from '../simulator.ts';
import { crossingOf, spreadOf } from '../statistics.ts';

/** The load's rows in so many parts: of 2,200,000 rows the windows begin at 0, 1 and 2 million, and are 200,000 long. */
const PARTS = 11;
const WINDOWS_AT = [0, 5, 10];
/** The short backfill whose memory is compared has so many parts of the long one's rows: of 2,200,000, 100,000. */
const SMALL_PARTS = 22;
const LOOK_MS = 50;
const REPORT_SECONDS = 10;

const WANTED = { rateRatio: 0.8, peakMegabytes: 150, peakRatio: 1.1 };

/** A table that has grown, with the source it was read from. Nobody but `quiet` and `completeness` touches it afterwards. */
interface Grown {
  database: Database;
  simulator: SimulatorProcess;
  load: Load;
  looks: Look[];
}

interface Look {
  /** In seconds from the run's begin. */
  at: number;
  /** Rows committed. */
  count: number;
}

interface Window {
  stored: number;
  rows: number;
  rate: number;
}

export const growthSection: Section = {
  name: 'growth',
  async measure(scene) {
    const { load, looks } = await grown(scene);
    const windows = windowsOf(load.rows, looks);
    const small = await loadSmall(scene, Math.round(load.rows / SMALL_PARTS));
    return {
      views: [viewOfRates(windows), viewOfMemory([small, load])],
      targets: targetsOf(windows, { small, large: load }),
      notes: [
        'Measured once. The source renders these rows while it is read, the first ones like the last; the first window has',
        "the program's own warming up in it.",
      ],
      figures: { load, windows, small, looks },
    };
  },
};

/** Loaded when the first section asks, and watched meanwhile. */
export function grown(scene: Scene): Promise<Grown> {
  return scene.once('grown', async () => {
    const events = scene.options.growthEvents;
    scene.report(`loading ${formatNumber(events)} events`);
    const simulator = await scene.simulate({ events, prerender: false });
    const database = await scene.server.createDatabase();
    const watch = watchRun(scene, database);
    const load = await backfill(scene, { simulator, database }).finally(() => watch.stop());
    scene.report(`${load.seconds.toFixed(1)} s, ${formatNumber(load.rows / load.seconds)} rows/s`);
    // Or the server would do it by itself, at the cost of whoever is measured then.
    await database.query('vacuum analyze');
    await database.checkpoint();
    return { database, simulator, load, looks: await watch.stop() };
  });
}

async function loadSmall(scene: Scene, events: number): Promise<Load> {
  const simulator = await scene.simulate({ events, prerender: false });
  try {
    return await scene.withDatabase((database) => backfill(scene, { simulator, database }));
  } finally {
    await simulator.close();
  }
}

/** How many rows the only run has committed, again and again, from its begin to the call of `stop`, and once more then. */
function watchRun(scene: Scene, { query }: Database): { stop(): Promise<Look[]> } {
  let isOver = false;
  const watch = async () => {
    const looks: Look[] = [{ at: 0, count: 0 }];
    for (let nextReport = REPORT_SECONDS; ; await sleep(LOOK_MS)) {
      const isLast = isOver;
      const [run] = await query<Look>(
        `select extract(epoch from clock_timestamp() - started_at)::float8 as at, rows_inserted::int as count
         from audit.runs`,
      );
      if (run) looks.push(run);
      if (isLast) return looks;
      const { at, count } = looks.at(-1)!;
      if (at < nextReport) continue;
      nextReport += REPORT_SECONDS;
      scene.report(`${formatNumber(count)} rows`);
    }
  };
  const watching = watch();
  return {
    stop() {
      isOver = true;
      return watching;
    },
  };
}

/** `looks` end with all rows. */
export function windowsOf(rows: number, looks: readonly Look[]): Window[] {
  const width = Math.floor(rows / PARTS);
  return WINDOWS_AT.map((part) => {
    const stored = part * width;
    const [from, to] = [crossingOf(looks, stored), crossingOf(looks, stored + width)];
    return { stored, rows: width, rate: width / (to! - from!) };
  });
}

function viewOfRates(windows: readonly Window[]): View {
  return {
    title: 'A backfill while the table grows',
    head: ['rows stored', 'rows measured', 'rows/s', 'of the first'],
    rows: windows.map(({ stored, rows, rate }) => [
      formatNumber(stored),
      formatNumber(rows),
      formatNumber(rate),
      formatNumber(rate / windows[0]!.rate, 2),
    ]),
  };
}

function viewOfMemory(loads: readonly Load[]): View {
  return {
    title: 'Peak memory of the worker by the length of the list',
    head: ['events', 'peak MB', 'rows/s over all'],
    rows: loads.map((load) => [
      formatNumber(load.rows),
      formatNumber(peakMegabytes(load), 0),
      formatNumber(load.rows / load.seconds),
    ]),
  };
}

function targetsOf(windows: readonly Window[], { small, large }: Record<'small' | 'large', Load>): Target[] {
  const [first, ...later] = windows;
  const ratio = spreadOf(later.map(({ rate }) => rate / first!.rate));
  const [low, high] = [peakMegabytes(small), peakMegabytes(large)];
  return [
    {
      what: `rows/s with ${later.map(({ stored }) => formatNumber(stored)).join(' and ')} rows stored / with none`,
      wanted: `at least ${WANTED.rateRatio}`,
      found: formatSpread(ratio, 2),
      isMet: ratio.min >= WANTED.rateRatio,
    },
    {
      what: `peak memory, ${formatNumber(large.rows)} and ${formatNumber(small.rows)} events`,
      wanted: `under ${WANTED.peakMegabytes} MB, the same`,
      found: `${formatNumber(high)} and ${formatNumber(low)} MB`,
      isMet: high < WANTED.peakMegabytes && high <= low * WANTED.peakRatio,
    },
  ];
}
