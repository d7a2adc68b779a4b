import { expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import { newCounters } from '../../src/core/store.ts';
import { createHealth } from '../../src/status/health.ts';

test('since when the database is away is kept', () => {
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

test('the run in progress is shown from its start to its end', () => {
  const health = createHealth(['acme']);
  health.of('acme').runStarted('recheck');
  const counters = newCounters();
  health.of('acme').runReads(counters);
  Object.assign(counters, { pages: 2, retriesBy: { 'HTTP 503': 1 } });
  expect(health.read().organizations[0]!.running).toMatchObject({
    ...{ kind: 'recheck', pages: 2, retriesBy: { 'HTTP 503': 1 } },
  });
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
  const health = createHealth(['acme']);
  health.databaseReady();
  health.read().database.isReady = false;
  expect(health.read().database.isReady).toBe(true);
});
