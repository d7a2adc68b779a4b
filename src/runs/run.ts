/** One run, from taking the lease to recording the outcome, for exports and repairs. */
import type { App } from '../app.ts';
import { addFacts, ExportError, isInterrupted } from '../core/errors.ts';
import type { ExportOptions } from '../core/export.ts';
import { createSigner } from '../core/ledger/sign.ts';
import type { Proof } from '../core/prover.ts';
import type { ReadWarning } from '../core/source.ts';
import { type Comparison, newCounters, type RunCounters } from '../core/store.ts';
import { formatTicks } from '../core/ticks.ts';
import type { Logger } from '../log.ts';
import type { NotedEntry } from '../postgres/write/ledger.ts';
import { pruneRuns } from '../postgres/write/prune-runs.ts';
import type { Conclusion, Outcome } from '../postgres/write/run-end.ts';
import type { PostgresSession, RunKind } from '../postgres/write/session.ts';
import { openSession, type UnrecordedOutcome } from '../postgres/write/store.ts';
import { count, describeDuration, formatNumber } from '../text/format.ts';
import { createRejectedLog } from './rejected-log.ts';

export interface RunSummary {
  runId: string;
  kind: RunKind;
  outcome: Outcome;
  counters: RunCounters;
  warnings: string[];
  durationMs: number;
  /** The newest entry that the run appended to the ledger; `null` if it appended none. */
  ledger: NotedEntry | null;
  /** What the run proved; `null` if it did not count. */
  proof: ProofSummary | null;
}

/** A proof for a person or as JSON. */
export interface ProofSummary {
  state: Proof['state'];
  reason?: string;
  /** Events that the source counts and that are not stored; negative: stored events that it does not count. */
  missing?: number;
  /** When the newest event of the source was requested. */
  provenAt?: Date;
}

export interface Run {
  session: PostgresSession;
  log: Logger;
  /** The work updates them. */
  counters: RunCounters;
  /** Logs a warning, and adds it to the run's row and summary. */
  warn: (message: string) => void;
  /** Callbacks for `exportEvents`: they log, and collect the warnings for the run's row. */
  watchers: {
    [Name in 'onRejected' | 'onWarning']: NonNullable<ExportOptions[Name]>;
  } & { onCompared: (result: Comparison) => void };
  /** Sets what the run proved. Stored with its outcome. */
  conclude: (conclusion: Conclusion) => void;
}

export interface RunConditions {
  /** Outcomes of earlier runs of this process. This run stores them, and adds its own if the database is away at its end. */
  unrecordedOutcomes?: UnrecordedOutcome[] | undefined;
  /** Throws `superseded`, as `openSession` does. */
  unlessDoneWithinMs?: number | undefined;
  /** The run reads the whole list: it may reset a watermark that contradicts the stored events. */
  shouldResetWatermark?: boolean | undefined;
}

/** What to do about a warning. */
const ADVICE: Record<ReadWarning['kind'], string> = {
  gap: ' The span is in audit.gaps.',
  'large-tie-group': '',
  source: '',
};

function describeWarning({ kind, message }: ReadWarning): string {
  return message + ADVICE[kind];
}

const GONE =
  'The source no longer shows an event that lies between its oldest and its newest one: only an administrator of the source deletes ' +
  'single events there. The event stays stored; see bi.gone_events';

function describeSuperseded(number: number): string {
  return (
    `The source writes the details of ${count(number, 'stored event')} differently, as after an upgrade; their values are the same. ` +
    'The new forms replaced the old ones in all views and counts; the old rows stay in bi.superseded_events.'
  );
}

function summarize(proof: Proof): ProofSummary {
  if (proof.state === 'complete') return { state: proof.state, provenAt: proof.provenAt };
  const { state, reason } = proof;
  return proof.state === 'incomplete' ? { state, reason, missing: proof.missing } : { state, reason };
}

/** A warning for a proof that needs attention. */
function describeProof(proof: Proof): string | undefined {
  if (proof.state === 'source changed') {
    return `The source has changed: ${proof.reason}. Nothing was deleted here. Check the address; EXPORT_ACCEPT_SOURCE accepts another source.`;
  }
  return proof.state === 'incomplete' ? `The copy is not complete: ${proof.reason}.` : undefined;
}

/** One line: `run 6 succeeded: 110 new (10 late), 3,670 unchanged, 1.8 s`. */
export function describeRun({
  kind,
  runId,
  outcome,
  counters,
  durationMs,
}: Pick<RunSummary, 'kind' | 'runId' | 'outcome' | 'counters' | 'durationMs'>): string {
  const { inserted, updated, unchanged, rejected, late, superseded } = counters;
  const parts = [
    `${formatNumber(inserted)} new${late > 0 ? ` (${formatNumber(late)} late)` : ''}`,
    superseded > 0 && `${formatNumber(superseded)} superseded`,
    updated > 0 && `${formatNumber(updated)} updated`,
    unchanged > 0 && `${formatNumber(unchanged)} unchanged`,
    rejected > 0 && `${formatNumber(rejected)} rejected`,
    describeDuration(durationMs),
  ];
  return `${kind} ${runId} ${outcome}: ${parts.filter((part) => part !== false).join(', ')}`;
}

