import { describe, expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import { newCounters } from '../../src/core/store.ts';
import type { RunSummary } from '../../src/runs/run.ts';
import { createHealth, failingReasons, unreadyReasons } from '../../src/status/health.ts';

const summary: RunSummary = {
  runId: '1',
  kind: 'run',
  outcome: 'succeeded',
  counters: newCounters(),
  warnings: [],
  durationMs: 5,
  ledger: null,
  proof: null,
};

function healthOfReadyProcess() {
  const health = createHealth(['acme']);
  health.databaseReady();
  return health;
}

describe('a process is ready', () => {
  test('not before its database is', () => {
    const health = createHealth(['acme']);
    expect(unreadyReasons(health.read())).toEqual(['database: the database has not been reached yet']);
    health.databaseReady();
    expect(unreadyReasons(health.read())).toEqual([]);
  });

  test('no longer when a run failed, until one succeeds', () => {
    const health = healthOfReadyProcess();
    health.of('acme').runStarted('run');
    health.of('acme').runFailed('run', new ExportError('source-away', 'No response.'));
    expect(unreadyReasons(health.read())).toEqual(['last run: No response.']);
    health.of('acme').runStarted('run');
    expect(unreadyReasons(health.read())).toHaveLength(1);
    health.of('acme').runEnded(summary);
    expect(unreadyReasons(health.read())).toEqual([]);
  });

  test.each(['locked', 'interrupted'] as const)('although its run was %s', (code) => {
    const health = healthOfReadyProcess();
    health.of('acme').runFailed('run', new ExportError(code, 'Another worker exports acme.'));
    expect(unreadyReasons(health.read())).toEqual([]);
    expect(health.read().organizations[0]!.lastRun).toMatchObject({ outcome: code });
  });

  test('while one of several organizations fails, until all of them do', () => {
    const health = createHealth(['acme', 'beta', 'new']);
    health.databaseReady();
    const fail = (organization: string) =>
      health.of(organization).runFailed('run', new ExportError('source-away', 'No response.'));
    fail('acme');
    fail('beta');
    expect(unreadyReasons(health.read())).toEqual([]);
    const both = ['acme: last run: No response.', 'beta: last run: No response.'];
    expect(failingReasons(health.read())).toEqual(both);
    fail('new');
    expect(unreadyReasons(health.read())).toEqual([...both, 'new: last run: No response.']);
    health.of('beta').runEnded(summary);
    expect(unreadyReasons(health.read())).toEqual([]);
  });

  test('no longer when its database went away, and shows since when', () => {
    let now = new Date(0);
    const health = createHealth(['acme'], () => now);
    health.databaseReady();
    now = new Date(1_000);
    health.databaseAway(new ExportError('database-away', 'Refused.'));
    now = new Date(2_000);
    health.databaseAway(new ExportError('database-away', 'Refused again.'));
    const since = new Date(1_000);
    expect(health.read().database).toEqual({ isReady: false, since, reason: 'Refused again.' });
  });
});

test('the run in progress is shown from its start to its end', () => {
  const health = createHealth(['acme']);
  health.of('acme').runStarted('recheck');
  expect(health.read().organizations[0]!.running?.kind).toBe('recheck');
  health.of('acme').runFailed('recheck', new Error('x'));
  expect(health.read().organizations[0]!.running).toBeNull();
});

test('an error that is not the program’s own is not quoted, and no message shows a password', () => {
  const health = createHealth(['acme']);
  health.of('acme').runFailed('run', new TypeError('row of Alice is undefined'));
  expect(JSON.stringify(health.read())).not.toContain('Alice');
  health.databaseAway(new ExportError('database', 'no answer from postgres://u:hunter22@db/x'));
  expect(JSON.stringify(health.read())).not.toContain('hunter22');
});

test('changing a copy does not change the health', () => {
  const health = healthOfReadyProcess();
  health.read().database.isReady = false;
  expect(health.read().database.isReady).toBe(true);
});
