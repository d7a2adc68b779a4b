import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import type { ChunkProgress } from '../../src/core/export.ts';
import { newCounters, type RunCounters } from '../../src/core/store.ts';
import { ticksOfDate } from '../../src/core/ticks.ts';
import { createMetrics, type Metrics } from '../../src/status/metrics.ts';
import { build } from '../../src/version.ts';
import { commitResultOf } from '../support/batch.ts';
import { hasPromtool, promtool } from '../support/promtool.ts';
import { completeness, minutesAgo, NOW, organizationStatus, statusReport, verification } from './support.ts';

const OWN = 'uipath_audit_export_';
const SETTINGS = { recheck: { windowMs: 172_800_000 } };

const NO_POOL = { totalCount: 0, idleCount: 0, waitingCount: 0 };

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

function page(counters: RunCounters, given: Partial<ChunkProgress> = {}): ChunkProgress {
  return {
    done: 0,
    total: 0,
    taken: 0,
    frontier: 0n,
    counters,
    result: commitResultOf(),
    waitMs: 40,
    ...given,
  };
}

describe('counters', () => {
  test('follow a run from page to page and count nothing twice', async () => {
    const metrics = createMetrics();
    const acme = metrics.follow('acme', SETTINGS);
    const counters = newCounters();
    const retriesBy = { 'HTTP 429': 1 };
    Object.assign(counters, {
      pages: 1,
      requests: 3,
      retries: 1,
      retriesBy,
      inserted: 5,
      late: 2,
      superseded: 4,
    });
    acme.observeChunk(page(counters));
    Object.assign(counters, { pages: 2, requests: 4, inserted: 8, updated: 1, unchanged: 7, rejected: 2 });
    Object.assign(retriesBy, { 'HTTP 429': 3, 'time-out': 1 });
    acme.observeChunk(page(counters));
    counters.requests = 5;
    acme.observeRun({
      ...{ runId: '1', kind: 'run', outcome: 'succeeded', warnings: [] },
      ...{ counters, durationMs: 2_500, ledger: null, proof: null },
    });
    expect(await scrape(metrics)).toMatchObject({
      'pages_total{organization="acme"}': 2,
      'source_requests_total{organization="acme"}': 5,
      'source_retries_total{organization="acme",reason="HTTP 429"}': 3,
      'source_retries_total{organization="acme",reason="time-out"}': 1,
      'late_rows_total{organization="acme"}': 2,
      'superseded_rows_total{organization="acme"}': 4,
      'rows_total{organization="acme",result="inserted"}': 8,
      'rows_total{organization="acme",result="updated"}': 1,
      'rows_total{organization="acme",result="unchanged"}': 7,
      'rows_total{organization="acme",result="rejected"}': 2,
      'runs_total{organization="acme",kind="run",outcome="succeeded"}': 1,
      'run_duration_seconds_sum{organization="acme",kind="run"}': 2.5,
      'page_wait_duration_seconds_count{organization="acme"}': 2,
      'page_wait_duration_seconds_sum{organization="acme"}': 0.08,
    });
  });

  test('count what a run that failed did after its last page, and the next run from zero', async () => {
    const metrics = createMetrics();
    const acme = metrics.follow('acme', SETTINGS);
    const first = { ...newCounters(), requests: 2 };
    acme.observeChunk(page(first));
    Object.assign(first, { requests: 10, retries: 7, retriesBy: { 'network fault': 7 } });
    acme.observeFailure('run', new ExportError('source-away', 'gone'));
    acme.observeChunk(page({ ...newCounters(), requests: 1, retriesBy: { 'network fault': 2 } }));
    expect(await scrape(metrics)).toMatchObject({
      'source_requests_total{organization="acme"}': 11,
      'source_retries_total{organization="acme",reason="network fault"}': 9,
      'runs_total{organization="acme",kind="run",outcome="failed"}': 1,
    });
  });

  test('distinguish a standby from a failure, and start at 0', async () => {
    const metrics = createMetrics();
    metrics.follow('acme', SETTINGS).observeFailure('recheck', new ExportError('locked', 'busy'));
    expect(await scrape(metrics)).toMatchObject({
      'runs_total{organization="acme",kind="recheck",outcome="locked"}': 1,
      'runs_total{organization="acme",kind="recheck",outcome="failed"}': 0,
      'runs_total{organization="acme",kind="run",outcome="failed"}': 0,
    });
  });

  test('name the log only of an organization that has several', async () => {
    const metrics = createMetrics();
    const organizations = [
      organizationStatus({ stored: 1 }),
      organizationStatus({ log: 'tenant:A', stored: 2 }),
      organizationStatus({ organization: 'globex', stored: 3 }),
    ];
    metrics.observeStatus(statusReport({ organizations }));
    expect(await scrape(metrics)).toMatchObject({
      'stored_events{organization="acme",log="classic"}': 1,
      'stored_events{organization="acme",log="tenant:A"}': 2,
      'stored_events{organization="globex"}': 3,
    });
  });

  test('keep two organizations apart', async () => {
    const metrics = createMetrics();
    const acme = metrics.follow('acme', SETTINGS);
    metrics.follow('globex', {}).observeChunk(page({ ...newCounters(), pages: 9 }));
    acme.observeChunk(page({ ...newCounters(), pages: 4 }));
    expect(await scrape(metrics)).toMatchObject({
      'pages_total{organization="acme"}': 4,
      'pages_total{organization="globex"}': 9,
      'recheck_window_seconds{organization="acme"}': 172_800,
      'recheck_window_seconds{organization="globex"}': 0,
    });
  });
});