/**
 * Calls `work` with the lease of the log and stores the outcome. Throws the error of `work`, or `locked` if another worker
 * holds the lease. Data committed before an error stays.
 */
export async function withRun(
  app: App,
  kind: RunKind,
  work: (run: Run) => Promise<void>,
  { unrecordedOutcomes = [], unlessDoneWithinMs, shouldResetWatermark }: RunConditions = {},
): Promise<RunSummary> {
  const { organization, log: auditLog } = app.config.source;
  const startedAt = performance.now();
  const { leaseMs, isSynchronous, settleMs } = app.config.export;
  const options = {
    organization,
    log: auditLog,
    kind,
    leaseMs,
    isSynchronous,
    settleMs,
    unrecordedOutcomes,
    unlessDoneWithinMs,
    shouldResetWatermark,
    signer: createSigner(app.config.ledger.privateKeys),
  };
  const session = await openSession(app.pool, options);
  unrecordedOutcomes.length = 0;
  const log = app.log.child({ run: session.runId });
  const counters = newCounters();
  const warnings: string[] = [];
  const warn = (warning: string) => {
    log.warn(warning);
    if (!warnings.includes(warning)) warnings.push(warning);
  };
  const rejectedLog = createRejectedLog(log, app.redactor);
  let conclusion: Conclusion | undefined;
  const pruneHistory = async () => {
    const { runHistoryMs } = app.config.export;
    if (runHistoryMs === undefined) return;
    try {
      const removed = await pruneRuns(app.pool, { organization, log: auditLog }, runHistoryMs);
      if (removed > 0)
        log.info({ removed }, 'removed runs older than EXPORT_RUN_HISTORY that stored nothing');
    } catch (err) {
      // The run has succeeded, and the next one tries again.
      log.warn({ err }, 'old runs were not removed');
    }
  };
  const end = async (outcome: Outcome, error: string | null): Promise<RunSummary> => {
    rejectedLog.write();
    const warning = conclusion && describeProof(conclusion.proof);
    if (warning !== undefined) warn(warning);
    if (counters.superseded > 0) warn(describeSuperseded(counters.superseded));
    await session.finish({ outcome, error, warnings, counters, conclusion });
    const durationMs = Math.round(performance.now() - startedAt);
    const ledger = session.newestEntry ?? null;
    const proof = conclusion ? summarize(conclusion.proof) : null;
    return { runId: session.runId, kind, outcome, counters, warnings, durationMs, ledger, proof };
  };
  const factsOfEnd = ({ outcome, durationMs, ledger, proof }: RunSummary) => {
    const completeness = proof?.state;
    return { kind, outcome, ...counters, completeness, warnings: warnings.length, durationMs, ledger };
  };
  try {
    // `verify` does not use the watermark to store rows, and can repair what is missing.
    if (session.watermarkFault !== undefined && kind !== 'verify')
      throw new ExportError('configuration', session.watermarkFault);
    await work({
      session,
      log,
      counters,
      warn,
      watchers: {
        onRejected: rejectedLog.add,
        onWarning: (found) => warn(describeWarning(found)),
        onCompared: ({ goneEvents }) => {
          for (const { eventId, ticks } of goneEvents)
            log.warn({ eventId, createdOn: formatTicks(ticks) }, GONE);
        },
      },
      conclude: (found) => {
        conclusion = found;
      },
    });
    const summary = await end('succeeded', null);
    // With the newest digest of the ledger: the log is out of reach of a user who could rewrite the tables.
    log.info(factsOfEnd(summary), describeRun(summary));
    await pruneHistory();
    return summary;
  } catch (error) {
    const outcome = isInterrupted(error) ? 'interrupted' : 'failed';
    const message = app.redactor(error instanceof Error ? error.message : String(error));
    // The original error is rethrown; a failure to record the outcome must not replace it. Who reports the error logs the run.
    addFacts(error, { run: session.runId, kind, outcome, ...counters });
    await end(outcome, message)
      .then((summary) => addFacts(error, factsOfEnd(summary)))
      .catch((err) => {
        log.debug({ err }, 'outcome of the run not recorded');
        unrecordedOutcomes.push({ runId: session.runId, error: message, endedAt: new Date() });
      });
    throw error;
  } finally {
    await session.release();
  }
}
