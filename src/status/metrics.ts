import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { PageProgress, RunCounters } from '../core/export.ts';
import { dateOfTicks } from '../core/ticks.ts';
import type { StatusReport } from '../postgres/status.ts';
import type { RunSummary } from '../run.ts';
import { outcomeOf } from './health.ts';

const PREFIX = 'uipath_audit_export_';

const PAGE_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const RUN_BUCKETS_S = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400];
/** A minute to a month; EXPORT_LOOKBACK and EXPORT_RECHECK_WINDOW by default are the 1 h and 48 h among them. */
const LATENESS_BUCKETS_S = [
  60, 300, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800, 604_800, 2_592_000,
];

/** What Prometheus is given. One registry each, so that two may live in one process. */
export interface Metrics {
  observePage(progress: PageProgress): void;
  observeRun(summary: RunSummary): void;
  observeFailure(kind: RunSummary['kind'], error: unknown): void;
  /** Sets what only the database knows; organizations that are not in the report disappear. */
  observeStatus(report: StatusReport): void;
  /** The status could not be read: the gauges keep what was last known. */
  observeDatabaseAway(): void;
  render(): Promise<{ contentType: string; text: string }>;
}

export function createMetrics(now: () => Date = () => new Date()): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const runs = createRunMetrics(registry);
  const status = createStatusGauges(registry);
  const flush = createCounterFlush(registry);
  return {
    observePage({ counters, requestMs, result }) {
      flush.add(counters);
      runs.pageDuration.observe(requestMs / 1000);
      for (const ticks of result?.lateTicks ?? []) {
        runs.lateness.observe(Math.max(0, now().getTime() - dateOfTicks(ticks).getTime()) / 1000);
      }
    },
    observeRun({ kind, outcome, counters, durationMs }) {
      flush.add(counters);
      flush.forget();
      runs.ended.inc({ kind, outcome });
      runs.duration.observe({ kind }, durationMs / 1000);
    },
    observeFailure(kind, error) {
      flush.again();
      flush.forget();
      runs.ended.inc({ kind, outcome: outcomeOf(error) });
    },
    observeStatus: status.set,
    observeDatabaseAway: status.setAway,
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}

function createRunMetrics(registry: Registry) {
  const registers = [registry];
  return {
    ended: new Counter({
      name: `${PREFIX}runs_total`,
      help: 'Runs of this process that ended, by kind and outcome (locked: another worker had the organization).',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
    duration: new Histogram({
      name: `${PREFIX}run_duration_seconds`,
      help: 'Duration of runs that succeeded.',
      labelNames: ['kind'],
      buckets: RUN_BUCKETS_S,
      registers,
    }),
    pageDuration: new Histogram({
      name: `${PREFIX}page_wait_duration_seconds`,
      help: 'How long a run waited for its next page, retries included; less than a request takes where it was made ahead.',
      buckets: PAGE_BUCKETS_S,
      registers,
    }),
    lateness: new Histogram({
      name: `${PREFIX}event_lateness_seconds`,
      help: 'Age, when stored, of events older than the watermark was. Beyond EXPORT_LOOKBACK only a recheck finds them.',
      buckets: LATENESS_BUCKETS_S,
      registers,
    }),
  };
}

/** Counters that follow the totals a run keeps for itself: each call adds what is new since the last. */
function createCounterFlush(registry: Registry) {
  const registers = [registry];
  const rows = new Counter({
    name: `${PREFIX}rows_total`,
    help: 'Rows taken from the source, by what became of them.',
    labelNames: ['result'],
    registers,
  });
  const plain = {
    late: new Counter({
      name: `${PREFIX}late_rows_total`,
      help: 'Inserted rows older than the watermark was when their run began.',
      registers,
    }),
    pages: new Counter({ name: `${PREFIX}pages_total`, help: 'Pages read and judged.', registers }),
    requests: new Counter({
      name: `${PREFIX}source_requests_total`,
      help: 'List requests sent to the source, retries included.',
      registers,
    }),
    retries: new Counter({
      name: `${PREFIX}source_retries_total`,
      help: 'List requests sent again after a failure.',
      registers,
    }),
  };
  const results = ['inserted', 'updated', 'unchanged', 'rejected'] as const;
  for (const result of results) rows.inc({ result }, 0);

  const counted = new WeakMap<RunCounters, RunCounters>();
  const live = new Set<RunCounters>();
  const add = (counters: RunCounters) => {
    const before = counted.get(counters);
    const since = (name: keyof RunCounters) => counters[name] - (before?.[name] ?? 0);
    for (const result of results) rows.inc({ result }, since(result));
    for (const name of Object.keys(plain) as (keyof typeof plain)[]) plain[name].inc(since(name));
    counted.set(counters, { ...counters });
    live.add(counters);
  };
  return {
    add,
    /** For a run that failed: what its last pages left uncounted. */
    again: () => live.forEach(add),
    /** A run that goes on is remembered again by its next page. */
    forget: () => live.clear(),
  };
}

function createStatusGauges(registry: Registry) {
  const perOrganization = (name: string, help: string) =>
    new Gauge({ name: PREFIX + name, help, labelNames: ['organization'], registers: [registry] });
  const plain = (name: string, help: string) =>
    new Gauge({ name: PREFIX + name, help, registers: [registry] });
  const up = plain('database_up', '1 when the database answered the last question about the status, else 0.');
  const pending = plain('pending_migrations', 'Migrations the database lacks.');
  const newest = perOrganization('newest_event_timestamp_seconds', 'When the newest stored event happened.');
  const success = perOrganization(
    'last_success_timestamp_seconds',
    'When the last run that succeeded ended.',
  );
  const source = perOrganization('source_events', 'Events at the source as it last said.');
  const stored = perOrganization('stored_events', 'Events stored, also those the source has deleted since.');
  const gaps = perOrganization(
    'gaps',
    'Spans of time that are not known to be complete, between two that are.',
  );
  const rejected = perOrganization('rejected_rows', 'Rows kept word for word in audit.rejected_events.');
  return {
    set({ migrations, organizations }: StatusReport) {
      up.set(1);
      pending.set(migrations.pending.length);
      for (const gauge of [newest, success, source, stored, gaps, rejected]) gauge.reset();
      for (const status of organizations) {
        const { organization } = status;
        if (status.newestEventAt) newest.set({ organization }, status.newestEventAt.getTime() / 1000);
        if (status.lastSuccessAt) success.set({ organization }, status.lastSuccessAt.getTime() / 1000);
        if (status.sourceTotal !== null) source.set({ organization }, status.sourceTotal);
        stored.set({ organization }, status.stored);
        gaps.set({ organization }, status.gapCount);
        rejected.set({ organization }, status.rejected);
      }
    },
    setAway: () => up.set(0),
  };
}
