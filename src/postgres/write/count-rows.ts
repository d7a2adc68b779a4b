/** Counts stored rows between two places, by the roll-ups and at most one partial day: no count reads more of a log than that. */
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace } from '../../core/place.ts';
import { formatMicroseconds, MAX_TICKS, MIN_TICKS, TICKS_PER_SECOND } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';
import { COUNT_BUCKETS, COUNT_DAYS } from './span-statements.ts';

const TICKS_PER_DAY = 86_400n * TICKS_PER_SECOND;

export class RowCounter {
  /** The days of the log with the number of rows before each; read once, and again after the run has stored events. */
  private days: { day: number; before: number; events: number }[] | undefined;
  /** The last count of rows up to a head instant: each count of a run needs it. */
  private upTo: { place: bigint; rows: number } | undefined;

  constructor(
    private readonly client: Client,
    private readonly key: LogKey,
  ) {}

  /** Call it after the run stored, suspected or placed rows. */
  forget(): void {
    this.days = undefined;
    this.upTo = undefined;
  }

  /** For each place, the number of stored rows after `after` and before the place. */
  async countRows(after: bigint, places: readonly bigint[]): Promise<number[]> {
    const place = afterPlace(after);
    if (this.upTo?.place !== place) this.upTo = { place, rows: (await this.countBefore([place]))[0]! };
    const { rows } = this.upTo;
    return (await this.countBefore(places)).map((before) => before - rows);
  }

  /** The number of stored rows before each place. `places` may have any order. */
  private async countBefore(places: readonly bigint[]): Promise<number[]> {
    if (places.length === 0) return [];
    const sorted = [...new Set(places.map(clamp))].sort((a, b) => (a < b ? -1 : 1));
    const first = sorted[0]!;
    const day = floorToDay(first);
    const { organization, log } = this.key;
    const { rows } = await this.client.query<{ bucket: number; rows: string }>(COUNT_BUCKETS, [
      organization,
      log,
      formatMicroseconds(day < MIN_TICKS ? MIN_TICKS : day),
      sorted.map(formatMicroseconds),
      formatMicroseconds(sorted.at(-1)!),
      sorted.map(String),
    ]);
    const inBucket = new Map(rows.map(({ bucket, rows: count }) => [Number(bucket), Number(count)]));
    let before = (await this.countDays(day)) + (inBucket.get(0) ?? 0);
    const counts = new Map<bigint, number>();
    sorted.forEach((place, i) => {
      if (i > 0) before += inBucket.get(i) ?? 0;
      counts.set(place, before);
    });
    return places.map((place) => counts.get(clamp(place))!);
  }

  /** The number of events of the days before the one that starts at `day`. */
  private async countDays(day: bigint): Promise<number> {
    if (!this.days) {
      const { organization, log } = this.key;
      const { rows } = await this.client.query<{ day: number; events: string }>(COUNT_DAYS, [
        organization,
        log,
      ]);
      let before = 0;
      this.days = rows.map(({ day: number, events }) => {
        const counted = { day: number, before, events: Number(events) };
        before += counted.events;
        return counted;
      });
    }
    const number = Number(day / TICKS_PER_DAY);
    const next = this.days.find((counted) => counted.day >= number);
    if (next) return next.before;
    const last = this.days.at(-1);
    return last ? last.before + last.events : 0;
  }
}

function clamp(place: bigint): bigint {
  if (place < MIN_TICKS) return MIN_TICKS;
  return place > MAX_TICKS ? MAX_TICKS : place;
}

function floorToDay(ticks: bigint): bigint {
  const rest = ticks % TICKS_PER_DAY;
  return ticks - (rest < 0n ? rest + TICKS_PER_DAY : rest);
}
