/** One run, from taking the lease to recording the outcome, for exports and repairs. */
import type { App } from '../app.ts';
import { isInterrupted } from '../core/errors.ts';
import type { ExportOptions } from '../core/export.ts';
import type { ReadWarning } from '../core/source.ts';
import { newCounters, type RunCounters } from '../core/store.ts';
import type { Logger } from '../log.ts';
import type { Outcome, PostgresSession, RunKind } from '../postgres/write/session.ts';
import { openSession, type UnrecordedOutcome } from '../postgres/write/store.ts';
import type { LedgerHead } from '../postgres/write/store-events.ts';
import { createRejectedLog } from './rejected-log.ts';

export interface RunSummary {
  runId: string;
  kind: RunKind;
  outcome: Outcome;
  counters: RunCounters;
  warnings: string[];
  durationMs: number;
  /** The newest entry that the run appended to the ledger; `null` if it appended none. */
  ledger: LedgerHead | null;
}

export interface Run {
  session: PostgresSession;
  log: Logger;
  /** The work updates them. */
  counters: RunCounters;
  /** Callbacks for `exportEvents`: they log, and collect the warnings for the run's row. */
  watchers: {
    [Name in 'onRejected' | 'onWarning']: NonNullable<ExportOptions[Name]>;
  };
}

export interface RunConditions {
  /** Outcomes of earlier runs of this process. This run stores them, and adds its own if the database is away at its end. */
  unrecordedOutcomes?: UnrecordedOutcome[] | undefined;
  /** Throws `superseded`, as `openSession` does. */
  unlessDoneWithinMs?: number | undefined;
}

/** What to do about a warning. */
const ADVICE: Record<ReadWarning['kind'], string> = {
  gap: ' The span is in audit.gaps.',
  'large-tie-group': '',
};

function describeWarning({ kind, message }: ReadWarning): string {
  return message + ADVICE[kind];
}

/**
 * Calls `work` with the lease of the log and stores the outcome. Throws the error of `work`, or `locked` if another worker
 * holds the lease. Data committed before an error stays.
 */
export async function withRun(
  app: App,
  kind: RunKind,
  work: (run: Run) => Promise<void>,
  { unrecordedOutcomes = [], unlessDoneWithinMs }: RunConditions = {},
): Promise<RunSummary> {
  const { organization, log: auditLog } = app.config.source;
  const startedAt = performance.now();
  const { leaseMs, isSynchronous } = app.config.export;
  const options = {
    organization,
    log: auditLog,
    kind,
    leaseMs,
    isSynchronous,
    unrecordedOutcomes,
    unlessDoneWithinMs,
  };
  const session = await openSession(app.pool, options);
  unrecordedOutcomes.length = 0;
  const log = app.log.child({ run: session.runId });
  const counters = newCounters();
  const warnings: string[] = [];
  const rejectedLog = createRejectedLog(log, app.redactor);
  const end = async (outcome: Outcome, error: string | null): Promise<RunSummary> => {
    rejectedLog.write();
    await session.finish({ outcome, error, warnings, counters });
    const durationMs = Math.round(performance.now() - startedAt);
    const ledger = session.newestEntry ?? null;
    // Logs the newest digest of the ledger: the log is out of reach of a user who could rewrite the tables.
    const facts = { kind, outcome, ...counters, warnings: warnings.length, durationMs, ledger };
    log.info(error === null ? facts : { ...facts, error }, `${kind} ${outcome}`);
    return { runId: session.runId, kind, outcome, counters, warnings, durationMs, ledger };
  };
  try {
    await work({
      session,
      log,
      counters,
      watchers: {
        onRejected: rejectedLog.add,
        onWarning(found) {
          const warning = describeWarning(found);
          log.warn(warning);
          if (!warnings.includes(warning)) warnings.push(warning);
        },
      },
    });
    return await end('succeeded', null);
  } catch (error) {
    const outcome = isInterrupted(error) ? 'interrupted' : 'failed';
    const message = app.redactor(error instanceof Error ? error.message : String(error));
    // The original error is rethrown; a failure to record the outcome must not replace it.
    await end(outcome, message).catch((err) => {
      log.debug({ err }, 'outcome of the run not recorded');
      unrecordedOutcomes.push({ runId: session.runId, error: message, endedAt: new Date() });
    });
    throw error;
  } finally {
    await session.release();
  }
}
