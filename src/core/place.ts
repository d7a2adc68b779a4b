/**
 * The place of a time in the order of a source's rows: the start of its millisecond. A source may order the rows of one millisecond in any
 * way, so that they have one place and are one tie group.
 */
import { TICKS_PER_MILLISECOND } from './ticks.ts';

export function placeOfTicks(ticks: bigint): bigint {
  const rest = ticks % TICKS_PER_MILLISECOND;
  return rest === 0n ? ticks : ticks - (rest < 0n ? rest + TICKS_PER_MILLISECOND : rest);
}

/** The first place after this one. */
export function afterPlace(place: bigint): bigint {
  return place + TICKS_PER_MILLISECOND;
}
