/**
 * Paging through a tie group that no page can hold.
 *
 * Within one `createdOn` sortedness proves nothing, so a page that continues the group is accepted when it begins with
 * the very rows the page before ended with. When that fails a few times, because the source gives ties in another order at
 * every request, the pages are merged instead: each row as often as the page that showed it most often. Such a group may
 * be incomplete after one run; the lookback of later runs reads it again, and the warning says so.
 */
import type { SourceRow } from '../event.ts';
import { formatTicks } from '../ticks.ts';
import type { Page } from './page.ts';

/** After so many broken chains, pages of one tie group are merged without proof of continuity. */
const MOST_BROKEN_CHAINS = 3;
/** So many rows at most are asked for twice to prove that a page continues the one before. */
const LARGEST_OVERLAP = 16;

export interface Chain {
  /** The place of every row in the group. */
  readonly ticks: bigint;
  /** The group's rows so far; empty when the group lies before the frontier. */
  readonly rows: readonly SourceRow[];
  /** The rows that the last page ended with, as text, and the offset of the first of them. */
  readonly anchor: readonly string[];
  readonly skip: number;
  /** Length of the list then. */
  readonly totalCount: number;
  readonly warning: string;
  /** Each page was seen to continue the one before, so that no row of the group can be missing. */
  readonly isProven: boolean;
}

/** `rows` are the group's rows up to the end of `page`; the next request is at the chain's `skip`. */
export function startChain(ticks: bigint, rows: readonly SourceRow[], page: Page): Chain {
  const overlap = Math.min(LARGEST_OVERLAP, Math.floor(page.rows.length / 2));
  const anchor = page.rows.slice(-overlap).map(textOf);
  const warning = `More events share createdOn ${formatTicks(ticks)} than one page holds; they were read page by page`;
  const { totalCount } = page;
  return {
    ticks,
    rows,
    anchor,
    skip: page.skip + page.rows.length - overlap,
    totalCount,
    warning,
    isProven: true,
  };
}

/**
 * The group's rows with those of `page` (and the newer rows that follow in it), or `undefined` when the page does not
 * continue the group.
 */
export function continueChain(chain: Chain, page: Page, brokenChains: number): Chain | undefined {
  const overlap = chain.anchor.length;
  if (page.skip !== chain.skip) return undefined;
  // Rows that are alike look the same after the list moved by one; then only its length can tell.
  const canTellMoves = new Set(chain.anchor).size === overlap || page.totalCount === chain.totalCount;
  if (canTellMoves && chain.anchor.every((text, i) => page.rows[i] && textOf(page.rows[i]) === text)) {
    return {
      ...chain,
      rows: chain.rows.length > 0 ? [...chain.rows, ...page.rows.slice(overlap)] : page.rows,
    };
  }
  const isInGroup = (row: SourceRow) => row.ticks === undefined || row.ticks === chain.ticks;
  if (brokenChains < MOST_BROKEN_CHAINS || !isInGroup(page.rows[0]!)) return undefined;
  const groupEnd = page.rows.findIndex((row) => !isInGroup(row));
  const cut = groupEnd === -1 ? page.rows.length : groupEnd;
  const merged = mergeByCount(chain.rows, page.rows.slice(0, cut));
  const warning = `${chain.warning}, and their order changed between two requests: some may be stored only by a later run`;
  return { ...chain, rows: [...merged, ...page.rows.slice(cut)], warning, isProven: false };
}

/** The rows of both, each as often as it stands in the one that has it more often. */
function mergeByCount(known: readonly SourceRow[], seen: readonly SourceRow[]): SourceRow[] {
  const left = new Map<string, number>();
  for (const row of known) left.set(textOf(row), (left.get(textOf(row)) ?? 0) + 1);
  const added = seen.filter((row) => {
    const count = left.get(textOf(row)) ?? 0;
    left.set(textOf(row), count - 1);
    return count <= 0;
  });
  return [...known, ...added];
}

/** Equal for two rows exactly when the source sent the same content. */
function textOf(row: SourceRow): string {
  if (row.rejected) return `rejected ${row.rejected.text}`;
  const { createdOnTicks, ...rest } = row.event;
  return JSON.stringify([createdOnTicks.toString(), rest]);
}
