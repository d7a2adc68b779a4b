/**
 * What the clock on the wall of a zone shows, minute by minute, and by definition when a schedule occurs: the oracle of
 * `zones.test.ts`. It shares nothing with src/calendar: no cron library, and no arithmetic with offsets.
 */
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export type Read = (instant: number) => number;

/** Reads a zone's clock: milliseconds since 1970-01-01T00:00 on that clock. */
export function clockOf(zone: string): Read {
  const format = new Intl.DateTimeFormat('sv', { timeZone: zone, dateStyle: 'short', timeStyle: 'medium' });
  // 2026-03-29 03:00:00
  return (instant) => Date.parse(`${format.format(instant).replace(' ', 'T')}Z`);
}

/** The instants in the year at which the clock jumps. */
export function jumpsOf(read: Read, year: number): number[] {
  const jumps: number[] = [];
  const isSteady = (a: number, b: number) => read(b) - read(a) === b - a;
  for (let at = Date.UTC(year, 0, 1); at < Date.UTC(year + 1, 0, 1); at += DAY) {
    if (isSteady(at, at + DAY)) continue;
    let [low, high] = [at, at + DAY];
    while (high - low > MINUTE) {
      const middle = low + Math.floor((high - low) / 2 / MINUTE) * MINUTE;
      if (isSteady(low, middle)) low = middle;
      else high = middle;
    }
    jumps.push(high);
  }
  return jumps;
}

/** All minutes from `from` until before `to`, with what the clock shows. */
export function minutesOf(read: Read, from: number, to: number): { at: number; shows: number }[] {
  const found: { at: number; shows: number }[] = [];
  for (let at = from; at < to; at += MINUTE) found.push({ at, shows: read(at) });
  return found;
}

export interface Times {
  hours: readonly number[];
  minutes: readonly number[];
  /** Sunday is 0. */
  weekday?: number;
}

export function matches({ hours, minutes, weekday }: Times, shows: number): boolean {
  const day = Math.floor(shows / DAY);
  const isDay = weekday === undefined || (day + 4) % 7 === weekday;
  const minute = Math.floor((shows % DAY) / MINUTE);
  return isDay && hours.includes(Math.floor(minute / 60)) && minutes.includes(minute % 60);
}

/** When times of day occur: at the first minute that shows it, or, where no minute does, at the first one that is later. */
export function expectTimesOfDay(times: Times, minutes: readonly { at: number; shows: number }[]): number[] {
  const [first, last] = [minutes[0]!.shows, minutes.at(-1)!.shows];
  const found = new Set<number>();
  for (let wanted = first; wanted <= last; wanted += MINUTE) {
    if (!matches(times, wanted)) continue;
    found.add(
      (minutes.find(({ shows }) => shows === wanted) ?? minutes.find(({ shows }) => shows > wanted))!.at,
    );
  }
  return [...found].sort((a, b) => a - b);
}
