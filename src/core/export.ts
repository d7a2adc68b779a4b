/**
 * The export loop: chunks from the source, committed one after another, each commit beside the reading of the next chunks.
 *
 * Each commit holds the rows of one chunk or of several, the watermark and the run's counters together, so that the watermark
 * never stands ahead of the rows. An error while reading ends the loop; what was committed stays.
 */
import { createCommitQueue } from './commit-queue.ts';
import type { RejectedRow } from './event.ts';
import { mergeCommits, type PendingCommit } from './pending-commit.ts';
import {
  type Chunk,
  isEmptyChunk,
  type ReadOptions,
  type ReadProgress,
  type ReadWarning,
  type Source,
  type StartPoint,
  throwIfInterrupted,
} from './source.ts';
import { addCommitted, type Commit, type CommitResult, type RunCounters, type RunSession } from './store.ts';

export interface ExportOptions extends Omit<ReadOptions, 'meter'> {
  /** Told of every chunk once its rows are committed. */
  onChunk?: ((progress: ChunkProgress) => void) | undefined;
  /** Told of every row newly kept aside, once it is committed. */
  onRejected?: ((rejected: RejectedRow) => void) | undefined;
  /** Told of what a person should know, once the rows it is about are committed. */
  onWarning?: ((warning: ReadWarning) => void) | undefined;
}

/** A chunk that was committed. */
export interface ChunkProgress extends ReadProgress {
  /** Events and rejected rows. */
  taken: number;
  frontier: bigint;
  waitMs: number;
  counters: RunCounters;
  /** Of the commit that ends with this chunk; none where it was committed together with the next one. */
  result: CommitResult | undefined;
}

/**
 * Reads from `start` to the end of the log (or `until`) and commits every row once.
 * `counters` are kept up to date throughout, so that they hold also when this throws.
 */
export async function exportEvents(
  source: Source,
  session: RunSession,
  counters: RunCounters,
  { start, ...options }: ExportOptions & { start: StartPoint },
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  let beganAt: Date | undefined;
  const commits = createCommitQueue<PendingCommit>({
    async commit(pending) {
      const result = await session.commit(pending.commit);
      Object.assign(counters, addCommitted(counters, pending.commit, result));
      report(options, pending, { counters, result });
    },
    merge: mergeCommits,
    assertWanted: () => throwIfInterrupted(signal),
    onFailure: () => stop.abort(),
  });
  try {
    for await (const chunk of source.read(start, { ...options, signal, meter: counters })) {
      beganAt ??= chunk.requestedAt;
      if (isEmptyChunk(chunk)) continue;
      const isEnd = chunk.isLast && options.until === undefined;
      const commit = commitOf(chunk, { isEnd, beganAt, counters });
      await commits.add({ commit, chunks: [describeChunk(chunk)], warnings: chunk.warnings });
    }
  } finally {
    // What a commit failed with is why the reading was stopped, and so it is thrown in place of what that came to.
    await commits.settled();
  }
}

function commitOf(chunk: Chunk, rest: Pick<Commit, 'isEnd' | 'beganAt' | 'counters'>): Commit {
  const { events, rejected, frontier, resume, sourceTotal, covered } = chunk;
  return { events, rejected, frontier, resume, sourceTotal, covered, ...rest };
}

function describeChunk(chunk: Chunk): PendingCommit['chunks'][number] {
  const { events, rejected, frontier, waitMs, progress } = chunk;
  return { ...progress, taken: events.length + rejected.length, frontier, waitMs };
}

function report(
  options: ExportOptions,
  { chunks, warnings }: PendingCommit,
  { counters, result }: { counters: RunCounters; result: CommitResult },
): void {
  for (const rejected of result.newlyRejected) options.onRejected?.(rejected);
  for (const warning of warnings) options.onWarning?.(warning);
  chunks.forEach((chunk, i) => {
    options.onChunk?.({ ...chunk, counters, result: i === chunks.length - 1 ? result : undefined });
  });
}
