/** The port to the store: one session for each run, one transaction for each commit. */
import type { CoveredRange } from './coverage.ts';
import type { RejectedRow } from './event.ts';
import type { IdentifiedEvent } from './identity.ts';
import type { Json, ReadMeter } from './source.ts';

/** Everything that one transaction stores: rows, watermark and the run's counters. */
export interface Commit {
  events: IdentifiedEvent[];
  rejected: RejectedRow[];
  /** The run has read every row older than this. */
  frontier: bigint;
  /** Lets a later read continue from `frontier`. Opaque: stored unchanged. */
  resume: Json;
  /** The total number of rows that the source reports. */
  sourceTotal: number | undefined;
  /** The end of the log: the source had no newer row at the time of the request. */
  isEnd: boolean;
  /** When the run sent its first request. Events that arrive late after that may be older than what the run has read. */
  beganAt: Date;
  /** The range in which every event that the source shows is stored after this commit. May be empty. */
  covered: CoveredRange | undefined;
  /** The run's counters before this commit. The session adds this commit's rows. */
  counters: RunCounters;
}

/** The result of a commit. */
export interface CommitResult {
  inserted: number;
  updated: number;
  unchanged: number;
  /** Rejected rows that were not stored before. */
  newlyRejected: RejectedRow[];
  /** Ticks of the inserted events that are older than the watermark at the start of the run. */
  lateTicks: bigint[];
}

export interface RunCounters extends ReadMeter {
  /** inserted + updated + unchanged + rejected. Rows that a later response repeats are not counted. */
  rowsRead: number;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  /** Inserted events that are older than the watermark at the start of the run. */
  late: number;
}

/** The store's interface for one run. */
export interface RunSession {
  /** Stores the commit atomically. Throws `fenced` if another worker has taken over the lease. */
  commit(commit: Commit): Promise<CommitResult>;
}

export function newCounters(): RunCounters {
  return {
    pages: 0,
    requests: 0,
    retries: 0,
    retriesBy: {},
    rowsRead: 0,
    inserted: 0,
    updated: 0,
    unchanged: 0,
    rejected: 0,
    late: 0,
  };
}

/** The counters after these rows are stored. */
export function addCommitted(
  counters: RunCounters,
  { events, rejected }: Pick<Commit, 'events' | 'rejected'>,
  { inserted, updated, unchanged, lateTicks }: Omit<CommitResult, 'newlyRejected'>,
): RunCounters {
  return {
    ...counters,
    rowsRead: counters.rowsRead + events.length + rejected.length,
    inserted: counters.inserted + inserted,
    updated: counters.updated + updated,
    unchanged: counters.unchanged + unchanged,
    rejected: counters.rejected + rejected.length,
    late: counters.late + lateTicks.length,
  };
}
