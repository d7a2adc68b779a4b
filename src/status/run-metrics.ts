import { Counter, Histogram, type Registry } from 'prom-client';
import type { ChunkProgress } from '../core/export.ts';
import type { RunCounters } from '../core/store.ts';
import { dateOfTicks } from '../core/ticks.ts';
import type { RunSummary } from '../runs/run.ts';
import { outcomeOf } from './health.ts';

const PREFIX = 'uipath_audit_export_';

const PAGE_BUCKETS_S = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const RUN_BUCKETS_S = [0.1, 0.5, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400];
/** A minute to a month, with the default of EXPORT_RECHECK_WINDOW (48 h) among them. */
const LATENESS_BUCKETS_S = [
  60, 300, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 172_800, 604_800, 2_592_000,
];

const RESULTS = ['inserted', 'updated', 'unchanged', 'rejected'] as const;
const TOTALS = ['late', 'superseded', 'pages', 'requests'] as const;
const OUTCOMES = ['succeeded', 'failed', 'locked'] as const;
const KINDS = ['run', 'recheck'] as const;

type Kind = RunSummary['kind'];

/** Counts the runs of one organization in this process. No method throws. */
export interface RunMetrics {
  /** The counters of a run that has started. They are read when the metrics are rendered. */
  observeStart(counters: RunCounters): void;
  observeChunk(progress: ChunkProgress): void;
  observeRun(summary: RunSummary): void;
  observeFailure(kind: Kind, error: unknown): void;
}

type Instruments = ReturnType<typeof createInstruments>;

/** Creates the instruments. `follow` gives each organization its own label; `collect` adds what the runs in progress have counted. */
export function createRunMetrics(
  registry: Registry,
  now: () => Date,
): { follow: (organization: string) => RunMetrics; collect: () => void } {
  const instruments = createInstruments(registry);
  const flushes: (() => void)[] = [];
  const follow = (organization: string): RunMetrics => {
    // Starts each counter at 0: `increase` in an alert does not see a counter that first appears with 1.
    for (const kind of KINDS) {
      for (const outcome of OUTCOMES) instruments.ended.inc({ organization, kind, outcome }, 0);
    }
    const flush = createFlush(instruments, organization);
    flushes.push(flush.addRest);
    return {
      observeStart: (counters) => flush.follow(counters),
      observeChunk({ counters, waitMs, result }) {
        flush.add(counters);
        instruments.pageWait.observe({ organization }, waitMs / 1000);
        for (const ticks of result?.lateTicks ?? []) {
          const lateMs = Math.max(0, now().getTime() - dateOfTicks(ticks).getTime());
          instruments.lateness.observe({ organization }, lateMs / 1000);
        }
      },
      observeRun({ kind, outcome, counters, durationMs }) {
        flush.add(counters);
        flush.clear();
        instruments.ended.inc({ organization, kind, outcome });
        instruments.duration.observe({ organization, kind }, durationMs / 1000);
      },
      observeFailure(kind, error) {
        flush.addRest();
        flush.clear();
        instruments.ended.inc({ organization, kind, outcome: outcomeOf(error) });
      },
    };
  };
  const collect = () => {
    for (const flush of flushes) flush();
  };
  return { follow, collect };
}

function createInstruments(registry: Registry) {
  const registers = [registry];
  const counter = (name: string, help: string, ...labels: string[]) =>
    new Counter({ name: PREFIX + name, help, labelNames: ['organization', ...labels], registers });
  const histogram = (name: string, buckets: number[], help: string, ...labels: string[]) =>
    new Histogram({ name: PREFIX + name, help, buckets, labelNames: ['organization', ...labels], registers });
  return {
    ended: counter(
      'runs_total',
      'Finished runs of this process, by kind and outcome (locked: another worker held the lease).',
      ...['kind', 'outcome'],
    ),
    rows: counter('rows_total', 'Rows read from the source, by result.', 'result'),
    late: counter(
      'late_rows_total',
      'Inserted rows that are older than the watermark at the start of their run.',
    ),
    superseded: counter(
      'superseded_rows_total',
      'Stored events that were replaced, because the source writes their details differently.',
    ),
    pages: counter('pages_total', 'Pages read and processed.'),
    requests: counter('source_requests_total', 'List requests sent to the source, retries included.'),
    retries: counter(
      'source_retries_total',
      'Retries of requests to the source, for a token too, by reason.',
      'reason',
    ),
    duration: histogram(
      'run_duration_seconds',
      RUN_BUCKETS_S,
      'Duration of successful runs, by kind.',
      'kind',
    ),
    pageWait: histogram(
      'page_wait_duration_seconds',
      PAGE_BUCKETS_S,
      'Time a run waited for its next page, retries included; shorter than the request if the page was prefetched.',
    ),
    lateness: histogram('event_lateness_seconds', LATENESS_BUCKETS_S, 'Age of late events when stored.'),
  };
}

/** Adds the totals of a run to the counters: each call adds the difference since the previous call. */
function createFlush(instruments: Instruments, organization: string) {
  for (const result of RESULTS) instruments.rows.inc({ organization, result }, 0);
  for (const name of TOTALS) instruments[name].inc({ organization }, 0);

  const counted = new WeakMap<RunCounters, RunCounters>();
  const live = new Set<RunCounters>();
  const add = (counters: RunCounters) => {
    const before = counted.get(counters);
    for (const result of RESULTS) {
      instruments.rows.inc({ organization, result }, counters[result] - (before?.[result] ?? 0));
    }
    for (const name of TOTALS) {
      instruments[name].inc({ organization }, counters[name] - (before?.[name] ?? 0));
    }
    for (const [reason, times] of Object.entries(counters.retriesBy ?? {})) {
      instruments.retries.inc({ organization, reason }, times - (before?.retriesBy?.[reason] ?? 0));
    }
    counted.set(counters, structuredClone(counters));
    live.add(counters);
  };
  return {
    add,
    follow: (counters: RunCounters) => void live.add(counters),
    /** Adds what the pages of runs in progress, or of a failed run, did not report. */
    addRest: () => live.forEach(add),
    /** Drops the totals of finished runs; the next page of a run in progress adds its totals again. */
    clear: () => live.clear(),
  };
}
