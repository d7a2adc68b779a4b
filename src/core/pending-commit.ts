/** Chunks that arrived during another commit and are committed together. */
import type { IdentifiedEvent } from './identity.ts';
import type { Chunk, ReadWarning } from './source.ts';
import type { Commit } from './store.ts';

/** One commit, and what to report about its chunks afterwards. */
export interface PendingCommit {
  commit: Commit;
  chunks: Chunk[];
  warnings: ReadWarning[];
}

/** Limits of one commit: they bound its duration to a fraction of a second, and memory. */
const MAX_CHUNKS = 4;
const MAX_CHARACTERS = 2.25 * 1024 * 1024;

/** Merges two commits. Returns `undefined` if the result is too large or the later chunks start a new covered range. */
export function mergeCommits(earlier: PendingCommit, later: PendingCommit): PendingCommit | undefined {
  if (earlier.chunks.length === MAX_CHUNKS) return undefined;
  const [first, second] = [earlier.commit, later.commit];
  const span = mergeSpans(first.span, second.span);
  // An event may be among the other rows of one response and in the span of the next one.
  if (hasOthers(first) || hasOthers(second)) return undefined;
  const isOneRange = !first.covered || (second.covered && second.covered.from <= first.covered.from);
  if (!isOneRange || !span) return undefined;
  const events = [...first.events, ...second.events];
  if (charactersOf(events) > MAX_CHARACTERS) return undefined;
  const rejected = [...first.rejected, ...second.rejected];
  return {
    commit: {
      ...second,
      span,
      events,
      rejected,
      oldest: second.oldest ?? first.oldest,
      gap: first.gap ?? second.gap,
      prepared: first.prepared && second.prepared && [...first.prepared, ...second.prepared],
    },
    chunks: [...earlier.chunks, ...later.chunks],
    warnings: [...earlier.warnings, ...later.warnings],
  };
}

function hasOthers({ others }: Commit): boolean {
  return others.events.length + others.rejected.length > 0;
}

/** The span of both, if the second one continues the first. */
function mergeSpans(first: Commit['span'], second: Commit['span']): Commit['span'] {
  return first && second && first.to === second.from ? { from: first.from, to: second.to } : undefined;
}

/** An estimate: counts only the fields that can be long. */
export function charactersOf(events: readonly IdentifiedEvent[]): number {
  return events.reduce(
    (sum, { event }) => sum + (event.auditLogDetails?.length ?? 0) + (event.raw?.length ?? 0),
    0,
  );
}
