/** The spans of time in which a comparison found events missing: a copy must not claim to be complete there. */
import { afterPlace, placeOfTicks } from './place.ts';

/** A half-open range in ticks, of whole milliseconds. */
export interface Span {
  from: bigint;
  to: bigint;
}

/** With more, the nearest ones become one: a range for each of a million events helps nobody. */
const MAX_SPANS = 200;

/** Collects spans. Call `add` with all events of the source in order, and `addSpan` in any order. */
export function createMissingSpans(maxSpans = MAX_SPANS) {
  let spans: Span[] = [];
  let isOpen = false;
  const push = (span: Span) => {
    spans.push(span);
    if (spans.length > 2 * maxSpans) spans = joinNearest(spans, maxSpans);
  };
  return {
    /** Missing events with none between them that is stored are one span. */
    add(ticks: bigint, isMissing: boolean): void {
      if (isMissing) {
        const own = spanOf(ticks);
        if (isOpen) spans.at(-1)!.to = own.to;
        else push(own);
      }
      isOpen = isMissing;
    },
    addSpan(span: Span): void {
      push({ ...span });
      isOpen = false;
    },
    /** Sorted and disjoint, at most `maxSpans`. */
    read: () => joinNearest(spans, maxSpans),
  };
}

/** The millisecond of an event: the events of one have no order. */
export function spanOf(ticks: bigint): Span {
  const from = placeOfTicks(ticks);
  return { from, to: afterPlace(from) };
}

/** Sorts, joins spans that touch, and then those with the least time between them until at most `max` are left. */
function joinNearest(spans: readonly Span[], max: number): Span[] {
  const joined = joinWithin(spans, 0n);
  if (joined.length <= max) return joined;
  const distances = joined.slice(1).map((span, i) => span.from - joined[i]!.to);
  const sorted = distances.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return joinWithin(joined, sorted[joined.length - max - 1]!);
}

function joinWithin(spans: readonly Span[], distance: bigint): Span[] {
  const joined: Span[] = [];
  for (const span of spans.toSorted((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0))) {
    const last = joined.at(-1);
    if (!last || span.from - last.to > distance) joined.push({ ...span });
    else if (span.to > last.to) last.to = span.to;
  }
  return joined;
}
