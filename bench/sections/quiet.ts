/** Runs in which nothing, or next to nothing, is new: they must not cost more as the table grows. */
import { backfill } from '../loads.ts';
import { formatBytes, formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { type Spread, spreadOf } from '../statistics.ts';
import { grown } from './growth.ts';
import type { Observed, Watched } from './quiet-runs.ts';
import { NEW_EVENTS, type Place, watchOneOffs, watchSchedule } from './quiet-runs.ts';

const SIZES = { full: [10_000, 100_000], short: [5_000] };
const WANTED = { requests: 3, cpuMs: 50, cpuGrowth: 1.5 };
/** A run writes its own row and renews its lease. */
const QUIET_TABLES = new Set(['audit.runs', 'audit.watermarks', 'audit.coverage']);

interface AtSize {
  rows: number;
  inStart: Watched;
  oneOff: Pick<Watched, 'quiet' | 'fresh'>;
}

export const quietSection: Section = {
  name: 'quiet',
  async measure(scene) {
    const measured: AtSize[] = [];
    for (const events of SIZES[scene.options.isShort ? 'short' : 'full']) {
      const simulator = await scene.simulate({ events, prerender: false });
      const atSize = await scene.withDatabase(async (database) => {
        await backfill(scene, { simulator, database });
        return measureAt(scene, { simulator, database });
      });
      measured.push(atSize);
      await simulator.close();
    }
    // The table of the growing backfill, where there is one of a size worth it.
    if (!scene.options.isShort) measured.push(await measureAt(scene, await grown(scene)));
    return {
      views: [viewOf(measured)],
      targets: targetsOf(measured),
      notes: [
        'Requests are as the source counted them; CPU is of the worker, in start the mean, one-off of the whole process;',
        'milliseconds are of the run, as its log line says. Log (WAL) is of the whole server, which had nothing else to do',
        '(tables were vacuumed and written to disk beforehand); it holds row locks, which no count of written rows shows.',
      ],
      figures: measured,
    };
  },
};

async function measureAt(scene: Scene, place: Place): Promise<AtSize> {
  const rows = (await place.simulator.look()).length;
  scene.report(`quiet runs with ${formatNumber(rows)} rows stored`);
  await place.database.query('vacuum analyze');
  await place.database.checkpoint();
  const inStart = await watchSchedule(scene, place);
  const oneOff = await watchOneOffs(scene, place);
  return { rows, inStart, oneOff };
}

function viewOf(measured: readonly AtSize[]): View {
  const rowsAt = ({ rows, inStart, oneOff }: AtSize) => [
    rowOf(rows, 'quiet, in start', inStart.quiet),
    rowOf(rows, `${NEW_EVENTS} new, in start`, inStart.fresh),
    rowOf(rows, 'quiet, one-off', oneOff.quiet),
    rowOf(rows, `${NEW_EVENTS} new, one-off`, oneOff.fresh),
  ];
  return {
    title: 'Runs with little to do, by how many rows are stored',
    head: ['rows stored', 'run', 'runs', 'list requests', 'token requests', 'ms', 'CPU ms', 'log written'],
    rows: measured.flatMap(rowsAt),
  };
}

function rowOf(rows: number, name: string, observed: readonly Observed[]): (string | undefined)[] {
  const spread = (figureOf: (each: Observed) => number) => spreadOf(observed.map(figureOf));
  const cpu = cpuMs(observed);
  return [
    formatNumber(rows),
    name,
    formatNumber(observed.length),
    shortSpread(spread(({ list }) => list)),
    shortSpread(spread(({ token }) => token)),
    formatSpread(spread(({ milliseconds }) => milliseconds)),
    cpu === undefined ? undefined : formatNumber(cpu),
    formatBytes(spread(({ walBytes }) => walBytes).median),
  ];
}

/** Of counts that are nearly always the same. */
function shortSpread(spread: Spread): string {
  return spread.min === spread.max ? formatNumber(spread.median) : formatSpread(spread);
}

/** The mean: /proc counts in hundredths of a second, which one run alone is too short for. */
function cpuMs(observed: readonly Observed[]): number | undefined {
  const known = observed.flatMap(({ cpuSeconds }) => cpuSeconds ?? []);
  if (known.length === 0) return undefined;
  return (known.reduce((sum, seconds) => sum + seconds, 0) / known.length) * 1000;
}

function targetsOf(measured: readonly AtSize[]): Target[] {
  const [smallest, largest] = [measured[0]!, measured.at(-1)!];
  const all = measured.flatMap(({ inStart }) => inStart.quiet);
  const requests = spreadOf(all.map(({ list }) => list));
  const tokens = spreadOf(all.map(({ token }) => token));
  const costs = measured.map(({ inStart }) => cpuMs(inStart.quiet));
  const [low, high] = [cpuMs(smallest.inStart.quiet), cpuMs(largest.inStart.quiet)];
  const written = Object.entries(largest.inStart.written);
  const targets: Target[] = [
    {
      what: 'quiet run in start, list and token requests',
      wanted: `${WANTED.requests} and 0`,
      found: `${shortSpread(requests)} and ${shortSpread(tokens)}`,
      isMet: requests.max <= WANTED.requests && tokens.max === 0,
    },
    {
      what: 'quiet run in start, CPU',
      wanted: `under ${WANTED.cpuMs} ms`,
      found: `${costs.map((cost) => (cost === undefined ? '-' : formatNumber(cost))).join(', ')} ms`,
      isMet: costs.includes(undefined) ? undefined : Math.max(...(costs as number[])) < WANTED.cpuMs,
    },
    {
      what: 'quiet run in start, rows written',
      wanted: `of ${[...QUIET_TABLES].join(' and ')} only`,
      found: written.map(([table, count]) => `${table} ${formatNumber(count, 1)}`).join(', '),
      isMet: written.every(([table]) => QUIET_TABLES.has(table)),
    },
  ];
  if (low !== undefined && high !== undefined && measured.length > 1)
    targets.push({
      what: `quiet run's CPU with ${formatNumber(largest.rows)} / ${formatNumber(smallest.rows)} rows`,
      wanted: `at most ${WANTED.cpuGrowth}`,
      found: formatNumber(high / low, 2),
      isMet: high / low <= WANTED.cpuGrowth,
    });
  return targets;
}
