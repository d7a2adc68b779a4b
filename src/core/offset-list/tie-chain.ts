/**
 * Pages through a tie group that is larger than a page.
 *
 * Within one millisecond the sort order proves nothing. A page is accepted as the continuation of the group if it starts with
 * exactly the rows that the previous page ended with (the anchor). If that fails several times, because the source returns
 * ties in another order at every request, the pages are merged instead: each row as often as in the page that showed it most
 * often. Such a group may be incomplete after one run; a warning says so, and the count of the run does not prove it.
 */
import type { SourceRow } from '../event.ts';
import { placeOfTicks } from '../place.ts';
import { findReplacements } from '../rerendering.ts';
import { formatTicks } from '../ticks.ts';
import type { Page } from './page.ts';

/** After this many broken chains, pages of one tie group are merged without proof of continuity. */
const MAX_BROKEN_CHAINS = 3;
/** Maximum rows requested twice to prove that a page continues the previous one. */
const MAX_OVERLAP = 16;

export interface Chain {
  /** The place of every row in the group. */
  readonly place: bigint;
  /** The group's rows so far; empty if the group is before the frontier. */
  readonly rows: readonly SourceRow[];
  /** The last rows of the last page, as text, and the offset of the first of them. */
  readonly anchor: readonly string[];
  readonly skip: number;
  /** Length of the list at that time. */
  readonly totalCount: number;
  readonly warning: string;
  /** Whether each page provably continued the previous one, so that no row of the group can be missing. */
  readonly isProven: boolean;
}

/** Starts a chain. `rows` are the group's rows up to the end of `page`. The next request starts at the chain's `skip`. */
export function startChain(place: bigint, rows: readonly SourceRow[], page: Page): Chain {
  const overlap = Math.min(MAX_OVERLAP, Math.floor(page.rows.length / 2));
  const anchor = page.rows.slice(-overlap).map(textOf);
  const warning = `More events share the millisecond ${formatTicks(place)} than fit in one page; they were read page by page`;
  const { totalCount } = page;
  return {
    place,
    rows,
    anchor,
    skip: page.skip + page.rows.length - overlap,
    totalCount,
    warning,
    isProven: true,
  };
}

/**
 * Adds the rows of `page`, including the newer rows after the group. Returns `undefined` if the page does not continue the
 * group.
 */
export function continueChain(
  chain: Chain,
  page: Page,
  { brokenChains, isUnsteady }: { brokenChains: number; isUnsteady: boolean },
): Chain | undefined {
  const overlap = chain.anchor.length;
  if (page.skip !== chain.skip) return undefined;
  // If the anchor's rows are equal, a list that moved by one looks the same; only its length shows the move.
  const canDetectMoves = new Set(chain.anchor).size === overlap || page.totalCount === chain.totalCount;
  if (canDetectMoves && chain.anchor.every((text, i) => page.rows[i] && textOf(page.rows[i]) === text)) {
    if (chain.rows.length === 0) return { ...chain, rows: page.rows };
    const added = page.rows.slice(overlap);
    // In an unsteady list the anchor may be there by chance, and the rows behind it may be those of earlier pages.
    const mayRepeat = isUnsteady && hasSameRow(chain.rows, added);
    if (!mayRepeat) return { ...chain, rows: [...chain.rows, ...added] };
    return mergePage(chain, added);
  }
  if (brokenChains < MAX_BROKEN_CHAINS || !isInGroup(chain, page.rows[0]!)) return undefined;
  return mergePage(chain, page.rows);
}

/** Adds rows of the group each as often as the page shows it, and the newer rows behind them. */
function mergePage(chain: Chain, rows: readonly SourceRow[]): Chain {
  const groupEnd = rows.findIndex((row) => !isInGroup(chain, row));
  const cut = groupEnd === -1 ? rows.length : groupEnd;
  const merged = mergeByCount(chain.rows, rows.slice(0, cut));
  const warning = `${chain.warning}, and their order changed between two requests: some may be stored only by a later run`;
  return { ...chain, rows: [...merged, ...rows.slice(cut)], warning, isProven: false };
}

function isInGroup({ place }: Chain, { ticks }: SourceRow): boolean {
  return ticks === undefined || placeOfTicks(ticks) === place;
}

function hasSameRow(known: readonly SourceRow[], added: readonly SourceRow[]): boolean {
  const texts = new Set(known.map(textOf));
  return added.some((row) => texts.has(textOf(row)));
}

/** The rows of both lists, each as often as in the list that contains it more often. */
export function mergeByCount(known: readonly SourceRow[], seen: readonly SourceRow[]): SourceRow[] {
  const left = new Map<string, number>();
  for (const text of known.map(textOf)) left.set(text, (left.get(text) ?? 0) + 1);
  const added = seen.filter((row) => {
    const text = textOf(row);
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
  return [...known, ...added];
}

/**
 * The rows of a group that a page shows, and those that an earlier page showed and that are deleted since. A row that the page shows in
 * another form is not deleted.
 */
export function addEarlierRows(rows: readonly SourceRow[], earlier: readonly SourceRow[]): SourceRow[] {
  const merged = mergeByCount(rows, earlier);
  const deleted = merged
    .slice(rows.length)
    .flatMap((row) => (row.event ? [{ row, rendering: row.event }] : []));
  const replacements = findReplacements(
    deleted.map((each) => ({ ...each, absence: undefined, batch: 0n })),
    () => {
      const news = mergeByCount(earlier, rows).slice(earlier.length);
      return news.flatMap((row) =>
        row.event ? [{ event: row, rendering: row.event, batch: undefined }] : [],
      );
    },
  );
  const replaced = new Set<SourceRow>(replacements.map(({ row }) => row));
  return merged.filter((row) => !replaced.has(row));
}

export function isSameRow(a: SourceRow, b: SourceRow): boolean {
  return a.ticks === b.ticks && textOf(a) === textOf(b);
}

/** A text that is equal for two rows exactly if the source sent the same content. */
function textOf(row: SourceRow): string {
  if (row.rejected) return `rejected ${row.rejected.text}`;
  const { createdOnTicks, ...rest } = row.event;
  return JSON.stringify([createdOnTicks.toString(), rest]);
}
