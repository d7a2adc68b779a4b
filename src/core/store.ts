/** The port to the store: one session for each run, one transaction for each commit. */
import type { CoveredRange } from './coverage.ts';
import type { PlacedRejectedRow, RejectedRow } from './event.ts';
import type { IdentifiedEvent } from './identity.ts';
import type { Json, ReadMeter } from './source.ts';

/** What one response of the source shows. It is compared with what is stored, row by row. */
export interface Shown {
  /**
   * The span of time that the response shows completely: from `from` to before `to`; without `to`, to the end of the log and beyond.
   * Both are starts of milliseconds, unless the caller bounded the read. `undefined`: it shows no span completely.
   */
  span: { from: bigint; to: bigint | undefined } | undefined;
  /** The events in the span, sorted by time. */
  events: IdentifiedEvent[];
  rejected: PlacedRejectedRow[];
  /** Other rows that the response shows. They are stored if they are new; stored rows are not compared with them. */
  others: { events: IdentifiedEvent[]; rejected: PlacedRejectedRow[] };
  /** The place of the oldest row that the source has, if the response begins with it. */
  oldest: bigint | undefined;
}

/** The result of comparing a response with the store. */
export interface Comparison {
  inserted: number;
  updated: number;
  unchanged: number;
  /** Inserted events that are another rendering of a stored one. They are neither late nor news. */
  rerendered: number;
  /** Stored events that another rendering has replaced. */
  superseded: number;
  /** Events that were suspected or gone, and are shown. */
  shownAgain: number;
  /** Stored events in the span that the response does not show, by what became of them. */
  suspected: number;
  confirmed: number;
  /** Not suspected yet, because they were stored recently; `settlesAt`: when the last of them may be suspected. */
  unsettled: number;
  settlesAt: Date | undefined;
  /** The oldest place at which a row was inserted, or is shown again. */
  oldestChange: bigint | undefined;
  /** Ids of the inserted events, without the rerendered ones. */
  insertedIds: readonly string[];
  /** The response does not show the first stored group behind the head instant completely. */
  isHeadUndecided: boolean;
  /** Most of the stored events are not shown: the source was reset, restored, or is another one. Nothing is suspected then. */
  isSourceChanged: boolean;
  /** Rejected rows that were not stored before. */
  newlyRejected: RejectedRow[];
  /** The confirmed events. */
  goneEvents: readonly { eventId: string; ticks: bigint }[];
}

/** What a source's prover needs from the store. All of it belongs to one run. */
export interface RankStore {
  /** What an earlier prover of this log stored with its result. */
  readonly ranks: Json;
  /** The head instant: stored rows at or before this place may have been deleted by the source's retention. */
  readonly head: bigint | undefined;
  /** Ticks of the watermark when the run began. */
  readonly known: bigint | undefined;
  /**
   * Compares a response with what is stored, and stores what is new. `ignored`: ids of events that do not count as missing at the
   * head.
   */
  compare(shown: Shown, options?: { ignored?: ReadonlySet<string> | undefined }): Promise<Comparison>;
  /** For each place, the number of stored rows after `after` and before the place, without those that are suspected, gone or superseded. */
  countRows(after: bigint, places: readonly bigint[]): Promise<number[]>;
  /** The places after the head instant of events that earlier runs suspected, oldest first, at most `limit`. */
  readSuspicions(limit: number): Promise<bigint[]>;
  /** The number of events after the head instant that are suspected now. */
  countSuspicions(): Promise<number>;
  /** Whether an event is stored that is not gone. */
  hasEvents(): Promise<boolean>;
}

/** Everything that one transaction stores: rows, watermark and the run's counters. */
export interface Commit extends Shown {
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
  /** The source's clock. An event with a later date is stored, and does not move the watermark. */
  sourceTime: Date;
  /** The range in which every event that the source shows is stored after this commit. May be empty. */
  covered: CoveredRange | undefined;
  /** A span that was not read before the source deleted it: earlier ranges end where it starts. */
  gap: { from: bigint; to: bigint } | undefined;
  /** The run's counters before this commit. The session adds this commit's rows. */
  counters: RunCounters;
  /** `events` as `RunSession.prepare` returned them, in order. */
  prepared?: readonly PreparedRows[] | undefined;
}

/** Rows that a session has encoded before their commit. Opaque. */
export interface PreparedRows {
  readonly events: readonly IdentifiedEvent[];
}

/** The result of a commit. */
export interface CommitResult extends Comparison {
  /** Ticks of the inserted events that are older than the watermark at the start of the run, without the rerendered ones. */
  lateTicks: bigint[];
}

export interface RunCounters extends ReadMeter {
  /** inserted + updated + unchanged + rejected. Rows that a later response repeats are not counted. */
  rowsRead: number;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  /** Inserted events that are older than the watermark at the start of the run, and no other rendering of a stored one. */
  late: number;
  /** Stored events that were replaced, because the source writes their details differently. */
  superseded: number;
}

/** The store's interface for one run. */
export interface RunSession {
  /** Does what it can of a commit before it begins: another commit may be in progress. `undefined`: nothing. */
  prepare?(shown: Shown): PreparedRows | undefined;
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
    superseded: 0,
  };
}

/** The rejected rows of a commit. Where no span is shown completely, they are the rows that have no place yet. */
export function rejectedOf({ span, rejected, others }: Shown): readonly RejectedRow[] {
  return span ? rejected : [...rejected, ...others.rejected];
}

/** The counters after these rows are stored. */
export function addCommitted(
  counters: RunCounters,
  { rejected }: { rejected: readonly RejectedRow[] },
  {
    inserted,
    updated,
    unchanged,
    superseded = 0,
    lateTicks,
  }: Pick<CommitResult, 'inserted' | 'updated' | 'unchanged' | 'lateTicks'> &
    Partial<Pick<CommitResult, 'superseded'>>,
): RunCounters {
  return {
    ...counters,
    rowsRead: counters.rowsRead + inserted + updated + unchanged + rejected.length,
    inserted: counters.inserted + inserted,
    updated: counters.updated + updated,
    unchanged: counters.unchanged + unchanged,
    rejected: counters.rejected + rejected.length,
    late: counters.late + lateTicks.length,
    superseded: counters.superseded + superseded,
  };
}