describe('lateness', () => {
  const lateTicks = [ticksOfDate(minutesAgo(2)), ticksOfDate(minutesAgo(90))];
  const result = commitResultOf({ inserted: 2, lateTicks });

  test('is the age of a late event when it was stored, in seconds', async () => {
    const metrics = createMetrics({ now: () => NOW });
    metrics.follow('acme', SETTINGS).observeChunk(page(newCounters(), { result }));
    expect(await scrape(metrics)).toMatchObject({
      'event_lateness_seconds_sum{organization="acme"}': 5_520,
      'event_lateness_seconds_bucket{le="60",organization="acme"}': 0,
      'event_lateness_seconds_bucket{le="300",organization="acme"}': 1,
      'event_lateness_seconds_bucket{le="3600",organization="acme"}': 1,
      'event_lateness_seconds_bucket{le="7200",organization="acme"}': 2,
    });
  });
});

test('the pool is counted by state at each scrape', async () => {
  const pool = { totalCount: 3, idleCount: 1, waitingCount: 2 };
  const metrics = createMetrics({ pool });
  expect(await scrape(metrics)).toMatchObject({
    'pool_connections{state="idle"}': 1,
    'pool_connections{state="in use"}': 2,
    pool_waiting: 2,
  });
  Object.assign(pool, { totalCount: 4, idleCount: 4, waitingCount: 0 });
  expect(await scrape(metrics)).toMatchObject({ 'pool_connections{state="in use"}': 0, pool_waiting: 0 });
});

