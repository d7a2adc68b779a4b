/** A source that takes its time: requests made ahead should hide it, down to what PostgreSQL takes. */
import { limitOne } from '../limits.ts';
import { backfill, type Load } from '../loads.ts';
import { PAGE_SIZE } from '../options.ts';
import { formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { type Spread, spreadOf } from '../statistics.ts';

interface Cell {
  latencyMs: number;
  concurrency: number;
}

interface Played extends Cell {
  rounds: number;
  /** In which the requests alone could be answered. */
  requestSeconds: number;
  /** No less can be asked of the worker: the requests, or limit 1 where that is more. */
  boundSeconds: number;
  seconds: Spread;
  ratio: Spread;
  loads: Load[];
}

const LATENCIES_MS = [50, 200, 500];
const CONCURRENCIES = [1, 4, 8];
const SHORT_CELLS: Cell[] = [
  { latencyMs: 50, concurrency: 1 },
  { latencyMs: 200, concurrency: 8 },
];
/** Longer ones vary little and are measured once, so that the section ends. */
const LONG_SECONDS = 20;
const WANTED_RATIO = 0.9;

export const latencySection: Section = {
  name: 'latency',
  async measure(scene) {
    const copy = await limitOne(scene);
    const simulator = await scene.source();
    const played: Played[] = [];
    try {
      for (const cell of cellsOf(scene)) played.push(await playCell(scene, cell, copy.median));
    } finally {
      await simulator.ask({ latencyMs: 0 });
    }
    return {
      views: [viewOf(scene, played)],
      targets: played.map(targetOf),
      notes: [
        `The bound is latency × pages ÷ concurrency, or limit 1 (${formatNumber(copy.median, 2)} s) where that is more.`,
        `Cells whose bound is ${LONG_SECONDS} s or more were measured once; there was no warm-up.`,
      ],
      figures: { limitOneSeconds: copy, played },
    };
  },
};

function cellsOf({ options }: Scene): Cell[] {
  if (options.isShort) return SHORT_CELLS;
  return LATENCIES_MS.flatMap((latencyMs) =>
    CONCURRENCIES.map((concurrency) => ({ latencyMs, concurrency })),
  );
}

async function playCell(scene: Scene, cell: Cell, copySeconds: number): Promise<Played> {
  const { latencyMs, concurrency } = cell;
  const simulator = await scene.source();
  await simulator.ask({ latencyMs });
  const pages = Math.ceil(scene.options.events / PAGE_SIZE);
  const requestSeconds = ((latencyMs / 1000) * pages) / concurrency;
  const boundSeconds = Math.max(requestSeconds, copySeconds);
  const rounds = boundSeconds >= LONG_SECONDS ? 1 : scene.options.rounds;
  const environment = { EXPORT_CONCURRENCY: String(concurrency) };
  const loads: Load[] = [];
  for (let round = 1; round <= rounds; round++) {
    const load = await scene.withDatabase((database) =>
      backfill(scene, { simulator, database, environment }),
    );
    loads.push(load);
    const facts = `${latencyMs} ms, concurrency ${concurrency}: ${load.seconds.toFixed(2)} s`;
    scene.report(`round ${round}  ${facts}, bound ${boundSeconds.toFixed(2)} s`);
  }
  const seconds = loads.map((load) => load.seconds);
  const ratio = spreadOf(seconds.map((value) => boundSeconds / value));
  return { ...cell, rounds, requestSeconds, boundSeconds, seconds: spreadOf(seconds), ratio, loads };
}

function viewOf({ options }: Scene, played: readonly Played[]): View {
  const pages = formatNumber(Math.ceil(options.events / PAGE_SIZE));
  return {
    title: `Backfill of ${pages} pages from a source that takes its time`,
    head: ['latency, concurrency', 'rounds', 'requests alone, s', 'bound, s', 'seconds', 'bound / seconds'],
    rows: played.map((cell) => [
      nameOf(cell),
      formatNumber(cell.rounds),
      formatNumber(cell.requestSeconds, 2),
      formatNumber(cell.boundSeconds, 2),
      formatSpread(cell.seconds, 2),
      formatSpread(cell.ratio, 2),
    ]),
  };
}

function targetOf(cell: Played): Target {
  return {
    what: `bound / backfill at ${nameOf(cell)}`,
    wanted: `at least ${WANTED_RATIO}`,
    found: formatSpread(cell.ratio, 2),
    // Where limit 1 is the bound, it is the target of the backfill without latency that counts.
    isMet: cell.boundSeconds > cell.requestSeconds ? undefined : cell.ratio.median >= WANTED_RATIO,
  };
}

function nameOf({ latencyMs, concurrency }: Cell): string {
  return `${latencyMs} ms, ${concurrency}`;
}
