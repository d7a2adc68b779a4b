import { newCounters } from '../../src/core/store.ts';
import { type Activity, LATENESS_BOUNDS_S } from '../../src/postgres/read/activity.ts';
import type {
  Completeness,
  OrganizationStatus,
  RunRecord,
  StatusReport,
  VerificationStatus,
} from '../../src/postgres/read/status.ts';

export const NOW = new Date('2026-03-01T12:00:00Z');

export function minutesAgo(minutes: number): Date {
  return new Date(NOW.getTime() - minutes * 60_000);
}

/** A run that ended well two seconds after its start; five minutes ago, where nothing else is said. */
export function runRecord(given: Partial<RunRecord> = {}): RunRecord {
  const startedAt = given.startedAt ?? minutesAgo(5);
  return {
    runId: '7',
    kind: 'run',
    startedAt,
    endedAt: new Date(startedAt.getTime() + 2_000),
    outcome: 'succeeded',
    error: null,
    warnings: [],
    counters: newCounters(),
    from: null,
    to: null,
    worker: 'host process 1',
    ...given,
  };
}

/** Proven five minutes ago, nothing gone. */
export function completeness(given: Partial<Completeness> = {}): Completeness {
  return {
    state: 'complete',
    reason: null,
    missing: null,
    provenAt: minutesAgo(5),
    assessedAt: minutesAgo(5),
    suspected: 0,
    gone: 0,
    recentlyGone: 0,
    lastGoneAt: null,
    ...given,
  };
}

/** Verified an hour ago, offline, without differences. */
export function verification(given: Partial<VerificationStatus> = {}): VerificationStatus {
  return {
    last: { endedAt: minutesAgo(60), scope: 'offline', outcome: 'clean', error: null },
    lastCleanAt: minutesAgo(60),
    differences: {},
    differencesAt: null,
    differencesScope: null,
    ...given,
  };
}

/** A healthy organization. */
export function organizationStatus(given: Partial<OrganizationStatus> = {}): OrganizationStatus {
  return {
    organization: 'acme',
    log: 'classic',
    watermark: { ticks: 17_723_664_000_000_001n, raw: '2026-03-01T11:50:00.0000001+00:00' },
    newestEventAt: minutesAgo(10),
    newestEventAgeMs: 600_000,
    lastSuccessAt: minutesAgo(5),
    sourceTotal: 5_000,
    stored: 5_000,
    rejected: 0,
    lastRejectedAt: null,
    gapCount: 0,
    gaps: [],
    completeness: completeness(),
    verification: verification(),
    goneEvents: [],
    coverage: [],
    runs: [runRecord()],
    ...given,
  };
}

export function statusReport(given: Partial<StatusReport> = {}): StatusReport {
  return {
    readAt: NOW,
    migrations: { applied: ['0001_audit_tables'], pending: [] },
    organizations: [organizationStatus()],
    ...given,
  };
}

/** Ten events on each of the last 90 days, none late. */
export function activity(given: Partial<Activity> = {}): Activity {
  const days = Array.from({ length: 90 }, (_, i) => ({
    day: minutesAgo((89 - i) * 1_440)
      .toISOString()
      .slice(0, 10),
    events: 10,
  }));
  return { days, lateness: { events: 900, counts: LATENESS_BOUNDS_S.map(() => 0).concat(0) }, ...given };
}
