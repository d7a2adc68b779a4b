/** Chunks that are committed together, because they came while another commit was under way. */
import type { ChunkProgress } from './export.ts';
import type { IdentifiedEvent } from './identity.ts';
import type { ReadWarning } from './source.ts';
import type { Commit } from './store.ts';

/** What is to be committed together, and what is to be told of its chunks afterwards. */
export interface PendingCommit {
  commit: Commit;
  chunks: Omit<ChunkProgress, 'counters' | 'result'>[];
  warnings: ReadWarning[];
}

/** One commit holds no more: a fraction of a second's work, and a bound for what is held in memory. */
const MAX_CHUNKS = 4;
const MAX_CHARACTERS = 4 * 1024 * 1024;

/** Nothing when that is too much for one commit, or when the later chunks begin a range of their own. */
export function mergeCommits(earlier: PendingCommit, later: PendingCommit): PendingCommit | undefined {
  if (earlier.chunks.length === MAX_CHUNKS) return undefined;
  const [first, second] = [earlier.commit, later.commit];
  const events = [...first.events, ...second.events];
  const isOnePiece = !first.covered || (second.covered && second.covered.from <= first.covered.from);
  if (!isOnePiece || charactersOf(events) > MAX_CHARACTERS) return undefined;
  return {
    commit: { ...second, events, rejected: [...first.rejected, ...second.rejected] },
    chunks: [...earlier.chunks, ...later.chunks],
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
