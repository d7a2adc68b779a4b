import { ExportError } from '../core/errors.ts';
import { createRedactor } from '../redaction.ts';
import type { RunSummary } from '../run.ts';

type RunKind = RunSummary['kind'];

/** The state of this process, as it was told. */
export interface HealthState {
  startedAt: Date;
  database: { isReady: boolean; since: Date; reason: string | null };
  running: { kind: RunKind; startedAt: Date } | null;
  /** The run of this process that ended last. `locked`: another worker has the organization, and this one stands by. */
  lastRun: {
    kind: RunKind;
    outcome: RunSummary['outcome'] | 'locked';
    endedAt: Date;
    error: string | null;
  } | null;
}

/** Told of what happens by `start`, and read by the status server. No method throws. */
export interface Health {
  runStarted(kind: RunKind): void;
  runEnded(summary: RunSummary): void;
  runFailed(kind: RunKind, error: unknown): void;
  /** It answered, and its tables are as this version wants them. */
  databaseReady(): void;
  databaseAway(error: unknown): void;
  /** A copy. */
  read(): HealthState;
}

/** A process that has neither reached its database nor ended a run. */
export function createHealth(now: () => Date = () => new Date()): Health {
  const startedAt = now();
  let database: HealthState['database'] = {
    isReady: false,
    since: startedAt,
    reason: 'the database has not been reached yet',
  };
  let running: HealthState['running'] = null;
  let lastRun: HealthState['lastRun'] = null;
  return {
    runStarted(kind) {
      running = { kind, startedAt: now() };
    },
    runEnded({ kind, outcome }) {
      running = null;
      lastRun = { kind, outcome, endedAt: now(), error: null };
    },
    runFailed(kind, error) {
      running = null;
      lastRun = { kind, outcome: outcomeOf(error), endedAt: now(), error: describeError(error) };
    },
    databaseReady() {
      if (!database.isReady) database = { isReady: true, since: now(), reason: null };
    },
    databaseAway(error) {
      const since = database.isReady ? now() : database.since;
      database = { isReady: false, since, reason: describeError(error) };
    },
    read: () => structuredClone({ startedAt, database, running, lastRun }),
  };
}

/** Why the process is not ready, one sentence each; none when it is. */
export function unreadyReasons({ database, lastRun }: HealthState): string[] {
  const reasons: string[] = [];
  if (!database.isReady) reasons.push(`database: ${database.reason}`);
  if (lastRun?.outcome === 'failed') reasons.push(`last ${lastRun.kind}: ${lastRun.error ?? 'failed'}`);
  return reasons;
}

/** How a run ended that threw, in the words of the run history, and `locked`, for which there is no row. */
export function outcomeOf(error: unknown): 'failed' | 'interrupted' | 'locked' {
  const code = error instanceof ExportError ? error.code : undefined;
  return code === 'locked' || code === 'interrupted' ? code : 'failed';
}

const redact = createRedactor();

/** An error for whoever reads the page: the program's own are written for people; others may hold anything. */
export function describeError(error: unknown): string {
  return error instanceof ExportError ? redact(error.message) : 'an unexpected error; the log has it in full';
}
