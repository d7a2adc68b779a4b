/** Coverage: the range of time that a run has read completely, and gaps in it. */
import { afterPlace } from './place.ts';
import { formatTicks } from './ticks.ts';

/** A half-open range of time that the run has read completely. */
export interface CoveredRange {
  from: bigint;
  to: bigint;
  /** Whether the range starts with the oldest event that the source still has. */
  isFromHead: boolean;
}

/** What one response contributes to the coverage. */
interface Reading {
  /** Ticks of the oldest row that the source still has, if this response shows it. */
  head: bigint | undefined;
  /** Every row older than this has been read. */
  frontier: bigint;
  /** The place of the tie group that may be incomplete, if any. */
  unproven: bigint | undefined;
}

/**
 * Extends the covered range of the run by one response. A new range starts where the list's oldest row is newer than the end
 * of the range, and after a tie group that may be incomplete. `now` is the source's clock when the response was requested: a range
 * never ends later, even if an event has a later date. A count that agrees extends the range to the time of its last request.
 */
export function extendCovered(
  before: CoveredRange | undefined,
  { head, frontier, unproven }: Reading,
  { start, now }: { start: bigint | undefined; now: bigint },
): CoveredRange | undefined {
  const reached = before?.to ?? start;
  const to = frontier > now ? now : frontier;
  if (unproven !== undefined) return { from: afterPlace(unproven), to, isFromHead: false };
  if (head !== undefined && (reached === undefined || head >= reached)) {
    return { from: head, to, isFromHead: true };
  }
  const from = before?.from ?? start;
  return from === undefined ? undefined : { from, to, isFromHead: before?.isFromHead === true };
}

/** The retention guard: if the oldest row is newer than the end of what was read, unread rows in between may have been deleted. */
export function gapBefore(
  head: bigint | undefined,
  known: bigint | undefined,
): { from: bigint; to: bigint } | undefined {
  if (head === undefined || known === undefined || head <= known) return undefined;
  return { from: known, to: head };
}

export function describeGap({ from, to }: { from: bigint; to: bigint }): string {
  return (
    `The oldest event at the source is from ${formatTicks(to)}, but events were read only up to ${formatTicks(from)}: events ` +
    'in between may have been deleted before they were read.'
  );
}
