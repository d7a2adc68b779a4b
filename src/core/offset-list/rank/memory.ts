/** What the rank rule keeps from run to run: all of it hints, save the head instant, which the store keeps. */
import type { Json } from '../../source.ts';
import type { ScrubCursor } from './review.ts';

export interface RankMemory {
  /** The most rows that the server has sent in one response. */
  largest: number;
  /** Offset of the first row after the head instant. */
  headOffset: number;
  scrub: ScrubCursor;
  /** A difference that a search confined to one page and could not resolve. */
  difference: { missing: number } | undefined;
  /** The newest place of the last count. */
  newest: bigint | undefined;
  /** A place at which the source's list was another one. It is looked at again. */
  changedAt: bigint | undefined;
  /** The newest place known when the source changed. The source is the same one again when its list reaches back to it. */
  newestBeforeChange: bigint | undefined;
}

export function formatRanks({
  largest,
  headOffset,
  scrub,
  difference,
  changedAt,
  newestBeforeChange,
  newest,
}: RankMemory): Json {
  return {
    largest,
    headOffset,
    scrub: { skip: scrub.skip, place: scrub.place === undefined ? null : scrub.place.toString() },
    difference: difference ? { missing: difference.missing } : null,
    changedAt: changedAt === undefined ? null : changedAt.toString(),
    newestBeforeChange: newestBeforeChange === undefined ? null : newestBeforeChange.toString(),
    newest: newest === undefined ? null : newest.toString(),
  };
}

/** Reads what `formatRanks` wrote. Anything else, such as the value of another kind of source, counts as not there. */
export function parseRanks(ranks: Json): RankMemory {
  const value = objectIn(ranks);
  const scrub = objectIn(value.scrub);
  const difference = objectIn(value.difference);
  const missing = difference.missing;
  return {
    largest: naturalIn(value.largest),
    headOffset: naturalIn(value.headOffset),
    scrub: { skip: naturalIn(scrub.skip), place: bigintIn(scrub.place) },
    difference: typeof missing === 'number' ? { missing } : undefined,
    changedAt: bigintIn(value.changedAt),
    newestBeforeChange: bigintIn(value.newestBeforeChange),
    newest: bigintIn(value.newest),
  };
}

function objectIn(value: Json | undefined): { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as { readonly [key: string]: Json })
    : {};
}

function naturalIn(value: Json | undefined): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

function bigintIn(value: Json | undefined): bigint | undefined {
  return typeof value === 'string' && /^-?\d{1,20}$/.test(value) ? BigInt(value) : undefined;
}