describe('gauges', () => {
  test('show the status, by organization', async () => {
    const metrics = createMetrics();
    const gap = { from: minutesAgo(900), to: minutesAgo(800), noticedAt: minutesAgo(30), runId: '7' };
    const acme = organizationStatus({
      ...{ sourceTotal: 5_100, rejected: 4, lastRejectedAt: minutesAgo(3) },
      ...{ gapCount: 2, gaps: [{ ...gap, noticedAt: minutesAgo(60) }, gap] },
    });
    metrics.observeStatus(
      statusReport({ organizations: [acme], migrations: { applied: [], pending: ['a', 'b'] } }),
    );
    expect(await scrape(metrics)).toMatchObject({
      'newest_event_timestamp_seconds{organization="acme"}': minutesAgo(10).getTime() / 1000,
      'last_success_timestamp_seconds{organization="acme"}': minutesAgo(5).getTime() / 1000,
      'watermark_age_seconds{organization="acme"}': 600,
      'lag_seconds{organization="acme"}': 300,
      'last_gap_timestamp_seconds{organization="acme"}': minutesAgo(30).getTime() / 1000,
      'last_rejected_timestamp_seconds{organization="acme"}': minutesAgo(3).getTime() / 1000,
      'source_events{organization="acme"}': 5_100,
      'stored_events{organization="acme"}': 5_000,
      'rejected_rows{organization="acme"}': 4,
      'gaps{organization="acme"}': 2,
      pending_migrations: 2,
      database_up: 1,
    });
  });

  test.each([
    ['complete', { provenAt: minutesAgo(5) }, 'complete', 0],
    ['gap', { provenAt: minutesAgo(5) }, 'gap', 0],
    ['complete but for 12', { missing: 12 }, 'complete but for N', 12],
    ['complete but for 3', { missing: -3 }, 'complete but for N', -3],
    ['not proven', { missing: 12 }, 'not proven', undefined],
    ['source changed', { missing: 12 }, 'source changed', undefined],
    ['a state of a later version', {}, 'not proven', undefined],
  ])('show the state %s %j as one series of several', async (state, given, label, missing) => {
    const metrics = createMetrics();
    const counted = completeness({ state, provenAt: null, gone: 4, suspected: 2, ...given });
    metrics.observeStatus(statusReport({ organizations: [organizationStatus({ completeness: counted })] }));
    const samples = await scrape(metrics);
    const states = ['complete', 'not proven', 'complete but for N', 'source changed', 'gap'];
    expect(states.map((name) => samples[`completeness{organization="acme",state="${name}"}`])).toEqual(
      states.map((name) => Number(name === label)),
    );
    expect(samples['missing_events{organization="acme"}']).toBe(missing);
    expect(samples['proven_timestamp_seconds{organization="acme"}']).toBe(
      counted.provenAt === null ? undefined : counted.provenAt.getTime() / 1000,
    );
    expect(samples).toMatchObject({
      'gone_events{organization="acme"}': 4,
      'suspected_events{organization="acme"}': 2,
    });
    expect(samples).not.toHaveProperty('last_gone_timestamp_seconds{organization="acme"}');
  });

  test('show the last verify without differences, and every kind of difference', async () => {
    const metrics = createMetrics();
    const found = verification({ lastCleanAt: minutesAgo(90), differences: { missing: 2, state: 1 } });
    metrics.observeStatus(statusReport({ organizations: [organizationStatus({ verification: found })] }));
    const samples = await scrape(metrics);
    expect(samples['verify_last_success_timestamp_seconds{organization="acme"}']).toBe(
      minutesAgo(90).getTime() / 1000,
    );
    const kinds = ['missing', 'changed', 'edited', 'deleted', 'inserted', 'broken', 'state'];
    expect(kinds.map((kind) => samples[`verify_differences{organization="acme",kind="${kind}"}`])).toEqual([
      ...[2, 0, 0, 0, 0, 0, 1],
    ]);
    const never = verification({ last: null, lastCleanAt: null });
    metrics.observeStatus(statusReport({ organizations: [organizationStatus({ verification: never })] }));
    const names = Object.keys(await scrape(metrics));
    expect(names.filter((name) => name.startsWith('verify_'))).toEqual([]);
  });

  test('forget the states of an organization that is gone', async () => {
    const metrics = createMetrics();
    metrics.observeStatus(statusReport());
    metrics.observeStatus(
      statusReport({ organizations: [organizationStatus({ organization: 'globex', log: 'tenant:A' })] }),
    );
    const names = Object.keys(await scrape(metrics)).filter((name) => name.startsWith('completeness'));
    expect(names).toHaveLength(5);
    expect(names[0]).toBe('completeness{organization="globex",state="complete"}');
  });

  test('keep their last values while the database is away', async () => {
    const metrics = createMetrics();
    metrics.observeStatus(statusReport());
    metrics.observeDatabaseAway();
    expect(await scrape(metrics)).toMatchObject({
      database_up: 0,
      'stored_events{organization="acme"}': 5_000,
    });
  });

  test('leave out unknown values, and organizations that are gone', async () => {
    const metrics = createMetrics();
    metrics.observeStatus(statusReport());
    const globex = organizationStatus({ organization: 'globex', newestEventAt: null, sourceTotal: null });
    metrics.observeStatus(statusReport({ organizations: [globex] }));
    const names = Object.keys(await scrape(metrics));
    expect(names.filter((name) => name.includes('acme'))).toEqual([]);
    expect(names).toContain('stored_events{organization="globex"}');
    expect(names).not.toContain('newest_event_timestamp_seconds{organization="globex"}');
    expect(names).not.toContain('source_events{organization="globex"}');
    expect(names).not.toContain('last_gap_timestamp_seconds{organization="globex"}');
  });
});

