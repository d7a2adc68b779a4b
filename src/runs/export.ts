/** Runs one export, for `start`, `run` and `backfill`. */
import type { App } from '../app.ts';
import { ExportError, isInterrupted } from '../core/errors.ts';
import { type ChunkProgress, exportEvents } from '../core/export.ts';
import type { StartPoint } from '../core/source.ts';
import { nextFrontier, resumedFrontier } from '../core/start-point.ts';
import type { RunCounters } from '../core/store.ts';
import { formatTicks } from '../core/ticks.ts';
import { countBetween, readLookalikes } from '../postgres/read/start-point.ts';
import {
  type OutdatedBackfill,
  readEarlierStart,
  readUnfinishedBackfill,
  type UnfinishedBackfill,
} from '../postgres/read/unfinished-backfill.ts';
import type { PostgresSession, RunKind } from '../postgres/write/session.ts';
import { openProver } from './prover.ts';
import { type Run, type RunConditions, type RunSummary, withRun } from './run.ts';
import { checkSourceOfRun } from './source-identity.ts';
import { withStallTimeout } from './stall-timeout.ts';

export interface RunRequest extends RunConditions {
  kind: RunKind;
  signal: AbortSignal;
  /** The half-open range of a backfill, in ticks; `undefined` is unbounded. */
  from?: bigint | undefined;
  to?: bigint | undefined;
  /** `from` means a duration before now: a backfill that stopped is resumed from its own, slightly older start. */
  isFromBeforeNow?: boolean | undefined;
  /** Restart an unfinished backfill of the same range instead of resuming it. */
  shouldRestart?: boolean;
  /** First count the rows that a backfill up to `to` has to read; see `ReadOptions`. */
  shouldMeasure?: boolean;
  /** Called before the first request, with the counters that the run updates. */
  onStart?: ((counters: RunCounters) => void) | undefined;
  onChunk?: ((progress: ChunkProgress) => void) | undefined;
}

interface Start {
  point: StartPoint;
  /** The run, with the backfill it resumes, reads everything that the next run would read, so its commits may move the watermark. */
  extendsWatermark: boolean;
}

/** Runs one export. Errors as `withRun`. */
export async function runExport(app: App, request: RunRequest): Promise<RunSummary> {
  const key = app.config.source;
  const canResume = request.kind === 'backfill' && !request.shouldRestart;
  if (canResume && request.isFromBeforeNow)
    request = { ...request, from: await readEarlierStart(app.pool, key, request) };
  // Read before this run inserts its own row.
  const range = { from: request.from, to: request.to };
  const remainder = canResume ? await readUnfinishedBackfill(app.pool, key, range) : undefined;
  const work = async (run: Run) => {
    const { session, log, counters, watchers, warn } = run;
    request.onStart?.(counters);
    const { watermarkReset } = session;
    const unfinished = remainder?.kind === 'resume' && watermarkReset === undefined ? remainder : undefined;
    await checkSourceOfRun(app, run, { ...request, isResumed: unfinished !== undefined });
    const explanation = explainStart(watermarkReset, remainder);
    if (explanation !== undefined) warn(explanation);
    for (const other of await readLookalikes(app.pool, key.organization)) {
      log.warn(
        `${other} is stored as well. If it is the same organization with other capitals, its events are stored twice`,
      );
    }
    const start = await planStart(app, session, request, unfinished);
    // A later call finds an unfinished backfill by its requested range, not by its start.
    const described = request.kind === 'backfill' ? range : { from: start.point.frontier, to: undefined };
    await session.describeRange({ ...described, movesWatermark: start.extendsWatermark });
    if (unfinished)
      log.info({ from: formatTicks(start.point.frontier!) }, `continuing backfill ${unfinished.runId}`);
    const { pageSize, concurrency, stallTimeoutMs } = app.config.export;
    const exporting = withStallTimeout(
      { stallTimeoutMs, signal: request.signal },
      async (signal, onProgress) => {
        const prover = openProver(app, run, { kind: request.kind, signal, onProgress });
        if (request.kind !== 'backfill' && session.hasEvents) await prover.review();
        await exportEvents(app.source, session, counters, {
          ...watchers,
          start: start.point,
          until: request.to,
          shouldMeasure: request.shouldMeasure,
          pageSize,
          concurrency,
          signal,
          onCommitted(chunks, result) {
            prover.observe(chunks, result);
            watchers.onCompared(result);
          },
          onChunk(progress) {
            onProgress();
            log.debug(describeChunk(progress), 'page stored');
            request.onChunk?.(progress);
          },
        });
        // A range says nothing about the whole, and stores no row outside of it.
        if (request.from === undefined && request.to === undefined)
          run.conclude({ proof: await prover.prove(), ranks: prover.ranks });
      },
    );
    await exporting.catch((error) => {
      throw isInterrupted(error) ? (reasonToStop(request.signal) ?? error) : error;
    });
  };
  const isWhole = request.kind === 'backfill' && request.from === undefined && request.to === undefined;
  return withRun(app, request.kind, work, { ...request, shouldResetWatermark: isWhole });
}

/** Says why a backfill starts from the beginning where the user may not expect it. */
function explainStart(
  watermarkReset: string | undefined,
  remainder: UnfinishedBackfill | OutdatedBackfill | undefined,
): string | undefined {
  const reason =
    watermarkReset !== undefined
      ? `The watermark was reset, because it did not match audit.events: ${watermarkReset}`
      : remainder?.kind === 'restart'
        ? `Backfill ${remainder.runId}, which did not finish, is not resumed, because ${remainder.because}`
        : undefined;
  return (
    reason &&
    `${reason}. This backfill starts from the beginning. Nothing is lost: rows that are already stored are compared, not stored twice.`
  );
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
  const next = watermark && nextFrontier(watermark, { lookbackMs });
  if (request.kind === 'backfill') {
    const extendsWatermark = request.from === undefined || (next !== undefined && request.from <= next);
    const { from } = request;
    if (!unfinished) return { point: { frontier: from, from, known }, extendsWatermark };
    const frontier = resumedFrontier(unfinished, { from: request.from, lookbackMs });
    const rowsBeforeResume = await countBetween(app.pool, key, {
      from: frontier,
      to: unfinished.frontier,
    });
    return {
      point: { frontier, from, known, resume: unfinished.resume, rowsBeforeResume },
      extendsWatermark,
    };
  }
  if (!watermark || next === undefined)
    return { point: { frontier: undefined, known }, extendsWatermark: true };
  const windowMs = request.kind === 'recheck' && recheck ? recheck.windowMs : lookbackMs;
  const frontier = nextFrontier(watermark, { lookbackMs: windowMs });
  const rowsBeforeResume = await countBetween(app.pool, key, { from: frontier, to: undefined });
  return { point: { frontier, known, resume: watermark.resume, rowsBeforeResume }, extendsWatermark: true };
}

/** The reason of the abort, if it was not a signal of the operating system. */
function reasonToStop({ aborted, reason }: AbortSignal): ExportError | undefined {
  return aborted && reason instanceof ExportError ? reason : undefined;
}

function describeChunk({ taken, done, total, frontier, result, waitMs }: ChunkProgress) {
  const { inserted, updated, unchanged, lateTicks } = result ?? {};
  const late = lateTicks?.length;
  return { taken, done, total, inserted, updated, unchanged, late, frontier: formatTicks(frontier), waitMs };
}
