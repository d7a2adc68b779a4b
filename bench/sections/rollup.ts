/** What the roll-ups of schema audit cost a first load: with their triggers, and without them, in turn. */
import { reportLoad } from '../limits.ts';
import { backfill, type Load, type Loads } from '../loads.ts';
import { formatNumber, formatSpread } from '../present.ts';
import { playRounds } from '../rounds.ts';
import { roundsOf, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf, type Spread, spreadOf } from '../statistics.ts';

const WITH = 'with roll-ups';
const WITHOUT = 'without';
const MAX_SHARE = 0.15;

export const rollupSection: Section = {
  name: 'rollup',
  async measure(scene) {
    const play = (isCounted: boolean) => () => load(scene, isCounted);
    const played = await playRounds(
      [
        { name: WITHOUT, play: play(false) },
        { name: WITH, play: play(true) },
      ],
      { ...roundsOf(scene), onPlayed: reportLoad(scene) },
    );
    const time = costOf(played, ({ seconds }) => seconds);
    const costs: [string, Spread | undefined][] = [
      ['seconds', time],
      ['CPU seconds of the database', costOf(played, ({ databaseCpuSeconds }) => databaseCpuSeconds)],
      ['CPU seconds of all', costOf(played, cpuOfAll)],
      ['log written (WAL)', costOf(played, ({ walBytes }) => walBytes)],
    ];
    return {
      views: [
        {
          title: `Roll-ups: what they add to a backfill of ${formatNumber(scene.options.events)} events`,
          head: ['', 'more, in %'],
          rows: costs.map(([name, cost]) => [name, cost && showPercent(cost)]),
        },
      ],
      targets: [
        {
          what: 'roll-ups, of a backfill',
          wanted: `under ${100 * MAX_SHARE} %`,
          found: `${showPercent(time!)} %`,
          isMet: time!.median < MAX_SHARE,
        },
      ],
      notes: [],
      figures: { played, costs },
    };
  },
};

function load(scene: Scene, isCounted: boolean): Promise<Load> {
  return scene.withDatabase(async (database) => {
    if (!isCounted) await database.query('alter table audit.events disable trigger user');
    const loaded = await backfill(scene, { simulator: await scene.source(), database });
    const [row] = await database.query<{ events: number }>(
      'select coalesce(sum(events), 0)::int as events from audit.daily_activity',
    );
    if (row!.events !== (isCounted ? loaded.rows : 0))
      throw new Error(`the roll-ups have ${row!.events} of ${loaded.rows} events`);
    return loaded;
  });
}

function cpuOfAll({ client, databaseCpuSeconds }: Load): number | undefined {
  return databaseCpuSeconds === undefined ? undefined : databaseCpuSeconds + client.cpuSeconds;
}

/** How much more, of what it is without them, round by round; `undefined` where it could not be measured. */
function costOf(played: Loads, figureOf: (load: Load) => number | undefined): Spread | undefined {
  const figures = (name: string) => played[name]!.flatMap((load) => figureOf(load) ?? []);
  if (figures(WITH).length === 0) return undefined;
  const { median, min, max, count } = ratioOf(figures(WITH), figures(WITHOUT));
  return spreadOf([min, median, max].slice(count === 1 ? 2 : 0).map((ratio) => ratio - 1));
}

function showPercent({ median, min, max, count }: Spread): string {
  return formatSpread({ median: 100 * median, min: 100 * min, max: 100 * max, count }, 1);
}
