/**
 * The rank rule as steps without IO. An offset in a sorted list is a rank, and stored rows have ranks too: where both agree, nothing
 * is missing in front of that place. Ranks say where to look; only the rows of one response decide what is missing or gone.
 *
 * A step is a generator: it yields what it needs (a response that has been compared with the store, or numbers of stored rows) and
 * receives it. `prover.ts` supplies both; tests supply them from memory.
 */
import type { Comparison } from '../../store.ts';
import type { NewestGroup } from '../frontier.ts';
import type { Page } from '../page.ts';
import type { PlacedPage } from '../places.ts';
import type { Sequenced } from '../sequence.ts';

export type Request =
  /** A page, and its comparison with the store. */
  | { kind: 'look'; skip: number; top: number; isHeadStep: boolean }
  /** Another comparison of this page, as one that shows the end of the list. */
  | { kind: 'settle'; page: Sequenced<Page> }
  /** Numbers of stored rows after `after` and before each place. */
  | { kind: 'count'; after: bigint; places: readonly bigint[] };

/** A page that was compared with the store. */
export interface Look {
  page: Sequenced<Page>;
  placed: PlacedPage;
  comparison: Comparison;
  /** The page provably reaches the end of the list. */
  isEnd: boolean;
}

export type Step<T> = Generator<Request, T, Look | readonly number[]>;

export function* look({ skip, top }: { skip: number; top: number }, { isHeadStep = false } = {}): Step<Look> {
  return (yield { kind: 'look', skip: Math.max(0, skip), top, isHeadStep }) as Look;
}

export function* settle(page: Sequenced<Page>): Step<Look> {
  return (yield { kind: 'settle', page }) as Look;
}

export function* count(after: bigint, places: readonly bigint[]): Step<readonly number[]> {
  if (places.length === 0) return [];
  return (yield { kind: 'count', after, places }) as readonly number[];
}

/** The end of the list. */
export interface ListEnd {
  /** `undefined` if the list is empty. */
  newest: (NewestGroup & { page: Sequenced<Page> }) | undefined;
  /** The page that reached the end. */
  page: Sequenced<Page>;
}

/** What the steps of one run share. The driver updates it with each response. */
export interface RankRun {
  /** Rows to request at once. May change with each response. */
  readonly pageSize: number;
  /** The head instant; BEFORE_ALL before the first. */
  head: bigint;
  /** The most rows that the server has sent in one response. */
  largest: number;
  /** Responses that showed rows which were not stored, or not expected, with the oldest of these rows. */
  readonly changes: { sent: number; received: number; place: bigint }[];
  /** Offset of the first row after the head instant, as last seen. */
  headOffset: number;
  /** Rows inserted, shown again, suspected or confirmed so far. */
  news: number;
  /** When something may be suspected that was stored too recently. */
  settlesAt: Date | undefined;
  isSourceChanged: boolean;
}

/** A tie group with the offset of its first row. */
export interface RankedGroup {
  offset: number;
  place: bigint;
}

/** The groups whose first row the page shows, with their offsets. */
export function groupsOf({ page, skip, places }: PlacedPage): RankedGroup[] {
  const groups: RankedGroup[] = [];
  for (let i = page.skip === 0 ? 0 : 1; i < places.length; i++) {
    if (i === 0 || places[i]! > places[i - 1]!) groups.push({ offset: skip + i, place: places[i]! });
  }
  return groups;
}
