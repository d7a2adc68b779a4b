/** Builds the statements that update a run's rows in `audit.runs` and `audit.watermarks`. */
import type { IdentifiedEvent } from '../../core/identity.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Proof } from '../../core/prover.ts';
import type { Json } from '../../core/source.ts';
import type { Commit, RunCounters } from '../../core/store.ts';
import { formatMicroseconds, TICKS_PER_SECOND, ticksOfDate } from '../../core/ticks.ts';
import type { Statement } from '../connection/pipeline.ts';
import { storableText } from '../format/columns.ts';
import {
  DESCRIBE_RANGE,
  END_RUN,
  MOVE_WATERMARK,
  RECORD_PROOF,
  UPDATE_RUN,
  UPDATE_SOURCE_TOTAL,
} from './statements.ts';

export function moveWatermark(
  { organization, log, runId }: LogKey & { runId: string },
  batch: Commit,
): Statement {
  const newest = newestKnown(batch)?.event;
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

/** The newest event before the frontier that is not dated ahead of the source's clock. */
function newestKnown({ events, others, frontier, sourceTime }: Commit): IdentifiedEvent | undefined {
  // The clock of the response is exact to the second.
  const now = ticksOfDate(sourceTime) + TICKS_PER_SECOND;
  const isKnown = ({ event }: IdentifiedEvent) =>
    event.createdOnTicks < frontier && event.createdOnTicks <= now;
  const newest = events.findLast(isKnown);
  return others.events
    .filter(isKnown)
    .reduce((a, b) => (a === undefined || a.event.createdOnTicks < b.event.createdOnTicks ? b : a), newest);
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
    counters.superseded,
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
  proof: Proof | undefined,
): Statement {
  const values = [
    runId,
    outcome,
    error,
    warnings,
    proof?.state ?? null,
    reasonOf(proof),
    ...figuresOf(proof),
  ];
  return { text: END_RUN, values };
}

/** Stores what the run proved, and what the next run's prover needs. */
export function recordProof(
  { organization, log }: LogKey,
  { proof, head, ranks }: { proof: Proof; head: bigint | undefined; ranks: Json },
): Statement {
  const values = [
    organization,
    log,
    proof.state,
    reasonOf(proof),
    ...figuresOf(proof),
    head?.toString() ?? null,
    head === undefined ? null : formatMicroseconds(head),
    jsonOf(ranks),
  ];
  return { name: 'record-proof', text: RECORD_PROOF, values };
}

/** How many events are missing, and when the copy was proven: each null where the proof does not say so. */
function figuresOf(proof: Proof | undefined): [missing: number | null, provenAt: Date | null] {
  return [
    proof?.state === 'incomplete' ? proof.missing : null,
    proof?.state === 'complete' ? proof.provenAt : null,
  ];
}

function reasonOf(proof: Proof | undefined): string | null {
  return proof === undefined || proof.state === 'complete' ? null : storableText(proof.reason);
}

/** As a parameter: SQL null for JSON null. */
function jsonOf(value: Json): string | null {
  return value === null ? null : JSON.stringify(value);
}
