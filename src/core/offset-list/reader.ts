/**
 * A source that reads a list with offsets, which changes between two requests. Each response is evaluated in order by the
 * frontier rule (`frontier.ts`) and yields one chunk. The next pages are prefetched (`prefetch.ts`). Ranks prove that nothing is
 * missing (`rank/`).
 *
 * `resume` is `{ "skip": n, "largest": m }`: the offset of the first row not taken, and the most rows that the server has sent in
 * one response.
 */

import { type CoveredRange, describeGap, extendCovered, gapBefore } from '../coverage.ts';
import { ExportError } from '../errors.ts';
import {
  type Chunk,
  type Json,
  type ReadOptions,
  type ReadProgress,
  type ReadWarning,
  type Source,
  type StartPoint,
  throwIfInterrupted,
} from '../source.ts';
import { ticksOfDate } from '../ticks.ts';
import { type ByteBudget, createByteBudget } from './byte-budget.ts';
import {
  evaluatePage,
  type FrontierState,
  type NewestGroup,
  type PageResult,
  startFrontier,
  withPageSize,
} from './frontier.ts';
import { locate } from './locate.ts';
import { type FetchPage, type Page, shownUntil, sourceClockOf } from './page.ts';
import { createPageSize, type PageSize } from './page-size.ts';
import { assertAscending } from './places.ts';
import { createPrefetcher, type PrefetchRequest } from './prefetch.ts';
import { createRankProver } from './rank/prover.ts';
import { createSequence, type Sequence, type Sequenced } from './sequence.ts';
import { shownBy } from './shown.ts';

/** The guessed offset is this many rows too early: rejected rows are not counted, and a few must not cost a request. */
const GUESS_MARGIN = 10;

/** What the prover needs to know about a chunk. */
export interface ChunkEvidence {
  page: Sequenced<Page>;
  /** The newest group seen. */
  newest: NewestGroup | undefined;
  isEmpty: boolean;
  largest: number;
}

/** `orderAdvice` is a sentence that says what to check if the list is not sorted by time. */
export function createOffsetListReader({
  fetchPage,
  orderAdvice,
  budget = createByteBudget(),
}: {
  fetchPage: FetchPage;
  orderAdvice: string;
  /** Shared by the sources of a process. */
  budget?: ByteBudget | undefined;
}): Source {
  const pageSize = createPageSize();
  // Thrown only when the page is processed: the error of a dropped page is ignored.
  const fetchInOrder: FetchPage = async (request, options) => {
    const page = await fetchPage(request, options);
    assertAscending(page, orderAdvice);
    pageSize.record(page);
    return page;
  };
  const list = { fetchPage: createSequence(fetchInOrder), pageSize, budget };
  return {
    read: (start, options) => readList(list, start, options),
    prover: (store, options) => createRankProver(list, store, options),
  };
}

/** A list, and what its reads share. */
export interface SharedList {
  fetchPage: Sequence;
  pageSize: PageSize;
  budget: ByteBudget;
}

async function* readList(
  { fetchPage, pageSize, budget }: SharedList,
  start: StartPoint,
  options: ReadOptions,
): AsyncGenerator<Chunk, void, undefined> {
  const { concurrency, signal, meter } = options;
  const measure = createMeasure(await locateEnd({ fetchPage, pageSize }, options));
  const describe = createDescriber(start, options);
  const prefetcher = createPrefetcher<Sequenced<Page>>(
    (request, { signal: dropped, onReceived }) =>
      fetchPage(request, { signal: AbortSignal.any([signal, dropped]), meter, onReceived }),
    { concurrency, countRetries: () => meter.retries, pageSize, budget },
  );
  let state = startFrontier({
    frontier: start.frontier,
    until: options.until,
    skip: guessSkip(start),
    largest: numberIn(start.resume, 'largest'),
    pageSize: pageSize.rowsOf(options.pageSize),
  });
  try {
    for (let isDone = false; !isDone; ) {
      throwIfInterrupted(signal);
      const requestedAt = performance.now();
      const page = await prefetcher.fetch(requestOf(state));
      throwIfInterrupted(signal);
      const waitMs = Math.round(performance.now() - requestedAt);
      state = withPageSize(state, pageSize.rowsOf(options.pageSize));
      const result = evaluatePage(state, page);
      // A page of the search for the frontier shows rows, too, but the next request is not for the rows after it.
      const hasMoved = result.state.frontier > state.frontier;
      ({ state, isDone } = result);
      meter.pages += 1;
      // Before the chunk is yielded: the source works on the next requests while the caller stores this one.
      if (state.chain || state.expectedEnd?.check) prefetcher.drop();
      else if (!isDone && hasMoved) prefetcher.prepare(requestOf(state), page, state.margin);
      yield {
        ...describe.result(result, page, hasMoved),
        waitMs,
        progress: measure(result, page, hasMoved),
      };
    }
  } catch (error) {
    // The rows that the source has shown are stored before its error ends the read.
    const isOfSource = error instanceof ExportError && error.code !== 'interrupted';
    const shown = isOfSource ? describe.shown(state) : undefined;
    if (shown) yield { ...shown, waitMs: 0, progress: { done: 0, total: 0 } };
    throw error;
  } finally {
    prefetcher.drop();
  }
}

