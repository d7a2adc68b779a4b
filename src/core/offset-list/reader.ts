/**
 * A source that reads a list with offsets, which changes between two requests. Each response is evaluated in order by the
 * frontier rule (`frontier.ts`) and yields one chunk. The next pages are prefetched (`prefetch.ts`).
 *
 * `resume` is `{ "skip": n }`, the offset of the first row not taken.
 */
import { type CoveredRange, describeGap, extendCovered, gapBefore } from '../coverage.ts';
import type { AuditEvent, RejectedRow, SourceRow } from '../event.ts';
import { type IdentifiedEvent, identifyGroup } from '../identity.ts';
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
import { evaluatePage, type PageResult, startFrontier } from './frontier.ts';
import { locate } from './locate.ts';
import type { FetchPage, Page } from './page.ts';
import { assertAscending } from './page-order.ts';
import { createPrefetcher } from './prefetch.ts';

/** The guessed offset is this many rows too early: rejected rows are not counted, and a few must not cost a request. */
const GUESS_MARGIN = 10;

/** `orderAdvice` is a sentence that says what to check if the list is not sorted by time. */
export function createOffsetListReader({
  fetchPage,
  orderAdvice,
}: {
  fetchPage: FetchPage;
  orderAdvice: string;
}): Source {
  // Thrown only when the page is processed: the error of a dropped page is ignored.
  const fetchInOrder: FetchPage = async (request, options) => {
    const page = await fetchPage(request, options);
    assertAscending(page, orderAdvice);
    return page;
  };
  return { read: (start, options) => readList(fetchInOrder, start, options) };
}

async function* readList(
  fetchPage: FetchPage,
  start: StartPoint,
  options: ReadOptions,
): AsyncGenerator<Chunk, void, undefined> {
  const { frontier, known } = start;
  const { until, pageSize, concurrency, signal, meter } = options;
  const measure = createMeasure(await locateEnd(fetchPage, options));
  const describe = createDescriber({ frontier, known });
  const prefetcher = createPrefetcher(
    (request, { signal: dropped, onReceived }) =>
      fetchPage(request, { signal: AbortSignal.any([signal, dropped]), meter, onReceived }),
    concurrency,
    () => meter.retries,
  );
  let state = startFrontier({ frontier, until, skip: guessSkip(start), pageSize });
  try {
    for (let isDone = false; !isDone; ) {
      throwIfInterrupted(signal);
      const requestedAt = performance.now();
      const page = await prefetcher.fetch({ skip: state.skip, top: state.top });
      throwIfInterrupted(signal);
      const waitMs = Math.round(performance.now() - requestedAt);
      const result = evaluatePage(state, page);
      ({ state, isDone } = result);
      meter.pages += 1;
      // Before the chunk is yielded: the source works on the next requests while the caller stores this one.
      if (state.chain) prefetcher.drop();
      else if (!isDone && result.groups.length > 0) prefetcher.prepare(state, page, state.margin);
      yield { ...describe(result, page), waitMs, progress: measure(result, page) };
    }
  } finally {
    prefetcher.drop();
  }
}

/** The offset of the frontier, estimated from an earlier read. */
function guessSkip({ resume, rowsBeforeResume = 0 }: StartPoint): number {
  return skipOf(resume) - rowsBeforeResume - GUESS_MARGIN;
}

/** The offset in `resume`; 0 for the resume value of another kind of source. */
function skipOf(resume: Json | undefined): number {
  const skip = (resume as { skip?: unknown } | null | undefined)?.skip;
  return typeof skip === 'number' && Number.isSafeInteger(skip) ? skip : 0;
}

async function locateEnd(fetchPage: FetchPage, options: ReadOptions): Promise<number | undefined> {
  const { until, shouldMeasure, signal } = options;
  if (!shouldMeasure || until === undefined) return undefined;
  return locate(fetchPage, until, { meter: { requests: 0, retries: 0 }, signal });
}

/** Creates a function that converts the page results of one read to chunks. */
function createDescriber(start: Pick<StartPoint, 'frontier' | 'known'>) {
  let { known } = start;
  let beganAt: Date | undefined;
  let covered: CoveredRange | undefined;
  return (result: PageResult, page: Page): Omit<Chunk, 'waitMs' | 'progress'> => {
    const { state, groups, head, isDone, unproven } = result;
    const { frontier, skip } = state;
    const { requestedAt, totalCount } = page;
    beganAt ??= requestedAt;
    const gap = gapBefore(head, known);
    // Everything older than the frontier is read now.
    if (groups.length > 0 && (known === undefined || frontier > known)) known = frontier;
    covered = extendCovered(covered, { head, frontier, unproven }, { start: start.frontier, beganAt });
    const warnings: ReadWarning[] = [];
    if (gap) warnings.push({ kind: 'gap', message: describeGap(gap) });
    if (result.warning) warnings.push({ kind: 'large-tie-group', message: result.warning });
    return {
      ...identifyRows(groups),
      frontier,
      covered,
      warnings,
      resume: { skip },
      isLast: isDone,
      sourceTotal: totalCount,
      requestedAt,
    };
  };
}

function identifyRows(groups: readonly SourceRow[][]): {
  events: IdentifiedEvent[];
  rejected: RejectedRow[];
} {
  const events: IdentifiedEvent[] = [];
  const rejected: RejectedRow[] = [];
  for (const group of groups) {
    const eventsOfGroup: AuditEvent[] = [];
    for (const row of group) {
      if (row.event) eventsOfGroup.push(row.event);
      else rejected.push(row.rejected);
    }
    for (const event of identifyGroup(eventsOfGroup)) events.push(event);
  }
  return { events, rejected };
}

/** Measures progress from the first row taken to `end` or the end of the list. */
function createMeasure(end: number | undefined) {
  let first: number | undefined;
  return ({ state, groups, isDone }: PageResult, { skip, totalCount }: Page): ReadProgress => {
    // Before the first row is taken, the read searches for its start.
    if (groups.length > 0 || isDone) first ??= Math.min(skip, state.skip);
    const done = first === undefined ? 0 : state.skip - first;
    return { done, total: Math.max(done, (end ?? totalCount) - (first ?? 0)) };
  };
}
