import { Gauge, type Registry } from 'prom-client';
import { findSeveralLogs, type LogKey } from '../core/log-key.ts';
import type { Completeness, OrganizationStatus, StatusReport } from '../postgres/read/status.ts';
import { kindOf, STATES } from './state.ts';
import { differencesByKind } from './verification.ts';

const PREFIX = 'uipath_audit_export_';

/** Name, help and value of each gauge of an organization. A gauge whose value is `null` is left out. */
const GAUGES: [string, string, (status: OrganizationStatus, readAt: Date) => number | null][] = [
  [
    'newest_event_timestamp_seconds',
    'Time of the newest stored event, the watermark.',
    ({ newestEventAt }) => seconds(newestEventAt),
  ],
  [
    'newest_event_age_seconds',
    'Age of the newest stored event by the clock of the database. Also grows while nothing happens in the organization.',
    ageOf,
  ],
  ['watermark_age_seconds', 'The former name of newest_event_age_seconds.', ageOf],
  [
    'last_success_timestamp_seconds',
    'End of the last successful run.',
    ({ lastSuccessAt }) => seconds(lastSuccessAt),
  ],
  [
    'lag_seconds',
    'The lag: time since the end of the last successful run, by the clock of the database. The copy may be this far behind.',
    ({ lastSuccessAt }, readAt) =>
      lastSuccessAt && Math.max(0, readAt.getTime() - lastSuccessAt.getTime()) / 1000,
  ],
  ['source_events', 'Events at the source, from its last response.', ({ sourceTotal }) => sourceTotal],
  ['stored_events', 'Events stored, including those that the source has deleted.', ({ stored }) => stored],
  [
    'proven_timestamp_seconds',
    'When the source was last requested for its newest event by a run whose count agreed.',
    ({ completeness }) => seconds(completeness.provenAt),
  ],
  [
    'missing_events',
    'Events at the source that are not stored, by the last count; below 0: stored events that are not at the source. Left out if not proven.',
    ({ completeness }) => missingOf(completeness),
  ],
  [
    'gone_events',
    'Stored events that the source deleted behind its oldest event.',
    ({ completeness }) => completeness.gone,
  ],
  [
    'suspected_events',
    'Stored events that the last run did not find at the source; the next run decides.',
    ({ completeness }) => completeness.suspected,
  ],
  [
    'last_gone_timestamp_seconds',
    'When the newest of the gone events was found to be gone.',
    ({ completeness }) => seconds(completeness.lastGoneAt),
  ],
  [
    'gaps',
    'Time ranges between two that were read: the source may have deleted their events unread.',
    ({ gapCount }) => gapCount,
  ],
  [
    'last_gap_timestamp_seconds',
    'When the latest of the newest gaps was detected.',
    ({ gaps }) => seconds(gaps.map(({ noticedAt }) => noticedAt).sort((a, b) => +b - +a)[0] ?? null),
  ],
  [
    'verify_last_success_timestamp_seconds',
    'When verify last found no difference in the whole log.',
    ({ verification }) => seconds(verification.lastCleanAt),
  ],
  ['rejected_rows', 'Rows kept verbatim in audit.rejected_events.', ({ rejected }) => rejected],
  [
    'last_rejected_timestamp_seconds',
    'When the newest of the rejected rows was first seen.',
    ({ lastRejectedAt }) => seconds(lastRejectedAt),
  ],
];

/** The gauges whose values are read from the database. */
export function createStatusGauges(registry: Registry) {
  const registers = [registry];
  const plain = (name: string, help: string) => new Gauge({ name: PREFIX + name, help, registers });
  const up = plain('database_up', '1 if the database responded to the last status query, else 0.');
  const pending = plain('pending_migrations', 'Migrations that are not applied to the database.');
  const states = new Gauge({
    name: `${PREFIX}completeness`,
    help: '1 for the state of the copy by the last count, 0 for the other states.',
    labelNames: ['organization', 'log', 'state'],
    registers,
  });
  const differences = new Gauge({
    name: `${PREFIX}verify_differences`,
    help: 'Differences by kind that verify found and that no later verify has cleared. Left out if the log was never verified.',
    labelNames: ['organization', 'log', 'kind'],
    registers,
  });
  const gauges = GAUGES.map(([name, help, measure]) => ({
    gauge: new Gauge({ name: PREFIX + name, help, labelNames: ['organization', 'log'], registers }),
    measure,
  }));
  return {
    set({ readAt, migrations, organizations }: StatusReport) {
      up.set(1);
      pending.set(migrations.pending.length);
      const several = findSeveralLogs(organizations);
      const labelsOf = ({ organization, log }: LogKey) =>
        several.has(organization) ? { organization, log } : { organization };
      states.reset();
      differences.reset();
      for (const status of organizations) {
        const kind = kindOf(status.completeness);
        for (const state of STATES) states.set({ ...labelsOf(status), state }, state === kind ? 1 : 0);
        for (const [kind, value] of differencesByKind(status.verification))
          differences.set({ ...labelsOf(status), kind }, value);
      }
      for (const { gauge, measure } of gauges) {
        gauge.reset();
        for (const status of organizations) {
          const value = measure(status, readAt);
          if (value !== null) gauge.set(labelsOf(status), value);
        }
      }
    },
    setAway: () => up.set(0),
  };
}

function ageOf({ newestEventAgeMs }: OrganizationStatus): number | null {
  return newestEventAgeMs === null ? null : newestEventAgeMs / 1000;
}

function missingOf(completeness: Completeness): number | null {
  const kind = kindOf(completeness);
  if (kind === 'complete but for N') return completeness.missing;
  return kind === 'complete' || kind === 'gap' ? 0 : null;
}

function seconds(at: Date | null): number | null {
  return at && at.getTime() / 1000;
}
