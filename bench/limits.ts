/** What a load is held against: `COPY` of its rows, and the reading of its pages. */
import { copyRows, FORMATS, type Format, fetchPages, type Load, type Loads, rates } from './loads.ts';
import { formatNumber } from './present.ts';
import { type Contestant, playRounds } from './rounds.ts';
import type { Scene } from './scene.ts';
import { type Spread, spreadOf } from './statistics.ts';

export const FETCH = 'limit 2: fetch and parse';

export function copyName(format: Format): string {
  return `limit 1: COPY ${format}`;
}

/** Limit 1, in each format: the faster one is the limit. */
export function copiesOf(scene: Scene): Contestant<Load>[] {
  return FORMATS.map((format) => ({
    name: copyName(format),
    play: () => scene.withDatabase((database) => copyRows(scene, database, format)),
  }));
}

/** Limit 2. */
export function fetching(scene: Scene): Contestant<Load> {
  return { name: FETCH, play: async () => fetchPages(scene, await scene.source()) };
}

export function fasterFormat(played: Loads): Format {
  const median = (format: Format) => spreadOf(rates(played[copyName(format)]!)).median;
  return FORMATS.reduce((best, format) => (median(format) > median(best) ? format : best));
}

/** The seconds `COPY` needs for the scene's rows, as `keepLimitOne` was told or, without that, measured now. */
export function limitOne(scene: Scene): Promise<Spread> {
  const { rounds } = scene.options;
  const play = () => playRounds(copiesOf(scene), { rounds, onPlayed: reportLoad(scene) });
  return scene.once('limit 1', async () => copySeconds(await play()));
}

export async function keepLimitOne(scene: Scene, played: Loads): Promise<void> {
  await scene.once('limit 1', async () => copySeconds(played));
}

function copySeconds(played: Loads): Spread {
  return spreadOf(played[copyName(fasterFormat(played))]!.map(({ seconds }) => seconds));
}

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
