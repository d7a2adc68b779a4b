import { ExportError } from '../core/errors.ts';
import type { RunCounters } from '../core/store.ts';
import type { RunSummary } from '../runs/run.ts';
import { createRedactor } from '../text/redaction.ts';

type RunKind = RunSummary['kind'];

/** The state of this process. */
export interface HealthState {
  startedAt: Date;
  /** When a signal asked the process to stop; `null` before. */
  stoppingSince: Date | null;
  database: { isReady: boolean; since: Date; reason: string | null };
  /** One for each organization of this process, in the order of the configuration. */
  organizations: OrganizationState[];
}

export interface OrganizationState {
  organization: string;
  /** When the first run was requested; it may wait for a slot. `null` before. */
  requestedAt: Date | null;
  /** `pages`: responses read so far. `retriesBy`: failed requests that are repeated, for a token too, by reason. */
  running: { kind: RunKind; startedAt: Date; pages: number; retriesBy: Record<string, number> } | null;
  /** The run of this process that ended most recently. `locked`: another worker holds the lease. */
  lastRun: {
    kind: RunKind;
    outcome: RunSummary['outcome'] | 'locked';
    endedAt: Date;
    error: string | null;
    /** The next attempt and its number, from 2; the schedule may be earlier. `null` if only the schedule tries again. */
    retry: Retry | null;
  } | null;
}

export interface Retry {
  attempt: number;
  at: Date;
}

/** Updated by `start`, read by the status server. No method throws. */
export interface Health {
  /** Receives the runs of one organization. */
  of(organization: string): RunHealth;
  /** The database responded, and its tables are those of this version. */
  databaseReady(): void;
  databaseAway(error: unknown): void;
  /** The process stops after the runs in progress. */
  stopping(): void;
  /** A copy. */
  read(): HealthState;
}

export interface RunHealth {
  runRequested(): void;
  runStarted(kind: RunKind): void;
  /** `counters` are those of the run that started last. They are read whenever the state is. */
  runReads(counters: RunCounters): void;
  runEnded(summary: Pick<RunSummary, 'kind' | 'outcome'>): void;
  runFailed(kind: RunKind, error: unknown, retry?: Retry | null): void;
}

/** Starts with a database that was not reached yet and no finished run. */
export function createHealth(organizations: readonly string[], now: () => Date = () => new Date()): Health {
  const startedAt = now();
  let database: HealthState['database'] = {
    isReady: false,
    since: startedAt,
    reason: 'the database has not been reached yet',
  };
  let stoppingSince: Date | null = null;
  const states = new Map(
    organizations.map((organization) => [organization, createOrganizationHealth(organization, now)]),
  );
  return {
    of: (organization) => states.get(organization)!,
    databaseReady() {
      if (!database.isReady) database = { isReady: true, since: now(), reason: null };
    },
    databaseAway(error) {
      const since = database.isReady ? now() : database.since;
      database = { isReady: false, since, reason: describeError(error) };
    },
    stopping() {
      stoppingSince ??= now();
    },
    read() {
      const read = [...states.values()].map((state) => state.read());
      return structuredClone({ startedAt, stoppingSince, database, organizations: read });
    },
  };
}

function createOrganizationHealth(
  organization: string,
  now: () => Date,
): RunHealth & { read: () => OrganizationState } {
  let requestedAt: Date | null = null;
  let running: { kind: RunKind; startedAt: Date } | null = null;
  let counters: RunCounters | undefined;
  let lastRun: OrganizationState['lastRun'] = null;
  const end = (run: Omit<NonNullable<OrganizationState['lastRun']>, 'endedAt'>) => {
    running = null;
    lastRun = { ...run, endedAt: now() };
  };
  return {
    runRequested() {
      requestedAt ??= now();
    },
    runStarted(kind) {
      running = { kind, startedAt: now() };
      counters = undefined;
    },
    runReads(read) {
      counters = read;
    },
    runEnded: ({ kind, outcome }) => end({ kind, outcome, error: null, retry: null }),
    runFailed: (kind, error, retry = null) =>
      end({ kind, outcome: outcomeOf(error), error: describeError(error), retry }),
    read() {
      const { pages = 0, retriesBy = {} } = counters ?? {};
      return { organization, requestedAt, running: running && { ...running, pages, retriesBy }, lastRun };
    },
  };
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
