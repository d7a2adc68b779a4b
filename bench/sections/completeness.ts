/** An event that comes late, and one that the source deletes: what the run that finds it costs, by its age. */
import { measureWorker } from '../measure.ts';
import { formatBytes, formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { type Spread, spreadOf } from '../statistics.ts';
import { grown } from './growth.ts';
import type { Place } from './quiet-runs.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const AGES = [
  { name: '10 minutes', ageMs: 10 * MINUTE_MS },
  { name: '3 hours', ageMs: 3 * HOUR_MS },
  { name: '3 days', ageMs: 3 * DAY_MS },
  { name: '200 days', ageMs: 200 * DAY_MS },
];
/** The simulator's default. */
const SPACING_MS = 30_000;
const TIMES = { full: 5, short: 1 };
const WANTED = { search: 25, confirm: 4, quiet: 3 };

/** One run, alone in a process. */
interface Observed {
  requests: number;
  milliseconds: number;
  cpuSeconds: number;
  walBytes: number;
  inserted: number;
  /** What the run says it proved; `undefined` if it says nothing. */
  completeness: string | null;
}

interface Late {
  name: string;
  runs: Observed[];
}

interface Deletion {
  first: Observed;
  second: Observed;
  /** Of the event, after each of both runs. */
  states: (string | undefined)[];
}

export const completenessSection: Section = {
  name: 'completeness',
  async measure(scene) {
    const place = await grown(scene);
    const { length } = await place.simulator.look();
    scene.report(`late and deleted events with ${formatNumber(length)} rows stored`);
    const times = TIMES[scene.options.isShort ? 'short' : 'full'];
    // The first one counts what an earlier section may have left.
    await run(scene, place);
    const quiet = await repeat(times, () => run(scene, place));
    const late = await playLate(scene, place, times);
    const deletions: Deletion[] = [];
    for (let number = 1; number <= times; number++)
      deletions.push(await playDeletion(scene, place, number / (times + 1)));
    return {
      views: [viewOf(length, { quiet, late, deletions })],
      targets: targetsOf({ quiet, late, deletions }),
      notes: [
        'Each is a process of its own, with EXPORT_SETTLE=0s; CPU is of the whole process, milliseconds are of the run.',
        'Log (WAL) is of the whole server. Deleted events are spread over the list.',
      ],
      figures: { quiet, late, deletions },
    };
  },
};

async function playLate(scene: Scene, place: Place, times: number): Promise<Late[]> {
  const late: Late[] = [];
  const { length } = await place.simulator.look();
  for (const { name, ageMs } of AGES.filter((age) => age.ageMs < length * SPACING_MS)) {
    const runs = await repeat(times, async () => {
      await place.simulator.ask({ insertLate: { fromMs: ageMs, toMs: ageMs + 1000 } });
      return run(scene, place);
    });
    scene.report(`late by ${name}: ${runs.map(({ requests }) => requests).join(', ')} requests`);
    late.push({ name, runs });
  }
  return late;
}

async function playDeletion(scene: Scene, place: Place, share: number): Promise<Deletion> {
  const { length } = await place.simulator.look();
  await place.simulator.ask({ deleteAt: Math.floor(share * length) });
  const before = await readGone(place);
  const first = await run(scene, place);
  const suspected = await readGone(place);
  const second = await run(scene, place);
  const states = [suspected, await readGone(place)].map((gone) => newStateOf(gone, before));
  scene.report(`deleted: ${first.requests} and ${second.requests} requests, ${states.join(' and ')}`);
  return { first, second, states };
}

async function run(scene: Scene, place: Place): Promise<Observed> {
  const { simulator, database } = place;
  const before = await simulator.look();
  const environment = { EXPORT_SETTLE: '0s' };
  const measured = await measureWorker(scene, ['run'], { simulator, database, environment });
  const { counts } = await simulator.look();
  const [row] = await database.query<{ completeness: string | null }>(
    'select completeness from audit.runs order by run_id desc limit 1',
  );
  const output = measured.output as { durationMs: number; counters: { inserted: number } };
  return {
    requests: counts.list - before.counts.list,
    milliseconds: output.durationMs,
    cpuSeconds: measured.client.cpuSeconds,
    walBytes: measured.walBytes!,
    inserted: output.counters.inserted,
    completeness: row!.completeness,
  };
}

async function readGone({ database }: Place): Promise<Map<string, string>> {
  const rows = await database.query<{ event: string; state: string }>(
    'select event_id::text as event, state from audit.gone_events',
  );
  return new Map(rows.map(({ event, state }) => [event, state]));
}

function newStateOf(gone: Map<string, string>, before: Map<string, string>): string | undefined {
  return [...gone].find(([event]) => !before.has(event))?.[1];
}

async function repeat<T>(times: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let number = 0; number < times; number++) results.push(await work());
  return results;
}

interface Played {
  quiet: Observed[];
  late: Late[];
  deletions: Deletion[];
}

function viewOf(rows: number, { quiet, late, deletions }: Played): View {
  const firsts = deletions.map(({ first }) => first);
  const seconds = deletions.map(({ second }) => second);
  return {
    title: `Runs that find a late or deleted event, at ${formatNumber(rows)} rows stored`,
    head: ['', 'runs', 'list requests', 'ms', 'CPU s', 'log written', 'complete'],
    rows: [
      rowOf('nothing', quiet),
      ...late.map(({ name, runs }) => rowOf(`late by ${name}`, runs)),
      rowOf('deleted: suspected', firsts),
      rowOf('deleted: confirmed', seconds),
    ],
  };
}

function rowOf(name: string, observed: readonly Observed[]): string[] {
  const spread = (figureOf: (each: Observed) => number): Spread => spreadOf(observed.map(figureOf));
  const complete = observed.filter(({ completeness }) => completeness === 'complete');
  return [
    name,
    formatNumber(observed.length),
    formatSpread(spread(({ requests }) => requests)),
    formatSpread(spread(({ milliseconds }) => milliseconds)),
    formatSpread(
      spread(({ cpuSeconds }) => cpuSeconds),
      2,
    ),
    formatBytes(spread(({ walBytes }) => walBytes).median),
    `${complete.length} of ${observed.length}`,
  ];
}

function targetsOf({ quiet, late, deletions }: Played): Target[] {
  const found = late.flatMap(({ runs }) => runs);
  const stored = found.filter(({ inserted }) => inserted === 1);
  const noticed = deletions.filter(({ states }) => states.join() === 'suspected,gone');
  return [
    requestTarget('quiet run, list requests', quiet, WANTED.quiet),
    requestTarget('late event, list requests of the run that stores it', found, WANTED.search),
    {
      what: 'late events stored by the next run',
      wanted: 'all',
      found: `${stored.length} of ${found.length}`,
      isMet: stored.length === found.length,
    },
    requestTarget(
      'deleted event, list requests of the run that suspects it',
      deletions.map(({ first }) => first),
      WANTED.search,
    ),
    requestTarget(
      'deleted event, list requests of the run that confirms it',
      deletions.map(({ second }) => second),
      WANTED.confirm,
    ),
    {
      what: 'deleted events suspected by the next run, confirmed by the one after',
      wanted: 'all',
      found: `${noticed.length} of ${deletions.length}`,
      isMet: noticed.length === deletions.length,
    },
  ];
}

function requestTarget(what: string, observed: readonly Observed[], most: number): Target {
  const spread = spreadOf(observed.map(({ requests }) => requests));
  return { what, wanted: `at most ${most}`, found: formatSpread(spread), isMet: spread.max <= most };
}
