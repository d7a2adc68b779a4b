import { describe, expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import { newCounters, type PageProgress, type RunCounters } from '../../src/core/export.ts';
import { ticksOfDate } from '../../src/core/ticks.ts';
import { createMetrics, type Metrics } from '../../src/status/metrics.ts';
import { minutesAgo, NOW, organizationStatus, statusReport } from './support.ts';

const OWN = 'uipath_audit_export_';

/** The samples of this program's own metrics, by name and labels, and every name with its type. */
async function scrape(metrics: Metrics): Promise<Record<string, number>> {
  const { text } = await metrics.render();
  const samples = text.split('\n').filter((line) => line.startsWith(OWN));
  return Object.fromEntries(
    samples.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(OWN.length, at), Number(line.slice(at + 1))];
    }),
  );
}

function page(counters: RunCounters, given: Partial<PageProgress> = {}): PageProgress {
  return {
    skip: 0,
    rows: 0,
    totalCount: 0,
    taken: 0,
    reached: 0,
    frontier: 0n,
    counters,
    result: { inserted: 0, updated: 0, unchanged: 0, newlyRejected: [], lateTicks: [] },
    requestMs: 40,
    ...given,
  };
}

describe('counters', () => {
  test('follow a run from page to page and count nothing twice', async () => {
    const metrics = createMetrics();
    const counters = newCounters();
    Object.assign(counters, { pages: 1, requests: 3, retries: 1, inserted: 5, late: 2 });
    metrics.observePage(page(counters));
    Object.assign(counters, { pages: 2, requests: 4, inserted: 8, updated: 1, unchanged: 7, rejected: 2 });
    metrics.observePage(page(counters));
    counters.requests = 5;
    metrics.observeRun({
      ...{ runId: '1', kind: 'run', outcome: 'succeeded', warnings: [] },
      ...{ counters, durationMs: 2_500, ledger: null },
    });
    expect(await scrape(metrics)).toMatchObject({
      pages_total: 2,
      source_requests_total: 5,
      source_retries_total: 1,
      late_rows_total: 2,
      'rows_total{result="inserted"}': 8,
      'rows_total{result="updated"}': 1,
      'rows_total{result="unchanged"}': 7,
      'rows_total{result="rejected"}': 2,
      'runs_total{kind="run",outcome="succeeded"}': 1,
      'run_duration_seconds_sum{kind="run"}': 2.5,
      page_wait_duration_seconds_count: 2,
      page_wait_duration_seconds_sum: 0.08,
    });
  });

  test('count what a run that failed did after its last page, and the next run from zero', async () => {
    const metrics = createMetrics();
    const first = { ...newCounters(), requests: 2 };
    metrics.observePage(page(first));
    Object.assign(first, { requests: 10, retries: 7 });
    metrics.observeFailure('run', new ExportError('source-away', 'gone'));
    metrics.observePage(page({ ...newCounters(), requests: 1 }));
    expect(await scrape(metrics)).toMatchObject({
      source_requests_total: 11,
      source_retries_total: 7,
      'runs_total{kind="run",outcome="failed"}': 1,
    });
  });

  test('tell a standby from a failure', async () => {
    const metrics = createMetrics();
    metrics.observeFailure('recheck', new ExportError('locked', 'busy'));
    const samples = await scrape(metrics);
    expect(samples['runs_total{kind="recheck",outcome="locked"}']).toBe(1);
    expect(samples['runs_total{kind="recheck",outcome="failed"}']).toBeUndefined();
  });
});

test('lateness is the age of a late event when it was stored, in seconds', async () => {
  const metrics = createMetrics(() => NOW);
  const result = { inserted: 2, updated: 0, unchanged: 0, newlyRejected: [] };
  const lateTicks = [ticksOfDate(minutesAgo(2)), ticksOfDate(minutesAgo(90))];
  metrics.observePage(page(newCounters(), { result: { ...result, lateTicks } }));
  expect(await scrape(metrics)).toMatchObject({
    event_lateness_seconds_sum: 5_520,
    'event_lateness_seconds_bucket{le="60"}': 0,
    'event_lateness_seconds_bucket{le="300"}': 1,
    'event_lateness_seconds_bucket{le="3600"}': 1,
    'event_lateness_seconds_bucket{le="7200"}': 2,
  });
});

describe('gauges', () => {
  test('show the status, by organization', async () => {
    const metrics = createMetrics();
    const acme = organizationStatus({ sourceTotal: 5_100, rejected: 4, gapCount: 2 });
    metrics.observeStatus(
      statusReport({ organizations: [acme], migrations: { applied: [], pending: ['a', 'b'] } }),
    );
    expect(await scrape(metrics)).toMatchObject({
      'newest_event_timestamp_seconds{organization="acme"}': minutesAgo(10).getTime() / 1000,
      'last_success_timestamp_seconds{organization="acme"}': minutesAgo(5).getTime() / 1000,
      'source_events{organization="acme"}': 5_100,
      'stored_events{organization="acme"}': 5_000,
      'rejected_rows{organization="acme"}': 4,
      'gaps{organization="acme"}': 2,
      pending_migrations: 2,
      database_up: 1,
    });
  });

  test('keep what was last known while the database is away', async () => {
    const metrics = createMetrics();
    metrics.observeStatus(statusReport());
    metrics.observeDatabaseAway();
    expect(await scrape(metrics)).toMatchObject({
      database_up: 0,
      'stored_events{organization="acme"}': 5_000,
    });
  });

  test('leave out what is not known, and organizations that are gone', async () => {
    const metrics = createMetrics();
    metrics.observeStatus(statusReport());
    const globex = organizationStatus({ organization: 'globex', newestEventAt: null, sourceTotal: null });
    metrics.observeStatus(statusReport({ organizations: [globex] }));
    const names = Object.keys(await scrape(metrics));
    expect(names.filter((name) => name.includes('acme'))).toEqual([]);
    expect(names).toContain('stored_events{organization="globex"}');
    expect(names).not.toContain('newest_event_timestamp_seconds{organization="globex"}');
    expect(names).not.toContain('source_events{organization="globex"}');
  });
});

test('two registries do not know of each other, and both have the process defaults', async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.observeFailure('run', new Error('x'));
  expect(Object.keys(await scrape(other)).filter((name) => name.startsWith('runs_total'))).toEqual([]);
  expect((await other.render()).text).toMatch(/^process_resident_memory_bytes \d+/m);
});

test('every own metric has a help text and a name by the convention of its type', async () => {
  const { text } = await createMetrics().render();
  const types = [...text.matchAll(/^# TYPE uipath_audit_export_(\S+) (\S+)$/gm)];
  expect(types.length).toBeGreaterThan(10);
  for (const [, name, type] of types) {
    expect(text).toMatch(new RegExp(`^# HELP ${OWN}${name} \\S.*\\.$`, 'm'));
    if (type === 'counter') expect(name).toMatch(/_total$/);
    if (type === 'histogram') expect(name).toMatch(/_seconds$/);
    if (type === 'gauge') expect(name).not.toMatch(/_total$/);
  }
});
