/** Times on the command line: instants, days and months of a time zone, and times before now. */
import { parseTicks, ticksOfDate } from '../core/ticks.ts';
import { DAY_MS, firstInstantOf, type Zone } from './zone.ts';

/** A parsed time. Its instant depends on the zone, and may depend on now. */
export interface TimeInput {
  /** Ticks. `now` is in milliseconds since 1970. */
  resolve(now: number, zone: Zone): bigint;
  /** It is a duration before now, and so another instant in each call. */
  isBeforeNow: boolean;
}

const MINUTES = { m: 1, h: 60, d: 1_440, w: 10_080 };
const DAYS_FROM_TODAY = new Map([
  ['yesterday', -1],
  ['today', 0],
  ['tomorrow', 1],
]);

/** Parses a time. `undefined` if it has none of the forms. */
export function parseTimeInput(text: string): TimeInput | undefined {
  return parseBeforeNow(text) ?? parseDay(text) ?? parseInstant(text);
}

function parseInstant(text: string): TimeInput | undefined {
  const ticks = parseTicks(text);
  return ticks === undefined ? undefined : { isBeforeNow: false, resolve: () => ticks };
}

/** `now`, `7d`, `-7d` and `7d ago`. */
function parseBeforeNow(text: string): TimeInput | undefined {
  const match = /^-?(\d{1,6}) ?(m|h|d|w)(?: ago)?$/i.exec(text);
  if (!match && text !== 'now') return undefined;
  const [, count = '0', unit = 'm'] = match ?? [];
  const minutes = Number(count) * MINUTES[unit.toLowerCase() as keyof typeof MINUTES];
  return { isBeforeNow: true, resolve: (now) => ticksOfDate(new Date(now - minutes * 60_000)) };
}

function parseDay(text: string): TimeInput | undefined {
  const offset = DAYS_FROM_TODAY.get(text.toLowerCase());
  if (offset !== undefined) {
    const today = (now: number, zone: Zone) => Math.floor((now + zone.offsetAt(now)) / DAY_MS);
    return dayInput((now, zone) => (today(now, zone) + offset) * DAY_MS);
  }
  const date = /^\d{4}-\d\d$/.test(text) ? `${text}-01` : text;
  if (!/^\d{4}-\d\d-\d\d$/.test(date) || parseTicks(`${date}T00:00:00Z`) === undefined) return undefined;
  return dayInput(() => Date.parse(`${date}T00:00:00Z`));
}

function dayInput(midnight: (now: number, zone: Zone) => number): TimeInput {
  return {
    isBeforeNow: false,
    resolve: (now, zone) => ticksOfDate(new Date(firstInstantOf(zone, midnight(now, zone)))),
  };
}
