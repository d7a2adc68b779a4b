import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { StatusReport } from '../postgres/read/status.ts';
import { build } from '../version.ts';
import { createStatusGauges } from './gauges.ts';
import { createRunMetrics, type RunMetrics } from './run-metrics.ts';

const PREFIX = 'uipath_audit_export_';

/** Gauges of prom-client whose names end like counters; promtool rejects them. The gauges by type, without `_total`, remain. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/** The metrics that docs/metrics.md lists. Each instance has its own registry, so that one process can have several. */
export interface Metrics {
  /** Returns the counters of an organization's runs. Call it once per organization. */
  follow(organization: string, settings: RunSettings): RunMetrics;
  /** Sets the gauges of the database; organizations that are not in the report disappear. */
  observeStatus(report: StatusReport): void;
  /** The status could not be read: the gauges keep their last values. */
  observeDatabaseAway(): void;
  render(): Promise<{ contentType: string; text: string }>;
}

interface RunSettings {
  recheck?: { windowMs: number } | undefined;
}

/** Connections of a pool, and queries that wait for one. */
interface PoolCounts {
  totalCount: number;
  idleCount: number;
  waitingCount: number;
}

export function createMetrics({
  now = () => new Date(),
  pool,
  droppedLogLines = () => 0,
  runbookUrl,
}: {
  now?: () => Date;
  pool?: PoolCounts;
  droppedLogLines?: () => number;
  runbookUrl?: string | undefined;
} = {}): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const settings = createSettingGauges(registry);
  const runs = createRunMetrics(registry, now);
  const status = createStatusGauges(registry);
  addBuildInfo(registry);
  addRunbookInfo(registry, runbookUrl);
  if (pool) addPoolGauges(registry, pool);
  addLogCounter(registry, droppedLogLines);
  return {
    follow(organization, { recheck }) {
      settings.recheckWindow.set({ organization }, (recheck?.windowMs ?? 0) / 1000);
      return runs.follow(organization);
    },
    observeStatus: status.set,
    observeDatabaseAway: status.setAway,
    async render() {
      runs.collect();
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}

function createSettingGauges(registry: Registry) {
  const setting = (name: string, help: string) =>
    new Gauge({ name: PREFIX + name, help, labelNames: ['organization'], registers: [registry] });
  return {
    recheckWindow: setting(
      'recheck_window_seconds',
      'EXPORT_RECHECK_WINDOW: how far back the recheck reads; 0 without a recheck.',
    ),
  };
}

function addLogCounter(registry: Registry, droppedLogLines: () => number): void {
  new Counter({
    name: `${PREFIX}log_lines_dropped_total`,
    help: 'Log lines that could not be written to standard error.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(droppedLogLines());
    },
  });
}

function addBuildInfo(registry: Registry): void {
  new Gauge({
    name: `${PREFIX}build_info`,
    help: 'Always 1; version and commit of the program.',
    labelNames: ['version', 'commit'],
    registers: [registry],
  }).set(build, 1);
}

function addRunbookInfo(registry: Registry, url: string | undefined): void {
  const gauge = new Gauge({
    name: `${PREFIX}runbook_info`,
    help: 'Always 1; STATUS_RUNBOOK_URL, for the links of the alerts. Left out if it is not set.',
    labelNames: ['url'],
    registers: [registry],
  });
  if (url !== undefined) gauge.set({ url }, 1);
}

function addPoolGauges(registry: Registry, pool: PoolCounts): void {
  new Gauge({
    name: `${PREFIX}pool_connections`,
    help: 'Connections of this process to the database, by state (idle or in use).',
    labelNames: ['state'],
    registers: [registry],
    collect() {
      this.set({ state: 'idle' }, pool.idleCount);
      this.set({ state: 'in use' }, pool.totalCount - pool.idleCount);
    },
  });
  new Gauge({
    name: `${PREFIX}pool_waiting`,
    help: 'Database queries that wait for a connection.',
    registers: [registry],
    collect() {
      this.set(pool.waitingCount);
    },
  });
}
