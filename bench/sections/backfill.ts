/** The first load of a list, against what PostgreSQL, the source, and a plain program do with the same rows. */
import { copiesOf, copyName, FETCH, fasterFormat, fetching, keepLimitOne, reportLoad } from '../limits.ts';
import { backfill, copyKeyless, type Load, type Loads, loadNaively, peakMegabytes, rates } from '../loads.ts';
import { PAGE_SIZE } from '../options.ts';
import { formatNumber, formatSpread, type Target, type View } from '../present.ts';
import { type Contestant, playRounds } from '../rounds.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf, type Spread, spreadOf } from '../statistics.ts';
import { viewsOfLoads } from './backfill-views.ts';

const OURS = 'worker';
/** With EXPORT_SYNCHRONOUS_COMMIT=false: only the run's end waits for the disk. */
const UNWAITING = 'worker, unwaiting';
const NAIVE = 'naive loop';
const KEYLESS = 'COPY without a key';

/** The naive loop's share of a round; where it would take longer, it loads fewer rows. */
const NAIVE_SECONDS = { full: 30, short: 2 };
const NAIVE_TRIAL = PAGE_SIZE;

const WANTED = { ofCopy: 0.7, overNaive: 6, peakMegabytes: 150 };

export const backfillSection: Section = {
  name: 'backfill',
  async measure(scene) {
    const played = await playRounds(await contestantsOf(scene), {
      rounds: scene.options.rounds,
      onPlayed: reportLoad(scene),
    });
    await keepLimitOne(scene, played);
    const format = fasterFormat(played);
    const ratios = {
      ofCopy: ratioOf(rates(played[OURS]!), rates(played[copyName(format)]!)),
      ofText: ratioOf(rates(played[OURS]!), rates(played[copyName('text')]!)),
      unwaiting: ratioOf(rates(played[UNWAITING]!), rates(played[OURS]!)),
      ofFetch: ratioOf(rates(played[OURS]!), rates(played[FETCH]!)),
      overNaive: ratioOf(rates(played[OURS]!), rates(played[NAIVE]!)),
      ofKeyless: ratioOf(rates(played[OURS]!), rates(played[KEYLESS]!)),
    };
    return {
      views: [...viewsOfLoads(played), viewOfRatios(ratios)],
      targets: targetsOf(ratios, played[OURS]!),
      notes: notesOf(scene, played),
      figures: { played, format, ratios },
    };
  },
};

async function contestantsOf(scene: Scene): Promise<Contestant<Load>[]> {
  const simulator = await scene.source();
  let naiveRows: number | undefined;
  return [
    {
      name: OURS,
      play: () => scene.withDatabase((database) => backfill(scene, { simulator, database })),
    },
    {
      name: UNWAITING,
      play: () =>
        scene.withDatabase((database) => {
          const environment = { EXPORT_SYNCHRONOUS_COMMIT: 'false' };
          return backfill(scene, { simulator, database, environment });
        }),
    },
    ...copiesOf(scene),
    fetching(scene),
    {
      name: KEYLESS,
      play: () => scene.withDatabase((database) => copyKeyless(scene, { simulator, database })),
    },
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

/** Whole pages that take no longer than the naive loop may, by its warm-up. */
function rowsWithin({ options }: Scene, { rows, seconds }: Load): number {
  const allowed = (rows / seconds) * NAIVE_SECONDS[options.isShort ? 'short' : 'full'];
  return Math.min(options.events, Math.max(1, Math.round(allowed / PAGE_SIZE)) * PAGE_SIZE);
}

type Ratios = Record<'ofCopy' | 'ofText' | 'ofFetch' | 'ofKeyless' | 'overNaive' | 'unwaiting', Spread>;

function viewOfRatios({ ofCopy, ofText, ofFetch, ofKeyless, overNaive, unwaiting }: Ratios): View {
  return {
    title: 'The worker against them, rows/s by rows/s, round by round',
    head: ['', 'ratio'],
    rows: [
      ['worker / limit 1', formatSpread(ofCopy, 2)],
      ['worker / COPY text', formatSpread(ofText, 2)],
      ['worker / limit 2', formatSpread(ofFetch, 2)],
      [`worker / ${KEYLESS}`, formatSpread(ofKeyless, 2)],
      ['worker / naive loop', formatSpread(overNaive, 1)],
      [`${UNWAITING} / worker`, formatSpread(unwaiting, 2)],
    ],
  };
}

function targetsOf({ ofCopy, ofKeyless, overNaive }: Ratios, loads: readonly Load[]): Target[] {
  const peak = spreadOf(loads.map(peakMegabytes));
  return [
    {
      what: 'backfill / limit 1',
      wanted: `at least ${WANTED.ofCopy}`,
      found: formatSpread(ofCopy, 2),
      isMet: ofCopy.median >= WANTED.ofCopy,
    },
    {
      what: `backfill / ${KEYLESS}`,
      wanted: 'more than 1',
      found: formatSpread(ofKeyless, 2),
      isMet: ofKeyless.median > 1,
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

function notesOf({ options }: Scene, played: Loads): string[] {
  const naiveRows = played[NAIVE]![0]!.rows;
  const notes = [
    'Seconds are of the work, as the process itself measured it; CPU and memory are of the whole process, start included.',
    'Limit 1 is the faster of the two formats. "Unwaiting" is EXPORT_SYNCHRONOUS_COMMIT=false.',
  ];
  if (naiveRows < options.events)
    notes.push(
      `The naive loop loaded ${formatNumber(naiveRows)} rows only, because all would take it too long.`,
    );
  return notes;
}
