/**
 * The port to where events come from. A source reads one log from a start point to its end, in chunks.
 *
 * What a caller may rely on, whatever the source:
 * - Chunks come in order of time, and their frontier never moves back: once a chunk is committed, every row that the source
 *   showed and that is older than the chunk's frontier is committed.
 * - A row is in one chunk only, unless the source showed it more than once. Nothing that was shown at or after the start is left out.
 * - A source may read ahead of the chunk that it gives. It ends its requests when the caller stops reading.
 * - `resume` belongs to the source: callers store it and give it back, and never look into it.
 *
 * A list of offsets (`offset-list/`) gives a chunk for each response. A source that filters by time gives a chunk once a window
 * was read to its end, and keeps its cursor in `resume`.
 */
import type { CoveredRange } from './coverage.ts';
import { ExportError } from './errors.ts';
import type { RejectedRow } from './event.ts';
import type { IdentifiedEvent } from './identity.ts';

/** What JSON can hold. It must survive a database's `jsonb`: no NUL in a string, and no integer beyond 2^53. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Where a reading begins. */
export interface StartPoint {
  /** Ticks before which every row counts as taken; none means from the oldest row. */
  frontier: bigint | undefined;
  /** Up to where the source was read before: a source that begins later than this has a gap. None: nothing was read. */
  known?: bigint | undefined;
  /** What a chunk of an earlier reading gave. A hint: a wrong one costs requests, never rows. */
  resume?: Json | undefined;
  /** About how many rows lie between `frontier` and the place that `resume` was given for: they are read again. */
  rowsBeforeResume?: number | undefined;
}

export interface ReadOptions {
  /** Rows at or after this are not wanted. */
  until?: bigint | undefined;
  /** Count first how much there is up to `until`, for `progress.total`. Costs a few requests, which the meter does not count. */
  shouldMeasure?: boolean | undefined;
  /** Rows a request asks for. The source may give fewer. */
  pageSize: number;
  /** Requests under way at once, at most. */
  concurrency: number;
  /** Ends the reading with `interrupted`. */
  signal: AbortSignal;
  /** Kept up to date throughout, so that it holds also when the reading throws. */
  meter: ReadMeter;
}

/** Something a person should know. The message states what was found; what to do is for the caller to add. */
export interface ReadWarning {
  kind: /** Rows may have been deleted before they were read. */
    | 'gap'
    /** More rows share one instant than a response holds. */
    | 'large-tie-group';
  message: string;
}

/** What one step of a reading gave. */
export interface Chunk {
  /** In order of time, each tie group whole. */
  events: IdentifiedEvent[];
  rejected: RejectedRow[];
  /** Every row older than this is taken, by this chunk or an earlier one. */
  frontier: bigint;
  /** In which every event that the source shows is in this chunk or an earlier one. It grows from chunk to chunk. */
  covered: CoveredRange | undefined;
  warnings: ReadWarning[];
  /** Where a later reading goes on from `frontier`. */
  resume: Json;
  /** The reading is over: the source has nothing newer, or nothing before `until`. */
  isLast: boolean;
  /** How many rows the source says it holds in all, where it says so. A hint. */
  sourceTotal: number | undefined;
  /** When the request behind this chunk was sent, by this machine's clock. */
  requestedAt: Date;
  /** How long the reading waited for it; less than the request took where that was sent ahead. */
  waitMs: number;
  progress: ReadProgress;
}

/** Rows read so far, and how many there are to read, as far as that is known. */
export interface ReadProgress {
  done: number;
  total: number;
}

/** Counts what talking to the source cost. The source adds to it, the run reads it. */
export interface RequestMeter {
  /** Requests sent for rows, retries included; token requests are not. */
  requests: number;
  /** Requests that were sent again after a failure. */
  retries: number;
  /** The same by reason, such as `HTTP 429` or `time-out`; kept only where it is given. */
  retriesBy?: Record<string, number>;
}

export interface ReadMeter extends RequestMeter {
  /** Responses that were read. */
  pages: number;
}

export interface Source {
  /**
   * Reads from `start` to the end of the log, or `until`. Throws `ExportError` with `source-away`, `source-invalid`,
   * `configuration` or `interrupted`; retries are the source's own matter.
   */
  read(start: StartPoint, options: ReadOptions): AsyncIterable<Chunk>;
}

/** Whether nothing of it need be stored: a response that only showed where to read next. */
export function isEmptyChunk({ events, rejected, warnings, isLast }: Chunk): boolean {
  return events.length + rejected.length + warnings.length === 0 && !isLast;
}

/** Throws `interrupted` once the signal is aborted. */
export function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) {
    throw new ExportError(
      'interrupted',
      'Stopped by a signal. What was committed stays; the next run goes on there.',
    );
  }
}
