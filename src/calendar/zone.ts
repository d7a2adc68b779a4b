/** The offset of a time zone from UTC, and when it changes. Instants are milliseconds since 1970-01-01T00:00Z. */
export interface Zone {
  /** Milliseconds that the zone's clock is ahead of UTC. */
  offsetAt(instant: number): number;
  /** The first change of the offset after `from`, until and including `to`. The change takes effect at its instant. */
  changeWithin(from: number, to: number): OffsetChange | undefined;
}

export interface OffsetChange {
  at: number;
  before: number;
  after: number;
}

const SECOND = 1_000;
export const DAY_MS = 86_400_000;

/** Opens a zone of the IANA database, as Node.js contains it. Throws `RangeError` for an unknown name. */
export function openZone(name: string): Zone {
  const format = new Intl.DateTimeFormat('en', { timeZone: name, timeZoneName: 'longOffset' });
  const offsetAt = (instant: number) => parseOffset(format.format(instant));
  return {
    offsetAt,
    changeWithin(from, to) {
      const before = offsetAt(from);
      // No zone has changed twice within a day.
      for (let low = from; low < to; low += DAY_MS) {
        const high = Math.min(low + DAY_MS, to);
        if (offsetAt(high) === before) continue;
        const at = findChange(offsetAt, low, high);
        return { at, before, after: offsetAt(at) };
      }
      return undefined;
    },
  };
}

/**
 * The first instant at which the zone's clock shows `local` or later, where `local` is a reading of that clock in milliseconds
 * since 1970-01-01T00:00: the first of two, and the end of the skipped part if there is none.
 */
export function firstInstantOf(zone: Zone, local: number): number {
  // No clock is more than 14 hours ahead of UTC.
  const before = local - 15 * 3_600_000;
  const instant = local - zone.offsetAt(before);
  const change = zone.changeWithin(before, instant);
  return change ? Math.max(change.at, local - change.after) : instant;
}

/** Bisects to the second: the offset differs between `low` and `high`. */
function findChange(offsetAt: (instant: number) => number, low: number, high: number): number {
  const before = offsetAt(low);
  let [last, first] = [Math.floor(low / SECOND), Math.ceil(high / SECOND)];
  while (first - last > 1) {
    const middle = Math.floor((last + first) / 2);
    if (offsetAt(middle * SECOND) === before) last = middle;
    else first = middle;
  }
  return first * SECOND;
}

/** Parses the end of `1/1/2026, GMT+05:30`; seconds occur before 1972. */
function parseOffset(text: string): number {
  const [, sign, hours, minutes, seconds = '0'] = /([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text) ?? [];
  if (sign === undefined) return 0;
  const total = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds);
  return (sign === '-' ? -total : total) * SECOND;
}
