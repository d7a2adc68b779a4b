/** Where a run starts. */
import { MIN_TICKS, ticksOfDate, ticksOfMilliseconds } from './ticks.ts';

/**
 * The end of what earlier runs have read: the newest committed event, but not later than when it was read. An event dated in
 * the future does not mean that everything before it was read.
 */
export function knownUntil(watermark: { ticks: bigint; readAt: Date }): bigint {
  const readAt = ticksOfDate(watermark.readAt);
  return watermark.ticks < readAt ? watermark.ticks : readAt;
}

/** The frontier of a run that continues from a watermark: `lookbackMs` earlier, to find late events. */
export function nextFrontier(
  watermark: { ticks: bigint; readAt: Date },
  options: { now: Date; lookbackMs: number },
): bigint {
  const known = knownUntil(watermark);
  const now = ticksOfDate(options.now);
  return atLeastMin((known < now ? known : now) - ticksOfMilliseconds(options.lookbackMs));
}

/**
 * The frontier of a resumed backfill: `lookbackMs` earlier, to find events that arrived late since it started, but not before
 * `from`. If an event dated in the future moved the frontier past the start of the backfill, it resumes from that start.
 */
export function resumedFrontier(
  unfinished: { frontier: bigint; startedAt: Date },
  options: { from: bigint | undefined; lookbackMs: number },
): bigint {
  const startedAt = ticksOfDate(unfinished.startedAt);
  const reached = unfinished.frontier < startedAt ? unfinished.frontier : startedAt;
  const earlier = atLeastMin(reached - ticksOfMilliseconds(options.lookbackMs));
  return options.from !== undefined && options.from > earlier ? options.from : earlier;
}

function atLeastMin(ticks: bigint): bigint {
  return ticks < MIN_TICKS ? MIN_TICKS : ticks;
}
