/**
 * The port to the source of events. A source reads one log from a start point to its end, in chunks.
 *
 * Every source guarantees:
 * - Chunks are sorted by time and their frontier never decreases: once a chunk is committed, every row that the source showed
 *   and that is older than the chunk's frontier is committed.
 * - No row that the source shows is omitted. A row may be in more than one chunk.
 * - A source may prefetch beyond the chunk that it yields. It cancels its requests when the caller stops reading.
 * - `resume` is opaque: callers store it and pass it back, and never interpret it.
 *
 * A list with offsets (`offset-list/`) yields one chunk for each response. A source that filters by time would yield a chunk
 * after it has read a window completely, and store its cursor in `resume`.
 */
import type { CoveredRange } from './coverage.ts';
import { ExportError } from './errors.ts';
import { placeOfTicks } from './place.ts';
import type { Prover, ProverOptions } from './prover.ts';
import type { RankStore, Shown } from './store.ts';

/** A JSON value that `jsonb` stores unchanged: no NUL in a string, no integer beyond 2^53. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Where a read starts. */
export interface StartPoint {
  /** Rows older than these ticks count as read; `undefined` starts at the oldest row. */
  frontier: bigint | undefined;
  /** Rows older than these ticks are not yielded, even if the source shows them. */
  from?: bigint | undefined;
  /** The end of what earlier runs have read. If the source's oldest row is newer, there is a gap. `undefined`: nothing was read. */
  known?: bigint | undefined;
  /** The `resume` of a chunk of an earlier read. A hint: a wrong one costs requests, never rows. */
  resume?: Json | undefined;
  /** Approximate number of rows between `frontier` and the position of `resume`. They are read again. */
  rowsBeforeResume?: number | undefined;
}

export interface ReadOptions {
  /** Exclusive end: rows at or after this are not read. */
  until?: bigint | undefined;
  /** Count the rows up to `until` first, for `progress.total`. Costs a few requests, which the meter does not count. */
  shouldMeasure?: boolean | undefined;
  /** Rows requested at once. The source may return fewer. */
  pageSize: number;
  /** Maximum requests in flight at once. */
  concurrency: number;
  /** Stops the read with `interrupted`. */
  signal: AbortSignal;
  /** Updated during the read, so that it is correct even if the read throws. */
  meter: ReadMeter;
}

/** A condition that a person should know. The message states what was found; the caller adds what to do. */
export interface ReadWarning {
  kind: /** Rows may have been deleted before they were read. */
    | 'gap'
    /** More rows share one millisecond than fit in one response. */
    | 'large-tie-group'
    /** The source contradicts itself in a way that the read does not depend on. */
    | 'source';
  message: string;
}

/** The result of one step of a read: what one response shows. */
export interface Chunk extends Shown {
  /** Every row older than this is in this chunk or an earlier one. */
  frontier: bigint;
  /** The range in which every event that the source shows is in this chunk or an earlier one. It grows with each chunk. */
  covered: CoveredRange | undefined;
  /** The span before the source's oldest row that no read has reached: its rows may have been deleted unread. */
  gap: { from: bigint; to: bigint } | undefined;
  warnings: ReadWarning[];
  /** Lets a later read continue from `frontier`. */
  resume: Json;
  /** The last chunk: the source has no newer row, or none before `until`. */
  isLast: boolean;
  /** The total number of rows, if the source reports it. A hint. */
  sourceTotal: number | undefined;
  /** When the request for this chunk was sent, by this machine's clock. */
  requestedAt: Date;
  /** The source's clock at the response; this machine's if the response does not show it. Later events are dated ahead. */
  sourceTime: Date;
  /** The read has found rows, and none of them so far has a readable time; or it cannot go on because of such rows. */
  isUnreadable: boolean;
  /** What the source's prover needs to know about this chunk. */
  evidence: unknown;
  /** How long the read waited for the response; less than the request's duration if it was prefetched. */
  waitMs: number;
  progress: ReadProgress;
}

/** Rows read so far, and an estimate of the total. */
export interface ReadProgress {
  done: number;
  total: number;
}

/** Counts requests to the source. The source increments it, the run reads it. */
export interface RequestMeter {
  /** Requests for rows, including retries, without token requests. */
  requests: number;
  /** Failed requests that are repeated, for a token too. */
  retries: number;
  /** Retries by reason, such as `HTTP 429` or `time-out`; counted only if present. */
  retriesBy?: Record<string, number>;
}

export interface ReadMeter extends RequestMeter {
  /** Responses processed. */
  pages: number;
}

export interface Source {
  /**
   * Reads from `start` to the end of the log, or `until`. Throws `ExportError` with `source-away`, `source-invalid`,
   * `configuration` or `interrupted`. The source retries by itself.
   */
  read(start: StartPoint, options: ReadOptions): AsyncIterable<Chunk>;
  /** Proves, in one run, that everything is stored that the source shows. */
  prover(store: RankStore, options: ProverOptions): Prover;
}

/** Whether a chunk needs no commit: its response only showed where to read next. */
export function isEmptyChunk({ events, rejected, others, span, warnings, isLast }: Chunk): boolean {
  const rows = events.length + rejected.length + others.events.length + others.rejected.length;
  return rows + warnings.length === 0 && span === undefined && !isLast;
}

/** The rows of a chunk that no earlier chunk of the read has taken: those from the frontier before to the frontier after it. */
export function takenFrom(
  chunk: Chunk,
  reached: bigint | undefined,
): Pick<Chunk, 'events' | 'rejected' | 'warnings'> {
  const { events, rejected, frontier, warnings } = chunk;
  const isTaken = (ticks: bigint) => (reached === undefined || ticks >= reached) && ticks < frontier;
  const place = reached === undefined ? undefined : placeOfTicks(reached);
  return {
    events: events.filter(({ event }) => isTaken(event.createdOnTicks)),
    // A row without a place is in each chunk that shows it so.
    rejected: rejected.filter(
      (row) => row.place !== undefined && (place === undefined || row.place >= place) && row.place < frontier,
    ),
    warnings,
  };
}

/** Throws `interrupted` once the signal is aborted. */
export function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new ExportError(
      'interrupted',
      'Stopped by a signal. Committed data is kept; the next run continues from there.',
    );
  }
}
