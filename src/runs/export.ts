/** One export: what `start`, `run` and `backfill` have in common. */
import type { App } from '../app.ts';
import { ExportError, isInterrupted } from '../core/errors.ts';
import { type ChunkProgress, exportEvents } from '../core/export.ts';
import type { StartPoint } from '../core/source.ts';
import { nextFrontier, resumedFrontier } from '../core/start-point.ts';
import { formatTicks } from '../core/ticks.ts';
import {
  countBetween,
  readLookalikes,
  readUnfinishedBackfill,
  type UnfinishedBackfill,
} from '../postgres/read/start-point.ts';
import type { PostgresSession, RunKind } from '../postgres/write/session.ts';
import { type Run, type RunConditions, type RunSummary, withRun } from './run.ts';
import { withStallTimeout } from './stall-timeout.ts';

export interface RunRequest extends RunConditions {
  kind: RunKind;
  signal: AbortSignal;
  /** The half-open range of a backfill, in ticks; none means all. */
  from?: bigint | undefined;
  to?: bigint | undefined;
  /** A backfill of the same range that did not end is begun anew, not gone on with. */
  shouldRestart?: boolean;
  /** Count first how much a backfill up to `to` has to read, as `ReadOptions` says. */
  shouldMeasure?: boolean;
  onChunk?: ((progress: ChunkProgress) => void) | undefined;
}

interface Start {
  point: StartPoint;
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
    // A backfill is found again by its requested range, wherever it began.
    const described = request.kind === 'backfill' ? range : { from: start.point.frontier, to: undefined };
    await session.describeRange({ ...described, movesWatermark: start.reachesOn });
    if (unfinished)
      log.info({ from: formatTicks(start.point.frontier!) }, `going on with backfill ${unfinished.runId}`);
    const { pageSize, concurrency, stallTimeoutMs } = app.config.export;
    const exporting = withStallTimeout({ stallTimeoutMs, signal: request.signal }, (signal, moved) =>
      exportEvents(app.source, session, counters, {
        ...watchers,
        start: start.point,
        until: request.to,
        shouldMeasure: request.shouldMeasure,
        pageSize,
        concurrency,
        signal,
        onChunk(progress) {
          moved();
          log.debug(describeChunk(progress), 'page stored');
          request.onChunk?.(progress);
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
  const { known, stored: watermark } = session;
  const next = watermark && nextFrontier(watermark, { now: new Date(), lookbackMs });
  if (request.kind === 'backfill') {
    const reachesOn = request.from === undefined || (next !== undefined && request.from <= next);
    if (!unfinished) return { point: { frontier: request.from, known }, reachesOn };
    const frontier = resumedFrontier(unfinished, { from: request.from, lookbackMs });
    const rowsBeforeResume = await countBetween(app.pool, key, {
      from: frontier,
      to: unfinished.frontier,
    });
    return { point: { frontier, known, resume: unfinished.resume, rowsBeforeResume }, reachesOn };
  }
  if (!watermark || next === undefined) return { point: { frontier: undefined, known }, reachesOn: true };
  const windowMs = request.kind === 'recheck' && recheck ? recheck.windowMs : lookbackMs;
  const frontier = nextFrontier(watermark, { now: new Date(), lookbackMs: windowMs });
  const rowsBeforeResume = await countBetween(app.pool, key, { from: frontier, to: undefined });
  return { point: { frontier, known, resume: watermark.resume, rowsBeforeResume }, reachesOn: true };
}

/** Why the run was asked to stop, where that was not a signal of the operating system. */
function reasonToStop({ aborted, reason }: AbortSignal): ExportError | undefined {
  return aborted && reason instanceof ExportError ? reason : undefined;
}

function describeChunk({ taken, done, total, frontier, result, waitMs }: ChunkProgress) {
  const { inserted, updated, unchanged, lateTicks } = result ?? {};
  const late = lateTicks?.length;
  return { taken, done, total, inserted, updated, unchanged, late, frontier: formatTicks(frontier), waitMs };
}
