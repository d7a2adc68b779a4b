/**
 * When a cron expression occurs in a time zone whose clock is changed, as in Vixie cron:
 *
 * - An interval (minute or hour begins with `*`) occurs at each instant whose local time matches, in both passes through an hour that
 *   is repeated. If it would wait longer than without the change, it also occurs when it would have without it: every
 *   20 minutes where the clock is changed by 30 minutes, every 2 hours where it is changed by one.
 * - A time of day that is skipped occurs at the instant of the change: at 03:00 if the clock goes from 02:00 to 03:00. All times in
 *   the skipped part cause one occurrence.
 * - A time of day that is repeated occurs in the first pass alone.
 */
import type { Cron } from './cron.ts';
import { DAY_MS, type OffsetChange, type Zone } from './zone.ts';

/** The first occurrence after `instant`, in milliseconds since 1970-01-01T00:00Z. */
export function nextOccurrence(cron: Cron, zone: Zone, instant: number): number {
  // A day is the largest change known: a zone moved across the date line.
  let latest = zone.changeWithin(instant - DAY_MS, instant);
  let offset = zone.offsetAt(instant);
  for (let [from, searched] = [instant, instant]; ; ) {
    let next = nextAt(cron, offset, Math.max(from, endOfRepeated(cron, latest) - 1));
    const extra = latest && occurrenceByElapsedTime(cron, latest);
    if (extra !== undefined && extra > instant && extra < next) next = extra;
    const change = zone.changeWithin(searched, next);
    if (!change) return next;
    latest = change;
    offset = change.after;
    [from, searched] = [change.at - 1, change.at];
  }
}

/** The first occurrence after `instant` if the offset never changed. */
function nextAt(cron: Cron, offset: number, instant: number): number {
  return cron.next(instant + offset) - offset;
}

/** Until when times of day are repeated after a change. */
function endOfRepeated(cron: Cron, change: OffsetChange | undefined): number {
  const isRepeated = !cron.isInterval && change !== undefined && change.after < change.before;
  return isRepeated ? change.at + change.before - change.after : Number.NEGATIVE_INFINITY;
}

/** The occurrence that the local times after a change do not give. */
function occurrenceByElapsedTime(cron: Cron, { at, before, after }: OffsetChange): number | undefined {
  const unchanged = nextAt(cron, before, at - 1);
  const isSkipped = unchanged < at + after - before;
  if (!cron.isInterval) return isSkipped ? at : undefined;
  return isSkipped || isAroundTheClock(cron, before, unchanged) ? unchanged : undefined;
}

/** Whether an interval continues through a change. Longer waits than a day come from the days of the expression. */
function isAroundTheClock(cron: Cron, before: number, unchanged: number): boolean {
  if (!cron.isAroundTheClock) return false;
  const previous = cron.previous(unchanged + before);
  return previous !== undefined && unchanged + before - previous <= DAY_MS;
}
