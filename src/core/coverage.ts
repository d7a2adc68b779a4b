/** What of time a run has read without a hole, and where a hole may be. */
import { formatTicks, ticksOfDate } from './ticks.ts';

/** A half-open range of time that the run has read without a hole. */
export interface CoveredRange {
  from: bigint;
  to: bigint;
  /** It begins with the oldest event that the source still has. */
  isFromHead: boolean;
}

/** What a response adds to what the run has read. */
interface Reading {
  /** Ticks of the oldest row the source still has, where this response shows it. */
  head: bigint | undefined;
  /** Every row older than this is taken. */
  frontier: bigint;
  /** The tie group that was taken although rows of it may be missing, if any. */
  unproven: bigint | undefined;
}

/**
 * What the run has read in one piece, with this response. A list that begins later than the piece ends begins a new one, as
 * does the end of a tie group that may be incomplete. Nothing is said of the time after the run began, whatever an event is
 * dated: more may come there.
 */
export function extendCovered(
  before: CoveredRange | undefined,
  { head, frontier, unproven }: Reading,
  { start, beganAt }: { start: bigint | undefined; beganAt: Date },
): CoveredRange | undefined {
  const reached = before?.to ?? start;
  const now = ticksOfDate(beganAt);
  const to = frontier < now ? frontier : now;
  if (unproven !== undefined) return { from: unproven + 1n, to, isFromHead: false };
  if (head !== undefined && (reached === undefined || head >= reached)) {
    return { from: head, to, isFromHead: true };
  }
  const from = before?.from ?? start;
  return from === undefined ? undefined : { from, to, isFromHead: before?.isFromHead === true };
}

/** The retention guard: when even the oldest row is newer than what is known, rows between may be gone unread. */
export function gapBefore(
  head: bigint | undefined,
  known: bigint | undefined,
): { from: bigint; to: bigint } | undefined {
  if (head === undefined || known === undefined || head <= known) return undefined;
  return { from: known, to: head };
}

export function describeGap({ from, to }: { from: bigint; to: bigint }): string {
  return (
    `The oldest event at the source is of ${formatTicks(to)}, and events were read up to ${formatTicks(from)} only: those ` +
    'between may have been deleted before they were read.'
  );
}
