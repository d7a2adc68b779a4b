import { ExportError } from '../core/errors.ts';
import type { RunSummary } from '../runs/run.ts';
import { createRedactor } from '../text/redaction.ts';

type RunKind = RunSummary['kind'];

/** The state of this process. */
export interface HealthState {
  startedAt: Date;
  database: { isReady: boolean; since: Date; reason: string | null };
  /** One for each organization of this process, in the order of the configuration. */
  organizations: OrganizationState[];
}

export interface OrganizationState {
  organization: string;
  running: { kind: RunKind; startedAt: Date } | null;
  /** The run of this process that ended most recently. `locked`: another worker holds the lease. */
  lastRun: {
    kind: RunKind;
    outcome: RunSummary['outcome'] | 'locked';
    endedAt: Date;
    error: string | null;
  } | null;
}

/** Updated by `start`, read by the status server. No method throws. */
export interface Health {
  /** Receives the runs of one organization. */
  of(organization: string): RunHealth;
  /** The database responded, and its tables are those of this version. */
  databaseReady(): void;
  databaseAway(error: unknown): void;
  /** A copy. */
  read(): HealthState;
}

export interface RunHealth {
  runStarted(kind: RunKind): void;
  runEnded(summary: Pick<RunSummary, 'kind' | 'outcome'>): void;
  runFailed(kind: RunKind, error: unknown): void;
}

/** Starts with a database that was not reached yet and no finished run. */
export function createHealth(organizations: readonly string[], now: () => Date = () => new Date()): Health {
  const startedAt = now();
  let database: HealthState['database'] = {
    isReady: false,
    since: startedAt,
    reason: 'the database has not been reached yet',
  };
  const states = new Map<string, OrganizationState>(
    organizations.map((organization) => [organization, { organization, running: null, lastRun: null }]),
  );
  return {
    of(organization) {
      const state = states.get(organization)!;
      const end = (lastRun: OrganizationState['lastRun']) => Object.assign(state, { running: null, lastRun });
      return {
        runStarted(kind) {
          state.running = { kind, startedAt: now() };
        },
        runEnded: ({ kind, outcome }) => void end({ kind, outcome, endedAt: now(), error: null }),
        runFailed: (kind, error) =>
          void end({ kind, outcome: outcomeOf(error), endedAt: now(), error: describeError(error) }),
      };
    },
    databaseReady() {
      if (!database.isReady) database = { isReady: true, since: now(), reason: null };
    },
    databaseAway(error) {
      const since = database.isReady ? now() : database.since;
      database = { isReady: false, since, reason: describeError(error) };
    },
    read: () => structuredClone({ startedAt, database, organizations: [...states.values()] }),
  };
}

/**
 * Returns why the process is not ready, one sentence each; empty when it is ready. While at least one organization does not
 * fail, the process stays ready, because it still exports that one.
 */
export function unreadyReasons(state: HealthState): string[] {
  const reasons = state.database.isReady ? [] : [`database: ${state.database.reason}`];
  const failing = failingReasons(state);
  return failing.length === state.organizations.length ? [...reasons, ...failing] : reasons;
}

/** One sentence for each organization whose last run in this process failed. */
export function failingReasons({ organizations }: HealthState): string[] {
  return organizations.flatMap(({ organization, lastRun }) => {
    if (lastRun?.outcome !== 'failed') return [];
    const prefix = organizations.length === 1 ? '' : `${organization}: `;
    return [`${prefix}last ${lastRun.kind}: ${lastRun.error ?? 'failed'}`];
  });
}

/** Maps the error of a run to its outcome in `audit.runs`, or to `locked`: then another worker has it and there is no row. */
export function outcomeOf(error: unknown): 'failed' | 'interrupted' | 'locked' {
  const code = error instanceof ExportError ? error.code : undefined;
  if (code === 'superseded') return 'locked';
  return code === 'locked' || code === 'interrupted' ? code : 'failed';
}

const redact = createRedactor();

/** Describes an error for the page. Only messages of `ExportError` are safe to show; others may contain secrets. */
export function describeError(error: unknown): string {
  return error instanceof ExportError ? redact(error.message) : 'an unexpected error; see the log';
}
