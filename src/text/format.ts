/** Formats times and numbers for people. Used by the status page and the commands. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Formats a duration in its largest suitable unit: `12 ms`, `4.0 s`, `40 s`, `3 minutes`, `5 hours`, `12 days`. */
export function describeDuration(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < 950) return `${Math.round(ms)} ms`;
  return ms < 9_950 ? `${(ms / SECOND).toFixed(1)} s` : inWholeUnits(ms);
}

/** `3 minutes ago`, `in 40 s` or `just now`. */
export function describeWhen(at: Date, now: Date): string {
  const ms = now.getTime() - at.getTime();
  if (Math.abs(ms) < 2 * SECOND) return 'just now';
  return ms > 0 ? `${inWholeUnits(ms)} ago` : `in ${inWholeUnits(-ms)}`;
}

/** `2026-01-31 08:00:00 UTC` */
export function describeInstant(at: Date): string {
  return `${at.toISOString().replace('T', ' ').split('.')[0]} UTC`;
}

/** `1 run`, `2,000 runs`; `1 entry`, `2 entries`. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${formatNumber(number)} ${number === 1 ? noun : plural}`;
}

export function formatNumber(number: number): string {
  return number.toLocaleString('en');
}

/** `1.5K`, `20M`, for narrow places. */
export function formatCompact(number: number): string {
  return number.toLocaleString('en', { notation: 'compact' });
}

/** Formats `2026-01-31` as `31 Jan 2026`, or without the year as `31 Jan`. */
export function describeDay(day: string, hasYear = true): string {
  return new Date(day).toLocaleDateString('en-GB', {
    timeZone: 'UTC',
    day: 'numeric',
    month: 'short',
    ...(hasYear && { year: 'numeric' }),
  });
}

function inWholeUnits(ms: number): string {
  if (ms < 2 * MINUTE) return `${Math.round(ms / SECOND)} s`;
  if (ms < 2 * HOUR) return count(Math.round(ms / MINUTE), 'minute');
  if (ms < 2 * DAY) return count(Math.round(ms / HOUR), 'hour');
  return count(Math.round(ms / DAY), 'day');
}
