/**
 * The run loop: pages from the source, judged by the frontier rule, committed through the session of one run, one commit
 * after another and each beside the reading of the next pages.
 *
 * Each commit holds complete tie groups of one page or of several, the watermark and the run's counters together, so that the watermark never
 * stands ahead of the rows. An error on a page ends the loop; what was committed stays.
 */
import { createCommits } from './commits.ts';
import { type CoveredRange, describeGap, extendCovered, gapBefore } from './covered.ts';
import { ExportError } from './errors.ts';
import type { AuditEvent, EventSource, Page, RejectedRow, RequestMeter } from './event.ts';
import { judgePage, startFrontier, type Verdict } from './frontier.ts';
import { type Group, mergeGroups } from './group.ts';
import { type IdentifiedEvent, identifyGroup } from './identity.ts';
import { createPrefetcher } from './prefetch.ts';

/** Everything one transaction stores. */
export interface Batch {
  events: IdentifiedEvent[];
  rejected: RejectedRow[];
  /** The run has now taken every row older than this. */
  frontier: bigint;
  /** Offset of the first row not taken, and the list's length: hints for the next run. */
  skip: number;
  totalCount: number;
  /** The list ends with this batch: nothing newer was there when the page was asked for. */
  isEnd: boolean;
  /** When the run asked for its first page: what came late since then may lie behind what it has read. */
  beganAt: Date;
  /** In which every event that the source shows is stored, once this batch is. May be empty. */
  covered: CoveredRange | undefined;
  /** The run's counters so far; those of this batch's rows are added by the commit. */
  counters: RunCounters;
}

/** What happened to a batch's rows. */
export interface CommitResult {
  inserted: number;
  updated: number;
  unchanged: number;
  /** Rejected rows that were not kept before. */
  newlyRejected: RejectedRow[];
  /** Ticks of the inserted events that are older than what was known when the run began. */
  lateTicks: bigint[];
}

export interface RunCounters extends RequestMeter {
  pages: number;
  /** Rows taken: inserted + updated + unchanged + rejected. Rows that a page repeats are not counted. */
  rowsRead: number;
  inserted: number;
  updated: number;
  unchanged: number;
  rejected: number;
  /** Inserted events that are older than what was known when the run began. */
  late: number;
}

/** The store's side of one run, which holds the organization's lease. */
export interface RunSession {
  /** Up to where the source was known when the run began; none before the first. */
  readonly known: bigint | undefined;
  /** Stores all of the batch or nothing. Throws `fenced` when another worker took over. */
  commit(batch: Batch): Promise<CommitResult>;
}

export interface ExportOptions {
  /** Where to begin: every row older than `frontier` counts as taken; none means from the oldest row. */
  frontier: bigint | undefined;
  /** A guess of the frontier's offset. */
  skip: number;
  /** Rows at or after this are not wanted. */
  until: bigint | undefined;
  pageSize: number;
  concurrency: number;
  signal: AbortSignal;
  /** Told of every page once its rows are committed. */
  onPage?: (progress: PageProgress) => void;
  /** Told of every row newly kept aside, once it is committed. */
  onRejected?: (rejected: RejectedRow) => void;
  /** Told of what a person should know. */
  onWarning?: (warning: string) => void;
}

