/** The first load of a list, against what PostgreSQL, the source, and a plain program do with the same rows. */
import { backfill, copyRows, FORMATS, type Format, fetchPages, type Load, loadNaively } from '../loads.ts';
import { PAGE_SIZE } from '../options.ts';
import { formatNumber, formatSpread, type Target, type View } from '../present.ts';
import { type Contestant, playRounds } from '../rounds.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf, type Spread, spreadOf } from '../statistics.ts';

const LIMIT_ONE = 'limit 1';
const OURS = 'worker';
const FETCH = 'limit 2: fetch and parse';
const NAIVE = 'naive loop';
const copyName = (format: Format) => `limit 1: COPY ${format}`;

/** The naive loop's share of a round; where it would take longer, it loads fewer rows. */
const NAIVE_SECONDS = { full: 30, short: 2 };
const NAIVE_TRIAL = PAGE_SIZE;

const WANTED = { ofCopy: 0.7, overNaive: 6, peakMegabytes: 150 };

type Loads = Record<string, Load[]>;

export const backfillSection: Section = {
  name: 'backfill',
  async measure(scene) {
    const played = await playRounds(await contestantsOf(scene), {
      rounds: scene.options.rounds,
      onPlayed: reportLoad(scene),
    });
    await keepLimitOne(scene, played);
    const format = fasterFormat(played);
    const names = [OURS, copyName(format), FETCH, NAIVE];
    const ratios = {
      ofCopy: ratioOf(rates(played[OURS]!), rates(played[copyName(format)]!)),
      ofFetch: ratioOf(rates(played[OURS]!), rates(played[FETCH]!)),
      overNaive: ratioOf(rates(played[OURS]!), rates(played[NAIVE]!)),
    };
    return {
      views: [viewOfSpeed(played), viewOfCpu(played, names), viewOfRatios(ratios)],
      targets: targetsOf(ratios, played[OURS]!),
      notes: notesOf(scene, played),
      figures: { played, format, ratios },
    };
  },
};

/** A line for each measurement while they are made. */
export function reportLoad(scene: Scene): (name: string, round: number, load: Load) => void {
  return (name, round, { rows, seconds }) => {
    const which = round === 0 ? 'warm-up' : `round ${round}`;
    const rate = formatNumber(rows / seconds);
    scene.report(
      `${which}  ${name.padEnd(26)}${seconds.toFixed(2).padStart(7)} s${rate.padStart(10)} rows/s`,
    );
  };
}

/** The seconds `COPY` needs for the scene's rows, as this section found them or, without it, measured now. */
export function limitOne(scene: Scene): Promise<Spread> {
  const { rounds } = scene.options;
  const play = () => playRounds(copiesOf(scene), { rounds, onPlayed: reportLoad(scene) });
  return scene.once(LIMIT_ONE, async () => copySeconds(await play()));
}

function keepLimitOne(scene: Scene, played: Loads): Promise<Spread> {
  return scene.once(LIMIT_ONE, async () => copySeconds(played));
}

function copySeconds(played: Loads): Spread {
  return spreadOf(played[copyName(fasterFormat(played))]!.map(({ seconds }) => seconds));
}

/** The same for fetching and parsing. */
export function fetching(scene: Scene): Contestant<Load> {
  return { name: FETCH, play: async () => fetchPages(scene, await scene.source()) };
}

export function rates(loads: readonly Load[]): number[] {
  return loads.map(({ rows, seconds }) => rows / seconds);
}

async function contestantsOf(scene: Scene): Promise<Contestant<Load>[]> {
  const simulator = await scene.source();
  let naiveRows: number | undefined;
  return [
    {
      name: OURS,
      play: () => scene.withDatabase((database) => backfill(scene, { simulator, database })),
    },
    ...copiesOf(scene),
    fetching(scene),
    {
      name: NAIVE,
      play: () =>
        scene.withDatabase(async (database) => {
          const load = await loadNaively(scene, { simulator, database }, naiveRows ?? NAIVE_TRIAL);
          naiveRows ??= rowsWithin(scene, load);
          return load;
        }),
    },
  ];
}

function copiesOf(scene: Scene): Contestant<Load>[] {
  return FORMATS.map((format) => ({
    name: copyName(format),
    play: () => scene.withDatabase((database) => copyRows(scene, database, format)),
  }));
}

