/** Builds the statements that update a run's rows in `audit.runs` and `audit.watermarks`. */
import type { LogKey } from '../../core/log-key.ts';
import type { Json } from '../../core/source.ts';
import type { Commit, RunCounters } from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import { DESCRIBE_RANGE, END_RUN, MOVE_WATERMARK, UPDATE_RUN, UPDATE_SOURCE_TOTAL } from './statements.ts';

export function moveWatermark(
  { organization, log, runId }: LogKey & { runId: string },
  batch: Commit,
): Statement {
  const newest = batch.events.at(-1)?.event;
  const values = [
    organization,
    newest?.createdOnTicks.toString() ?? null,
    newest?.createdOnRaw ?? null,
    newest ? formatMicroseconds(newest.createdOnTicks) : null,
    batch.beganAt,
    jsonOf(batch.resume),
    batch.sourceTotal,
    batch.frontier.toString(),
    batch.isEnd,
    runId,
    log,
  ];
  return { name: 'move-watermark', text: MOVE_WATERMARK, values };
}

export function updateSourceTotal({ organization, log }: LogKey, total: Commit['sourceTotal']): Statement {
  return { text: UPDATE_SOURCE_TOTAL, values: [organization, total, log] };
}

/** `reached`: the last commit, whose frontier the run has reached; `undefined` leaves the frontier unchanged. */
export function updateRun(runId: string, counters: RunCounters, reached: Commit | undefined): Statement {
  const values = [
    runId,
    counters.pages,
    counters.requests,
    counters.retries,
    counters.rowsRead,
    counters.inserted,
    counters.updated,
    counters.unchanged,
    counters.rejected,
    counters.late,
    reached?.frontier.toString() ?? null,
    reached ? jsonOf(reached.resume) : null,
    reached?.sourceTotal ?? null,
  ];
  return { name: 'update-run', text: UPDATE_RUN, values };
}

export function describeRun(
  runId: string,
  { from, to }: { from: bigint | undefined; to: bigint | undefined },
): Statement {
  const values = [
    runId,
    from?.toString(),
    to?.toString(),
    from === undefined ? null : formatMicroseconds(from),
    to === undefined ? null : formatMicroseconds(to),
  ];
  return { text: DESCRIBE_RANGE, values };
}

export function endRun(
  runId: string,
  { outcome, error, warnings }: { outcome: string; error: string | null; warnings: string[] },
): Statement {
  return { text: END_RUN, values: [runId, outcome, error, warnings] };
}

/** As a parameter: SQL null for JSON null. */
function jsonOf(value: Json): string | null {
  return value === null ? null : JSON.stringify(value);
}