test('two registries are independent, and both have the process defaults', async () => {
  const [one, other] = [createMetrics(), createMetrics()];
  one.follow('acme', SETTINGS).observeFailure('run', new Error('x'));
  expect(Object.keys(await scrape(other)).filter((name) => name.startsWith('runs_total'))).toEqual([]);
  expect((await other.render()).text).toMatch(/^process_resident_memory_bytes \d+/m);
});

test('every own metric has a help text and a name by the convention of its type', async () => {
  const { text } = await createMetrics({ pool: NO_POOL }).render();
  const types = [...text.matchAll(/^# TYPE uipath_audit_export_(\S+) (\S+)$/gm)];
  expect(types.length).toBeGreaterThan(20);
  for (const [, name, type] of types) {
    expect(text).toMatch(new RegExp(`^# HELP ${OWN}${name} \\S.*\\.$`, 'm'));
    if (type === 'counter') expect(name).toMatch(/_total$/);
    if (type === 'histogram') expect(name).toMatch(/_seconds$/);
    if (type === 'gauge') expect(name).not.toMatch(/_total$/);
  }
});

test('docs/metrics.md lists every own metric with its type, labels and help, and no other', async () => {
  const metrics = createMetrics({ pool: NO_POOL, runbookUrl: 'https://git.example.org' });
  const gap = { from: minutesAgo(9), to: minutesAgo(8), noticedAt: minutesAgo(5), runId: '7' };
  const full = organizationStatus({
    ...{ gapCount: 1, gaps: [gap], lastRejectedAt: NOW },
    completeness: completeness({ gone: 1, lastGoneAt: NOW }),
  });
  metrics.observeStatus(statusReport({ organizations: [full] }));
  const acme = metrics.follow('acme', SETTINGS);
  const counters = { ...newCounters(), retriesBy: { 'HTTP 429': 1 } };
  const result = commitResultOf({ inserted: 1, lateTicks: [ticksOfDate(NOW)] });
  acme.observeChunk(page(counters, { result }));
  const ended = { runId: '1', kind: 'run', outcome: 'succeeded', ledger: null, proof: null } as const;
  acme.observeRun({ ...ended, warnings: [], counters, durationMs: 1 });
  const { text } = await metrics.render();
  const found = [...text.matchAll(/^# HELP uipath_audit_export_(\S+) (.+)\n# TYPE \S+ (\S+)$/gm)];
  const document = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const rows = document.split('\n').filter((line) => line.startsWith(`| \`${OWN}`));
  const written = rows.map((row) => {
    const [, name, type, , help] = row.split('|').map((cell) => cell.trim().replaceAll('`', ''));
    return [name!.slice(OWN.length), type, help];
  });
  expect(written.sort()).toEqual(found.map(([, name, help, type]) => [name, type, help]).sort());
  for (const row of rows) {
    const [, name, , labels] = row.split('|').map((cell) => cell.trim().replaceAll('`', ''));
    const sample = text.split('\n').find((line) => line.startsWith(name!)) ?? '';
    const given = [...sample.matchAll(/([a-z_]+)="/g)].map(([, label]) => label).filter((l) => l !== 'le');
    expect([name, labels!.split(', ').sort().join()]).toEqual([name, given.sort().join()]);
  }
});

(hasPromtool ? test : test.skip)('promtool accepts all of them', async () => {
  const metrics = createMetrics({ pool: NO_POOL });
  metrics.observeStatus(statusReport());
  metrics.follow('acme', SETTINGS).observeChunk(page(newCounters()));
  const { text } = await metrics.render();
  expect(promtool(['check', 'metrics'], text)).toEqual({ status: 0, said: '' });
});

test('build_info names version and commit', async () => {
  expect(await scrape(createMetrics())).toMatchObject({
    [`build_info{version="${build.version}",commit="${build.commit}"}`]: 1,
  });
});