/** Whole pages that take no longer than the naive loop may, by its warm-up. */
function rowsWithin({ options }: Scene, { rows, seconds }: Load): number {
  const allowed = (rows / seconds) * NAIVE_SECONDS[options.isShort ? 'short' : 'full'];
  return Math.min(options.events, Math.max(1, Math.round(allowed / PAGE_SIZE)) * PAGE_SIZE);
}

function fasterFormat(played: Loads): Format {
  const median = (format: Format) => spreadOf(rates(played[copyName(format)]!)).median;
  return FORMATS.reduce((best, format) => (median(format) > median(best) ? format : best));
}

function viewOfSpeed(played: Loads): View {
  return {
    title: 'Backfill at zero latency: speed and memory',
    head: ['', 'rows', 'seconds', 'rows/s', 'peak MB of its process'],
    rows: Object.entries(played).map(([name, loads]) => [
      name,
      formatNumber(loads[0]!.rows),
      formatSpread(spreadOf(loads.map(({ seconds }) => seconds)), 2),
      formatSpread(spreadOf(rates(loads))),
      formatSpread(spreadOf(loads.map(peakMegabytes))),
    ]),
  };
}

function viewOfCpu(played: Loads, names: readonly string[]): View {
  const spreads = (
    loads: readonly Load[],
    cpuOf: (load: Load) => number | undefined,
    per: 'load' | 'million',
  ) => {
    const seconds = loads.map((load) => {
      const cpu = cpuOf(load);
      return cpu === undefined ? undefined : per === 'load' ? cpu : (cpu / load.rows) * 1e6;
    });
    const known = seconds.filter((value) => value !== undefined);
    return known.length === loads.length ? formatSpread(spreadOf(known), 1) : undefined;
  };
  const parties: ((load: Load) => number | undefined)[] = [
    ({ client }) => client.cpuSeconds,
    ({ simulatorCpuSeconds }) => simulatorCpuSeconds,
    ({ databaseCpuSeconds }) => databaseCpuSeconds,
  ];
  const columns = (['load', 'million'] as const).flatMap((per) =>
    parties.map((cpuOf) => (loads: readonly Load[]) => spreads(loads, cpuOf, per)),
  );
  return {
    title: 'The same: CPU seconds, of the load and of a million rows',
    head: ['', 'client', 'simulator', 'database', 'client / M', 'simulator / M', 'database / M'],
    rows: names.map((name) => [name, ...columns.map((column) => column(played[name]!))]),
  };
}

type Ratios = Record<'ofCopy' | 'ofFetch' | 'overNaive', Spread>;

function viewOfRatios({ ofCopy, ofFetch, overNaive }: Ratios): View {
  return {
    title: 'The worker against them, rows/s by rows/s, round by round',
    head: ['', 'ratio'],
    rows: [
      ['worker / limit 1', formatSpread(ofCopy, 2)],
      ['worker / limit 2', formatSpread(ofFetch, 2)],
      ['worker / naive loop', formatSpread(overNaive, 1)],
    ],
  };
}

function targetsOf({ ofCopy, overNaive }: Ratios, loads: readonly Load[]): Target[] {
  const peak = spreadOf(loads.map(peakMegabytes));
  return [
    {
      what: 'backfill / limit 1',
      wanted: `at least ${WANTED.ofCopy}`,
      found: formatSpread(ofCopy, 2),
      isMet: ofCopy.median >= WANTED.ofCopy,
    },
    {
      what: 'backfill / naive loop',
      wanted: `at least ${WANTED.overNaive}`,
      found: formatSpread(overNaive, 1),
      isMet: overNaive.median >= WANTED.overNaive,
    },
    {
      what: 'backfill, peak memory',
      wanted: `under ${WANTED.peakMegabytes} MB`,
      found: `${formatSpread(peak)} MB`,
      isMet: peak.max < WANTED.peakMegabytes,
    },
  ];
}

export function peakMegabytes({ client }: Load): number {
  return client.peakBytes / 1e6;
}

function notesOf({ options }: Scene, played: Loads): string[] {
  const naiveRows = played[NAIVE]![0]!.rows;
  const notes = [
    'Seconds are of the work, as the process itself measured it; CPU and memory are of the whole process, start included.',
    'Limit 1 is the faster of the two formats.',
  ];
  if (naiveRows < options.events)
    notes.push(
      `The naive loop loaded ${formatNumber(naiveRows)} rows only, because all would take it too long.`,
    );
  return notes;
}
