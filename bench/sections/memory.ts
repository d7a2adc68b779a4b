/** Peak memory of the worker with the default settings, by the size of the events' details. */
import type { Database } from '../database.ts';
import { assertStored, backfill } from '../loads.ts';
import { environmentOf, measureWorker } from '../measure.ts';
import { formatNumber, type Target, type View } from '../present.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import type { SimulatorProcess } from '../simulator.ts';

/** The events of each size have some 250 MB of details, more than any limit allows at once. */
const SIZES = [
  { kilobytes: 1, events: 120_000 },
  { kilobytes: 40, events: 6_000 },
  { kilobytes: 60, events: 4_000 },
  { kilobytes: 400, events: 600 },
  { kilobytes: 4_000, events: 60 },
];
/** Of the short form. */
const SHORT_SHARE = 10;
const BYTES_PER_KILOBYTE = 1000;
const WANTED_MEGABYTES = 200;
const POLL_MS = 200;

interface Peaks {
  kilobytes: number;
  events: number;
  /** In bytes, by command. */
  peaks: Record<string, number>;
  backfillSeconds: number;
}

export const memorySection: Section = {
  name: 'memory',
  async measure(scene) {
    const found: Peaks[] = [];
    for (const { kilobytes, events } of SIZES) {
      const count = scene.options.isShort ? Math.ceil(events / SHORT_SHARE) : events;
      found.push(await measureSize(scene, kilobytes, count));
    }
    return {
      views: [viewOf(found)],
      targets: found.map(targetOf),
      notes: ['Peak resident memory of the process of each command, with every setting at its default.'],
      figures: found,
    };
  },
};

async function measureSize(scene: Scene, kilobytes: number, events: number): Promise<Peaks> {
  const detailsBytes = kilobytes * BYTES_PER_KILOBYTE;
  const simulator = await scene.simulate({ events, prerender: false, detailsBytes });
  const peaks: Record<string, number> = {};
  let backfillSeconds = 0;
  await scene.withDatabase(async (database) => {
    const load = await backfill(scene, { simulator, database });
    peaks.backfill = load.client.peakBytes;
    backfillSeconds = load.seconds;
    for (const command of ['run', 'verify', 'verify --offline'])
      peaks[command] = (
        await measureWorker(scene, command.split(' '), { simulator, database })
      ).client.peakBytes;
  });
  await scene.withDatabase(async (database) => {
    peaks.start = await measureStart(scene, { simulator, database, events });
  });
  await simulator.close();
  const described = Object.entries(peaks).map(([command, bytes]) => `${command} ${megabytes(bytes)}`);
  scene.report(`details of ${kilobytes} kB: ${described.join(', ')}`);
  return { kilobytes, events, peaks, backfillSeconds };
}

/** `start` from an empty database until every event is stored. */
async function measureStart(
  scene: Scene,
  { simulator, database, events }: { simulator: SimulatorProcess; database: Database; events: number },
): Promise<number> {
  const worker = await scene.start(MAIN, ['start'], environmentOf({ simulator, database }));
  for (;;) {
    const [row] = await database.query<{ runs: number }>(
      `select count(*)::int as runs from audit.runs where outcome = 'succeeded'`,
    );
    if (row!.runs > 0 || worker.hasEnded()) break;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  worker.kill('SIGTERM');
  const { code, stderr, usage } = await worker.ended;
  if (code !== 0 || !usage) throw new Error(`start ended with ${code}:\n${stderr.slice(-2000)}`);
  await assertStored(database, events);
  return usage.peakBytes;
}

function viewOf(found: readonly Peaks[]): View {
  const commands = Object.keys(found[0]!.peaks);
  return {
    title: 'Peak memory by the size of the details, in MB',
    head: ['details of each event', 'events', ...commands, 'backfill, s'],
    rows: found.map(({ kilobytes, events, peaks, backfillSeconds }) => [
      `${formatNumber(kilobytes)} kB`,
      formatNumber(events),
      ...commands.map((command) => megabytes(peaks[command]!)),
      formatNumber(backfillSeconds, 1),
    ]),
  };
}

function targetOf({ kilobytes, peaks }: Peaks): Target {
  const largest = Math.max(...Object.values(peaks)) / 1e6;
  return {
    what: `peak memory, details of ${formatNumber(kilobytes)} kB`,
    wanted: `under ${WANTED_MEGABYTES} MB`,
    found: `${formatNumber(largest)} MB`,
    isMet: largest < WANTED_MEGABYTES,
  };
}

function megabytes(bytes: number): string {
  return formatNumber(bytes / 1e6);
}
