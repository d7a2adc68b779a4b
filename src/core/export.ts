/**
 * The export loop: reads chunks from the source and commits them in order. Reading continues during a commit.
 *
 * Each commit contains the rows of one or more chunks, the watermark and the run's counters, so that the watermark is never
 * ahead of the stored rows. A read error ends the loop; committed data is kept.
 */

import { ExportError } from './errors.ts';
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
import {
  addCommitted,
  type Commit,
  type CommitResult,
  type RunCounters,
  type RunSession,
  rejectedOf,
} from './store.ts';
import { createWorkQueue } from './work-queue.ts';

export interface ExportOptions extends Omit<ReadOptions, 'meter'> {
  /** Called for every chunk after its rows are committed. */
  onChunk?: ((progress: ChunkProgress) => void) | undefined;
  /** Called for every newly rejected row after it is committed. */
  onRejected?: ((rejected: RejectedRow) => void) | undefined;
  /** Called for every commit with the chunks that it stored. */
  onCommitted?: ((chunks: readonly Chunk[], result: CommitResult) => void) | undefined;
  /** Called for every warning after the rows that it is about are committed. */
  onWarning?: ((warning: ReadWarning) => void) | undefined;
}

/** A committed chunk. */
export interface ChunkProgress extends ReadProgress {
  /** Number of events and rejected rows. */
  taken: number;
  frontier: bigint;
  waitMs: number;
  counters: RunCounters;
  /** The result of the commit whose last chunk this is; `undefined` if it was committed together with the next chunk. */
  result: CommitResult | undefined;
}

/**
 * Reads from `start` to the end of the log (or `until`) and commits every row once.
 * `counters` are updated after every commit, so that they are correct even if this throws.
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
  let unreadable: RejectedRow | undefined;
  const commits = createWorkQueue<PendingCommit>({
    async work(pending) {
      const result = await session.commit(pending.commit);
      Object.assign(counters, addCommitted(counters, { rejected: rejectedOf(pending.commit) }, result));
      report(options, pending, { counters, result });
    },
    merge: mergeCommits,
    throwIfStopped: () => throwIfInterrupted(signal),
    onFailure: () => stop.abort(),
  });
  try {
    for await (const chunk of source.read(start, { ...options, signal, meter: counters })) {
      beganAt ??= chunk.requestedAt;
      unreadable = chunk.isUnreadable ? (unreadable ?? chunk.others.rejected[0]) : undefined;
      if (isEmptyChunk(chunk)) continue;
      const isEnd = chunk.isLast && options.until === undefined && !chunk.isUnreadable;
      // The end of a commit is processed before the rows of another one are encoded.
      await new Promise(setImmediate);
      const prepared = session.prepare?.(chunk);
      const commit = {
        ...commitOf(chunk, { isEnd, beganAt, counters }),
        prepared: prepared && [prepared],
      };
      await commits.add({ commit, chunks: [chunk], warnings: chunk.warnings });
    }
  } finally {
    // A failed commit stops the read. Its error is the cause, so it replaces the error of the read.
    await commits.settled();
  }
  if (unreadable) throw unreadableError(unreadable);
}

const MAX_SHOWN_CHARACTERS = 300;

function unreadableError({ reason, text }: RejectedRow): ExportError {
  const shown = text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
  return new ExportError(
    'source-invalid',
    `None of the rows that the source returned can be read as an event (${reason}). They are kept as rejected rows; watermark and ` +
      `coverage are unchanged. One of them: ${shown} Report it, with the version of this program, if the source is a UiPath.`,
  );
}

function commitOf(chunk: Chunk, rest: Pick<Commit, 'isEnd' | 'beganAt' | 'counters'>): Commit {
  const { span, events, rejected, others, oldest, frontier, resume, sourceTotal, sourceTime, covered, gap } =
    chunk;
  return {
    span,
    events,
    rejected,
    others,
    oldest,
    frontier,
    resume,
    sourceTotal,
    sourceTime,
    covered,
    gap,
    ...rest,
  };
}

function report(
  options: ExportOptions,
  { chunks, warnings }: PendingCommit,
  { counters, result }: { counters: RunCounters; result: CommitResult },
): void {
  options.onCommitted?.(chunks, result);
  for (const rejected of result.newlyRejected) options.onRejected?.(rejected);
  for (const warning of warnings) options.onWarning?.(warning);
  chunks.forEach(({ events, rejected, frontier, waitMs, progress }, i) => {
    const taken = events.length + rejected.length;
    const isLast = i === chunks.length - 1;
    options.onChunk?.({
      ...progress,
      taken,
      frontier,
      waitMs,
      counters,
      result: isLast ? result : undefined,
    });
  });
}