/** A prefetched page of an earlier page size is as good, unless more rows than usual are needed. */
function requestOf({ skip, top, pageSize }: FrontierState): PrefetchRequest {
  return { skip, top, isSizeFree: top <= pageSize };
}

/** The offset of the frontier, estimated from an earlier read. */
function guessSkip({ resume, rowsBeforeResume = 0 }: StartPoint): number {
  return numberIn(resume, 'skip') - rowsBeforeResume - GUESS_MARGIN;
}

/** A number in `resume`; 0 for the resume value of another kind of source. */
function numberIn(resume: Json | undefined, name: 'skip' | 'largest'): number {
  const value = (resume as Record<string, unknown> | null | undefined)?.[name];
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0;
}

async function locateEnd(
  { fetchPage, pageSize }: Pick<SharedList, 'fetchPage' | 'pageSize'>,
  options: ReadOptions,
): Promise<number | undefined> {
  const { until, shouldMeasure, signal } = options;
  if (!shouldMeasure || until === undefined) return undefined;
  return locate(fetchPage, until, { meter: { requests: 0, retries: 0 }, signal, pageSize });
}

type Described = Omit<Chunk, 'waitMs' | 'progress'>;

/** Converts the page results of one read to chunks. */
function createDescriber(start: StartPoint, { until }: ReadOptions) {
  let { known } = start;
  let covered: CoveredRange | undefined;
  let last: { page: Sequenced<Page>; sourceTime: Date } | undefined;
  const bounds = { from: start.from, until };
  let hasRows = false;
  let hasReadable = false;
  return {
    result(result: PageResult, page: Sequenced<Page>, hasMoved: boolean): Described {
      const { state, head, isDone, unproven } = result;
      const { skip, largest, newest } = state;
      // Rows of the last millisecond at or after `until` are left out.
      const frontier = until !== undefined && state.frontier > until ? until : state.frontier;
      const sourceTime = sourceClockOf(page);
      last = { page, sourceTime };
      const gap = gapBefore(head, known);
      // Everything older than the frontier is read now.
      if (hasMoved && (known === undefined || frontier > known)) known = frontier;
      // The page that confirms the end of the list may be one unreadable row.
      hasRows ||= page.rows.length > 0;
      hasReadable ||= page.rows.some(({ ticks }) => ticks !== undefined);
      const isUnreadable = result.isUnreadable || (hasRows && !hasReadable && !result.isEmpty);
      const now = ticksOfDate(shownUntil(page));
      if (!isUnreadable)
        covered = extendCovered(covered, { head, frontier, unproven }, { start: start.frontier, now });
      const warnings: ReadWarning[] = result.warnings.map((message) => ({
        kind: warningKindOf(message),
        message,
      }));
      if (gap) warnings.unshift({ kind: 'gap', message: describeGap(gap) });
      return {
        ...shownBy(result, page, bounds),
        frontier,
        covered,
        gap,
        warnings,
        resume: { skip, largest },
        isLast: isDone,
        sourceTotal: page.totalCount,
        requestedAt: page.requestedAt,
        sourceTime,
        isUnreadable,
        evidence: { page, newest, isEmpty: result.isEmpty, largest } satisfies ChunkEvidence,
      };
    },
    /** The rows at the frontier that are shown and not yet taken. */
    shown({ shown, frontier, skip, largest, newest }: FrontierState): Described | undefined {
      if (!shown || !last) return undefined;
      const { page, sourceTime } = last;
      return {
        ...shownBy({ span: undefined, groups: [], others: [shown] }, { ...page, rows: shown.rows }, bounds),
        frontier,
        covered,
        gap: undefined,
        warnings: [],
        resume: { skip, largest },
        isLast: false,
        sourceTotal: page.totalCount,
        requestedAt: page.requestedAt,
        sourceTime,
        isUnreadable: false,
        evidence: { page, newest, isEmpty: false, largest } satisfies ChunkEvidence,
      };
    },
  };
}

function warningKindOf(message: string): ReadWarning['kind'] {
  return message.startsWith('More events share') ? 'large-tie-group' : 'source';
}

/** Measures progress from the first row taken to `end` or the end of the list. */
function createMeasure(end: number | undefined) {
  let first: number | undefined;
  return ({ state, isDone }: PageResult, { skip, totalCount }: Page, hasMoved: boolean): ReadProgress => {
    // Before the first row is taken, the read searches for its start.
    if (hasMoved || isDone) first ??= Math.min(skip, state.skip);
    const done = first === undefined ? 0 : Math.max(0, state.skip - first);
    return { done, total: Math.max(done, (end ?? totalCount) - (first ?? 0)) };
  };
}
