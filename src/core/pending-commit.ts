/** Pages that are committed together, because they came while another commit was under way. */
import type { Batch, PageProgress } from './export.ts';
import type { IdentifiedEvent } from './identity.ts';

/** What is to be committed together, and what is to be told of its pages afterwards. */
export interface Group {
  batch: Batch;
  pages: Omit<PageProgress, 'counters' | 'result'>[];
  warnings: string[];
}

/** So much is committed at once at most: a fraction of a second's work, and a bound for what is held in memory. */
const MOST_PAGES_TOGETHER = 4;
const MOST_CHARACTERS_TOGETHER = 4 * 1024 * 1024;

/** Nothing when that is too much for one commit, or when the later pages begin a range of their own. */
export function mergeGroups(earlier: Group, later: Group): Group | undefined {
  if (earlier.pages.length === MOST_PAGES_TOGETHER) return undefined;
  const [first, second] = [earlier.batch, later.batch];
  const events = [...first.events, ...second.events];
  const isOnePiece = !first.covered || (second.covered && second.covered.from <= first.covered.from);
  if (!isOnePiece || charactersOf(events) > MOST_CHARACTERS_TOGETHER) return undefined;
  return {
    batch: { ...second, events, rejected: [...first.rejected, ...second.rejected] },
    pages: [...earlier.pages, ...later.pages],
    warnings: [...earlier.warnings, ...later.warnings],
  };
}

/** Roughly: of what can be long. */
function charactersOf(events: readonly IdentifiedEvent[]): number {
  return events.reduce(
    (sum, { event }) => sum + (event.auditLogDetails?.length ?? 0) + (event.raw?.length ?? 0),
    0,
  );
}
