/** Chunks that arrived during another commit and are committed together. */
import type { ChunkProgress } from './export.ts';
import type { IdentifiedEvent } from './identity.ts';
import type { ReadWarning } from './source.ts';
import type { Commit } from './store.ts';

/** One commit, and what to report about its chunks afterwards. */
export interface PendingCommit {
  commit: Commit;
  chunks: Omit<ChunkProgress, 'counters' | 'result'>[];
  warnings: ReadWarning[];
}

/** Limits of one commit: they bound its duration to a fraction of a second, and memory. */
const MAX_CHUNKS = 4;
const MAX_CHARACTERS = 4 * 1024 * 1024;

/** Merges two commits. Returns `undefined` if the result is too large or the later chunks start a new covered range. */
export function mergeCommits(earlier: PendingCommit, later: PendingCommit): PendingCommit | undefined {
  if (earlier.chunks.length === MAX_CHUNKS) return undefined;
  const [first, second] = [earlier.commit, later.commit];
  const events = [...first.events, ...second.events];
  const isOneRange = !first.covered || (second.covered && second.covered.from <= first.covered.from);
  if (!isOneRange || charactersOf(events) > MAX_CHARACTERS) return undefined;
  return {
    commit: { ...second, events, rejected: [...first.rejected, ...second.rejected] },
    chunks: [...earlier.chunks, ...later.chunks],
    warnings: [...earlier.warnings, ...later.warnings],
  };
}

/** An estimate: counts only the fields that can be long. */
function charactersOf(events: readonly IdentifiedEvent[]): number {
  return events.reduce(
    (sum, { event }) => sum + (event.auditLogDetails?.length ?? 0) + (event.raw?.length ?? 0),
    0,
  );
}
