/** Where a run starts. */
import { placeOfTicks } from './place.ts';
import { MIN_TICKS, ticksOfDate, ticksOfMilliseconds } from './ticks.ts';

/**
 * The frontier of a run that continues from a watermark: the start of its millisecond, or `lookbackMs` earlier. No clock is involved: the
 * order of the list decides.
 */
export function nextFrontier(watermark: { ticks: bigint }, { lookbackMs }: { lookbackMs: number }): bigint {
  return atLeastMin(placeOfTicks(watermark.ticks - ticksOfMilliseconds(lookbackMs)));
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
