/** Where a run begins. */
import { MIN_TICKS, ticksOfDate, ticksOfMilliseconds } from './ticks.ts';

/**
 * The frontier of a run that goes on from a watermark: `lookbackMs` before it, to find what arrived late.
 *
 * The watermark counts no later than the moment it was read, nor than now: an event dated in the future was stored, but
 * says nothing about what came after it was read.
 */
export function nextFrontier(
  watermark: { ticks: bigint; readAt: Date },
  options: { now: Date; lookbackMs: number },
): bigint {
  const readAt = ticksOfDate(watermark.readAt);
  const now = ticksOfDate(options.now);
  const known = [watermark.ticks, readAt, now].reduce((a, b) => (a < b ? a : b));
  return atLeastMin(known - ticksOfMilliseconds(options.lookbackMs));
}

/** The frontier of a backfill that goes on: what arrived late since then is read too, but nothing before `from`. */
export function resumedFrontier(
  frontier: bigint,
  options: { from: bigint | undefined; lookbackMs: number },
): bigint {
  const earlier = atLeastMin(frontier - ticksOfMilliseconds(options.lookbackMs));
  return options.from !== undefined && options.from > earlier ? options.from : earlier;
}

function atLeastMin(ticks: bigint): bigint {
  return ticks < MIN_TICKS ? MIN_TICKS : ticks;
}
