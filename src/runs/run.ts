/** One run from lease to history: what exporting and repairing have in common. */
import type { App } from '../app.ts';
import { isInterrupted } from '../core/errors.ts';
import type { ExportOptions } from '../core/export.ts';
import type { ReadWarning } from '../core/source.ts';
import { newCounters, type RunCounters } from '../core/store.ts';
import type { Logger } from '../log.ts';
import type { Outcome, PostgresSession, RunKind } from '../postgres/write/session.ts';
import { openSession, type UnrecordedOutcome } from '../postgres/write/store.ts';
import type { LedgerHead } from '../postgres/write/store-events.ts';

export interface RunSummary {
  runId: string;
  kind: RunKind;
  outcome: Outcome;
  counters: RunCounters;
  warnings: string[];
  durationMs: number;
  /** The newest entry that it appended to the ledger; `null` where nothing was new. */
  ledger: LedgerHead | null;
}

export interface Run {
  session: PostgresSession;
  log: Logger;
  /** To be kept up to date by the work. */
  counters: RunCounters;
  /** For `exportEvents`: they log, and keep what belongs to the run's row. */
  watchers: {
    [Name in 'onRejected' | 'onWarning']: NonNullable<ExportOptions[Name]>;
  };
}

export interface RunConditions {
  /** How the process's earlier runs ended: this one stores it, and adds its own where the database is away at its end. */
  unrecordedOutcomes?: UnrecordedOutcome[] | undefined;
  /** Throws `superseded`, as `openSession` does. */
  unlessDoneWithinMs?: number | undefined;
}

/** What a person can do about it, beside what was found. */
const ADVICE: Record<ReadWarning['kind'], string> = {
  gap: ' The span is in audit.gaps.',
  'large-tie-group': '',
};

function describeWarning({ kind, message }: ReadWarning): string {
  return message + ADVICE[kind];
}

/**
 * Does `work` with the organization's lease and stores how it ended. Throws what ended it, or `locked` when another worker
 * has the organization; what was committed by then stays.
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
  const end = async (outcome: Outcome, error: string | null): Promise<RunSummary> => {
    await session.finish({ outcome, error, warnings, counters });
    const durationMs = Math.round(performance.now() - startedAt);
    const ledger = session.newestEntry ?? null;
    // The ledger's newest digest goes where the log goes: out of reach of a user who could rewrite the tables.
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
        onRejected: ({ reason }) => log.warn({ reason }, 'row kept in audit.rejected_events'),
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
    // The reason is thrown on; that the history could not be written must not hide it.
    await end(outcome, message).catch((err) => {
      log.debug({ err }, 'run history not written');
      unrecordedOutcomes.push({ runId: session.runId, error: message, endedAt: new Date() });
    });
    throw error;
  } finally {
    await session.release();
  }
}
