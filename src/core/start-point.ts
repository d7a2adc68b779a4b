/** Where a run begins. */
import { MIN_TICKS, ticksOfDate, ticksOfMilliseconds } from './ticks.ts';

/**
 * Up to where the source is known: the newest committed event, but no later than the moment it was read. An event dated in
 * the future was stored, and says nothing about what came after it was read.
 */
export function knownUntil(watermark: { ticks: bigint; readAt: Date }): bigint {
  const readAt = ticksOfDate(watermark.readAt);
  return watermark.ticks < readAt ? watermark.ticks : readAt;
}

/** The frontier of a run that goes on from a watermark: `lookbackMs` before what is known, to find what arrived late. */
export function nextFrontier(
  watermark: { ticks: bigint; readAt: Date },
  options: { now: Date; lookbackMs: number },
): bigint {
  const known = knownUntil(watermark);
  const now = ticksOfDate(options.now);
  return atLeastMin((known < now ? known : now) - ticksOfMilliseconds(options.lookbackMs));
}

/**
 * The frontier of a backfill that goes on: what arrived late since it began is read too, but nothing before `from`. Where an
 * event dated in the future led it beyond the time it began at, it goes on from there.
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
