/** One export: what `start`, `run` and `backfill` have in common. */
import type { App } from './app.ts';
import { ExportError, isInterrupted } from './core/errors.ts';
import { exportEvents, type PageProgress } from './core/export.ts';
import { nextFrontier, resumedFrontier } from './core/plan.ts';
import { formatTicks } from './core/ticks.ts';
import {
  countBetween,
  readLookalikes,
  readUnfinishedBackfill,
  type UnfinishedBackfill,
} from './postgres/plan.ts';
import type { PostgresSession, RunKind } from './postgres/session.ts';
import { type Run, type RunConditions, type RunSummary, withRun } from './run.ts';
import { endingStalls } from './stall.ts';

export interface RunRequest extends RunConditions {
  kind: RunKind;
  signal: AbortSignal;
  /** The half-open range of a backfill, in ticks; none means all. */
  from?: bigint | undefined;
  to?: bigint | undefined;
  /** A backfill of the same range that did not end is begun anew, not gone on with. */
  shouldRestart?: boolean;
  onPage?: ((progress: PageProgress) => void) | undefined;
}

/** An offset is guessed so many rows too early: rows that are no events are not counted, and a few must cost no request. */
const GUESS_MARGIN = 10;

interface Start {
  frontier: bigint | undefined;
  skip: number;
  /** The run, with the one it goes on with, reads all that the next one would, so that its commits may move the watermark. */
  reachesOn: boolean;
}

/** Runs once, as `withRun` says. */
export async function runExport(app: App, request: RunRequest): Promise<RunSummary> {
  const key = app.config.source;
  // Read before this run has a row of its own.
  const range = { from: request.from, to: request.to };
  const unfinished =
    request.kind === 'backfill' && !request.shouldRestart
      ? await readUnfinishedBackfill(app.pool, key, range)
      : undefined;
  const work = async ({ session, log, counters, watchers }: Run) => {
    for (const other of await readLookalikes(app.pool, key.organization)) {
      log.warn(`${other} is stored as well: the same organization in other letters would be stored twice`);
    }
    const start = await planStart(app, session, request, unfinished);
    // A backfill is found again by what was asked for, wherever it began.
    const described = request.kind === 'backfill' ? range : { from: start.frontier, to: undefined };
    await session.describeRange({ ...described, movesWatermark: start.reachesOn });
    if (unfinished)
      log.info({ from: formatTicks(start.frontier!) }, `going on with backfill ${unfinished.runId}`);
    const { pageSize, concurrency, stallTimeoutMs } = app.config.export;
    const exporting = endingStalls({ stallTimeoutMs, signal: request.signal }, (signal, moved) =>
      exportEvents(app.source, session, counters, {
        ...start,
        ...watchers,
        until: request.to,
        pageSize,
        concurrency,
        signal,
        onPage(progress) {
          moved();
          log.debug(describePage(progress), 'page stored');
          request.onPage?.(progress);
        },
      }),
    );
    await exporting.catch((error) => {
      throw isInterrupted(error) ? (reasonToStop(request.signal) ?? error) : error;
    });
  };
  return withRun(app, request.kind, work, request);
}

async function planStart(
  app: App,
  session: PostgresSession,
  request: RunRequest,
  unfinished: UnfinishedBackfill | undefined,
): Promise<Start> {
  const key = app.config.source;
  const { lookbackMs, recheck } = app.config.export;
  const watermark = session.stored;
  const next = watermark && nextFrontier(watermark, { now: new Date(), lookbackMs });
  if (request.kind === 'backfill') {
    const reachesOn = request.from === undefined || (next !== undefined && request.from <= next);
    if (!unfinished) return { frontier: request.from, skip: 0, reachesOn };
    const frontier = resumedFrontier(unfinished, { from: request.from, lookbackMs });
    const stored = await countBetween(app.pool, key, { from: frontier, to: unfinished.frontier });
    return { frontier, skip: unfinished.skip - stored - GUESS_MARGIN, reachesOn };
  }
  if (!watermark || next === undefined) return { frontier: undefined, skip: 0, reachesOn: true };
  const windowMs = request.kind === 'recheck' && recheck ? recheck.windowMs : lookbackMs;
  const frontier = nextFrontier(watermark, { now: new Date(), lookbackMs: windowMs });
  const stored = await countBetween(app.pool, key, { from: frontier, to: undefined });
  return { frontier, skip: watermark.skip - stored - GUESS_MARGIN, reachesOn: true };
}

/** Why the run was asked to stop, where that was not a signal of the operating system. */
function reasonToStop({ aborted, reason }: AbortSignal): ExportError | undefined {
  return aborted && reason instanceof ExportError ? reason : undefined;
}

function describePage({ skip, rows, totalCount, taken, frontier, result, requestMs }: PageProgress) {
  const { inserted, updated, unchanged, lateTicks } = result ?? {};
  const at = formatTicks(frontier);
  return {
    skip,
    rows,
    totalCount,
    taken,
    inserted,
    updated,
    unchanged,
    late: lateTicks?.length,
    frontier: at,
    requestMs,
  };
}
