/** The port to where events go: one session a run, one transaction a commit. */
import type { CoveredRange } from './coverage.ts';
import type { RejectedRow } from './event.ts';
import type { IdentifiedEvent } from './identity.ts';
import type { Json, ReadMeter } from './source.ts';

/** Everything one transaction stores: rows, watermark and the run's counters together. */
export interface Commit {
  events: IdentifiedEvent[];
  rejected: RejectedRow[];
  /** The run has now taken every row older than this. */
  frontier: bigint;
  /** Where a later reading goes on from `frontier`. The source's own: stored as it is. */
  resume: Json;
  /** How many rows the source says it holds in all. */
  sourceTotal: number | undefined;
  /** The log ends with this commit: nothing newer was there when the source was asked. */
  isEnd: boolean;
  /** When the run sent its first request: what came late since then may lie behind what it has read. */
  beganAt: Date;
  /** In which every event that the source shows is stored, once this is committed. May be empty. */
  covered: CoveredRange | undefined;
  /** The run's counters so far; those of this commit's rows are added by the session. */
  counters: RunCounters;
}

/** What happened to a commit's rows. */
export interface CommitResult {
  inserted: number;
  updated: number;
  unchanged: number;
  /** Rejected rows that were not kept before. */
  newlyRejected: RejectedRow[];
  /** Ticks of the inserted events that are older than what was known when the run began. */
  lateTicks: bigint[];
}

export interface RunCounters extends ReadMeter {
  /** Rows taken: inserted + updated + unchanged + rejected. Rows that a response repeats are not counted. */
  rowsRead: number;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  /** Inserted events that are older than what was known when the run began. */
  late: number;
}

/** The store's side of one run. */
export interface RunSession {
  /** Stores all of the commit or nothing. Throws `fenced` when another worker took over. */
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

/** The counters once these rows are stored. */
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
