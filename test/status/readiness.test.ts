/** Each state of a process, and whether it is ready in it. */
import { describe, expect, test } from '@jest/globals';
import { ExportError } from '../../src/core/errors.ts';
import { newCounters } from '../../src/core/store.ts';
import { createHealth, type Health, type RunHealth } from '../../src/status/health.ts';
import { assessReadiness } from '../../src/status/readiness.ts';

const AWAY = new ExportError('source-away', 'No response.');
const LOCKED = new ExportError('locked', 'Another worker exports acme.');

/** A process with these organizations, `seconds` after it was started. */
function processOf(...organizations: string[]) {
  let seconds = 0;
  const clock = () => new Date(seconds * 1000);
  const health = createHealth(organizations, clock);
  return {
    health,
    at(time: number) {
      seconds = time;
    },
    read: () => assessReadiness(health.read(), clock()),
  };
}

const READY = { isReady: true, reasons: [], failing: [] };
const notReady = (...reasons: string[]) => ({ isReady: false, reasons, failing: [] });

function request(run: RunHealth) {
  run.runRequested();
}

function start(run: RunHealth) {
  run.runRequested();
  run.runStarted('run');
  const counters = newCounters();
  run.runReads(counters);
  return counters;
}

function succeed(run: RunHealth) {
  start(run);
  run.runEnded({ kind: 'run', outcome: 'succeeded' });
}

function fail(run: RunHealth, error: Error = AWAY) {
  start(run);
  run.runFailed('run', error, { attempt: 2, at: new Date(30_000) });
}

const LATE = 'first run: no page was read within 15 s';

/** What happens to the only organization, how many seconds pass, and the reason why the process is not ready. */
const CASES: [string, (run: RunHealth) => void, number, string?][] = [
  ['no run is requested yet', () => {}, 60],
  ['the first run waits for a slot', request, 15],
  [
    'the first run has waited for a slot for long',
    request,
    16,
    'first run: it has waited for a slot for more than 15 s',
  ],
  ['the first run has started', start, 15],
  ['the first run has no response for long, as in a process that was suspended', start, 16, LATE],
  [
    'a request of the first run has failed and is repeated',
    (run) => Object.assign(start(run).retriesBy!, { 'HTTP 503': 2, 'network fault': 1 }),
    0,
    'first run: no usable response yet after 3 attempts (HTTP 503, network fault)',
  ],
  ['the first run reads pages, for hours', (run) => Object.assign(start(run), { pages: 1 }), 9_999],
  [
    'the first run has read a page, and repeats a request',
    (run) => Object.assign(start(run), { pages: 1, retriesBy: { 'HTTP 503': 1 } }),
    9_999,
  ],
  ['the last run succeeded', succeed, 9_999],
  ['the first run failed', fail, 0, 'last run: No response.'],
  [
    'the first run failed, and is repeated with pages',
    (run) => {
      fail(run);
      Object.assign(start(run), { pages: 9 });
    },
    0,
    'last run: No response.',
  ],
  [
    'a run failed after others had succeeded',
    (run) => {
      succeed(run);
      fail(run);
    },
    0,
    'last run: No response.',
  ],
  [
    'a run failed and the next one succeeded',
    (run) => {
      fail(run);
      succeed(run);
    },
    0,
  ],
  [
    'the next run is in progress after a success, without a page yet',
    (run) => {
      succeed(run);
      start(run);
    },
    9_999,
  ],
  [
    'the recheck failed',
    (run) => {
      succeed(run);
      run.runFailed('recheck', AWAY);
    },
    0,
    'last recheck: No response.',
  ],
  ['it is on standby', (run) => fail(run, LOCKED), 9_999],
  ['another process has done the run', (run) => fail(run, new ExportError('superseded', 'Done.')), 9_999],
  [
    'a run was interrupted for another organization',
    (run) => fail(run, new ExportError('interrupted', 'x')),
    9_999,
  ],
];

/** Jest passes a callback for a parameter that a row lacks. */
const STATES = CASES.map(
  ([state, happen, seconds, reason = null]) => [state, happen, seconds, reason] as const,
);

describe('a process with one organization', () => {
  test.each(STATES)('%s', (_state, happen, seconds, reason) => {
    const { health, at, read } = processOf('acme');
    health.databaseReady();
    happen(health.of('acme'));
    at(seconds);
    expect(read()).toEqual(reason === null ? READY : notReady(reason));
  });

  test.each(STATES)('without its database is not ready: %s', (_state, happen, seconds, reason) => {
    const { health, at, read } = processOf('acme');
    happen(health.of('acme'));
    at(seconds);
    const reached = 'database: the database has not been reached yet';
    expect(read()).toEqual(notReady(reached, ...(reason === null ? [] : [reason])));
    health.databaseReady();
    health.databaseAway(new ExportError('database-away', 'Refused.'));
    expect(read().reasons[0]).toBe('database: Refused.');
  });

  test.each(STATES)('that was asked to stop is not ready: %s', (_state, happen) => {
    const { health, read } = processOf('acme');
    health.databaseReady();
    happen(health.of('acme'));
    health.stopping();
    expect(read()).toMatchObject({ isReady: false });
    expect(read().reasons[0]).toBe('the process is stopping');
  });
});

describe('a process with several organizations', () => {
  const all = (health: Health, happen: (run: RunHealth) => void) => {
    for (const organization of ['acme', 'beta']) happen(health.of(organization));
  };

  test.each(STATES)(
    'is ready while one of them is in order, and names the other: %s',
    (_, happen, seconds, reason) => {
      const { health, at, read } = processOf('acme', 'beta');
      health.databaseReady();
      succeed(health.of('acme'));
      happen(health.of('beta'));
      at(seconds);
      const failing = reason === null ? [] : [`beta: ${reason}`];
      expect(read()).toEqual({ isReady: true, reasons: [], failing });
    },
  );

  test.each(STATES)('is ready only if one of them is in order: %s', (_, happen, seconds, reason) => {
    const { health, at, read } = processOf('acme', 'beta');
    health.databaseReady();
    all(health, happen);
    at(seconds);
    expect(read()).toEqual(reason === null ? READY : notReady(`acme: ${reason}`, `beta: ${reason}`));
  });
});