export interface PageProgress {
  skip: number;
  rows: number;
  totalCount: number;
  taken: number;
  /** Offset of the first row not taken. */
  reached: number;
  frontier: bigint;
  counters: RunCounters;
  /** Of the commit that ends with this page; none where it was committed together with the next one. */
  result: CommitResult | undefined;
  requestMs: number;
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

/**
 * Reads from the frontier to the end of the list (or `until`) and commits every complete tie group once.
 * `counters` are kept up to date throughout, so that they hold also when this throws.
 */
export async function exportEvents(
  source: EventSource,
  session: RunSession,
  counters: RunCounters,
  options: ExportOptions,
): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  let state = startFrontier(options);
  let known = session.known;
  let beganAt: Date | undefined;
  let covered: CoveredRange | undefined;
  const prefetcher = createPrefetcher(
    (request, { signal: dropped, onReceived }) =>
      source.fetchPage(request, {
        signal: AbortSignal.any([signal, dropped]),
        meter: counters,
        onReceived,
      }),
    options.concurrency,
    () => counters.retries,
  );
  const commits = createCommits<Group>({
    async commit(group) {
      const result = await session.commit(group.batch);
      Object.assign(counters, addBatch(counters, group.batch, result));
      report(options, group, { counters, result });
    },
    merge: mergeGroups,
    assertWanted: () => throwIfInterrupted(signal),
    onFailure: () => stop.abort(),
  });
  try {
    for (let isDone = false; !isDone; ) {
      throwIfInterrupted(signal);
      const askedAt = performance.now();
      const page = await prefetcher.fetch({ skip: state.skip, top: state.top });
      throwIfInterrupted(signal);
      const requestMs = Math.round(performance.now() - askedAt);
      const verdict = judgePage(state, page);
      ({ state, isDone } = verdict);
      counters.pages += 1;
      if (state.chain) prefetcher.drop();
      else if (!isDone && verdict.groups.length > 0) prefetcher.prepare(state, page, state.margin);

      beganAt ??= page.requestedAt;
      const gap = gapBefore(verdict.head, known);
      // Everything older is taken now, whatever was known before.
      if (verdict.groups.length > 0 && (known === undefined || state.frontier > known))
        known = state.frontier;
      covered = extendCovered(covered, verdict, { frontier: options.frontier, beganAt });
      if (!isDone && verdict.groups.length === 0 && !gap) continue;
      const batch = batchOf(verdict, page, { covered, beganAt, counters });
      const warnings = [gap && describeGap(gap), verdict.warning].filter((warning) => warning !== undefined);
      await commits.add({ batch, pages: [describePage(page, batch, requestMs)], warnings });
    }
  } finally {
    prefetcher.drop();
    // What a commit failed with is why the reading was stopped, and so it is thrown in place of what that came to.
    await commits.settled();
  }
}

function batchOf(verdict: Verdict, page: Page, rest: Pick<Batch, 'covered' | 'beganAt' | 'counters'>): Batch {
  const events: IdentifiedEvent[] = [];
  const rejected: RejectedRow[] = [];
  for (const group of verdict.groups) {
    const eventsOfGroup: AuditEvent[] = [];
    for (const row of group) {
      if (row.event) eventsOfGroup.push(row.event);
      else rejected.push(row.rejected);
    }
    for (const event of identifyGroup(eventsOfGroup)) events.push(event);
  }
  return {
    events,
    rejected,
    frontier: verdict.state.frontier,
    skip: verdict.state.skip,
    totalCount: page.totalCount,
    isEnd: verdict.isDone && verdict.state.until === undefined,
    ...rest,
  };
}

/** The counters once `batch` is stored. */
export function addBatch(
  counters: RunCounters,
  { events, rejected }: Pick<Batch, 'events' | 'rejected'>,
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

function describePage(page: Page, batch: Batch, requestMs: number): Group['pages'][number] {
  return {
    skip: page.skip,
    rows: page.rows.length,
    totalCount: page.totalCount,
    taken: batch.events.length + batch.rejected.length,
    reached: batch.skip,
    frontier: batch.frontier,
    requestMs,
  };
}

function report(
  options: ExportOptions,
  { pages, warnings }: Group,
  { counters, result }: { counters: RunCounters; result: CommitResult },
): void {
  for (const rejected of result.newlyRejected) options.onRejected?.(rejected);
  for (const warning of warnings) options.onWarning?.(warning);
  pages.forEach((page, i) => {
    options.onPage?.({ ...page, counters, result: i === pages.length - 1 ? result : undefined });
  });
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
