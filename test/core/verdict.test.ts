import { describe, expect, test } from '@jest/globals';
import type { OrganizationStatus, RunRecord } from '../../src/postgres/read/status.ts';
import {
  assessDatabase,
  assessOrganization,
  type NextAttempt,
  nextAttemptOf,
} from '../../src/status/verdict.ts';
import {
  completeness,
  minutesAgo,
  NOW,
  organizationStatus,
  runRecord,
  statusReport,
} from '../status/support.ts';

const failed = runRecord({ runId: '8', startedAt: minutesAgo(2), outcome: 'failed', error: 'HTTP 503' });
const running = runRecord({ runId: '9', startedAt: minutesAgo(1), endedAt: null, outcome: null });
const gap = { from: minutesAgo(300), to: minutesAgo(200), noticedAt: minutesAgo(5), runId: '7' };

const NEVER_COUNTED = completeness({
  ...{ state: 'not proven', reason: 'no run has counted the events yet', provenAt: null, assessedAt: null },
});

function judge(given: Partial<OrganizationStatus>) {
  return assessOrganization(organizationStatus(given), NOW);
}

describe('an organization', () => {
  test('whose last count agreed is complete and current', () => {
    expect(judge({})).toEqual({
      level: 'good',
      headline: 'Complete and current',
      cause: 'Complete and current',
      reasons: ['Every event that the source showed 5 minutes ago is stored.'],
    });
  });

  test('whose last run failed is not current, and says why', () => {
    const { level, headline, reasons } = judge({ runs: [failed, runRecord()] });
    expect([level, headline]).toEqual(['bad', 'Not current: the last run did not succeed']);
    expect(reasons).toEqual([
      'Run 8 (run) failed 118 s ago: HTTP 503',
      'Every event that the source showed 5 minutes ago is stored.',
    ]);
  });

  test('whose failed run is tried again is retrying until it is past its target', () => {
    const next = { attempt: 3, at: new Date(NOW.getTime() + 28_000) };
    const given = { runs: [failed, runRecord()] };
    const show = (more: Partial<OrganizationStatus>, next?: NextAttempt) => {
      const { level, headline, reasons, failure } = assessOrganization(
        organizationStatus({ ...given, ...more }),
        NOW,
        { isScheduled: true, next },
      );
      return [level, headline, reasons[1], failure];
    };
    const failure = { runId: '8', summary: 'Run 8 (run) failed 118 s ago.' };
    const again = 'Retrying: attempt 3 in 28 s (2026-03-01 12:00:28 UTC).';
    expect(show({}, next)).toEqual(['attention', 'Retrying: HTTP 503', again, failure]);
    expect(show({}, { attempt: 3, at: NOW })[2]).toBe('Retrying: attempt 3 now.');
    expect(show({}, { attempt: null, at: next.at })[2]).toBe(
      'Retrying on the schedule, in 28 s (2026-03-01 12:00:28 UTC).',
    );
    // Too few runs to know the schedule: 25 hours.
    expect(show({ lastSuccessAt: minutesAgo(1_499) }, next)[0]).toBe('attention');
    expect(show({ lastSuccessAt: minutesAgo(1_501) }, next)).toEqual([
      ...['bad', 'Not current: HTTP 503', again, failure],
    ]);
    const never = 'Not current: no run has read the source to its end yet (HTTP 503)';
    expect(show({ lastSuccessAt: null }, next)).toEqual(['bad', never, again, failure]);
    expect(show({})[0]).toBe('bad');
  });

  test.each([
    [null, undefined, undefined],
    [null, 30, { attempt: null, at: new Date(30) }],
    [{ attempt: 2, at: new Date(20) }, undefined, { attempt: 2, at: new Date(20) }],
    [{ attempt: 2, at: new Date(20) }, 30, { attempt: 2, at: new Date(20) }],
    [{ attempt: 2, at: new Date(20) }, 10, { attempt: 2, at: new Date(10) }],
  ])('with the retry %j and the next run at %d is tried next at the earlier one', (retry, nextRun, next) => {
    expect(nextAttemptOf(retry, nextRun === undefined ? undefined : new Date(nextRun))).toEqual(next);
  });

  test('whose last run was interrupted is as current as its last success', () => {
    const interrupted = runRecord({ runId: '8', startedAt: minutesAgo(2), outcome: 'interrupted' });
    expect(judge({ runs: [interrupted, runRecord()] }).level).toBe('good');
  });

  test('whose failure was followed by a success is current again', () => {
    expect(judge({ runs: [runRecord(), failed] }).level).toBe('good');
  });

  test('in its first run is not proven yet, and not bad', () => {
    const first = { runs: [running], lastSuccessAt: null, stored: 10, completeness: NEVER_COUNTED };
    expect(judge(first)).toEqual({
      level: 'attention',
      headline: 'Not proven: no run has read the source to its end yet',
      cause: 'no run has read the source to its end yet',
      topic: 'UipathAuditExportStale',
      reasons: ['A run is in progress on host process 1, started 60 s ago.'],
    });
    expect(judge({ ...first, runs: [failed] }).level).toBe('bad');
  });

  test('with more at the source than stored is what the last count found: the total of the source is no evidence', () => {
    expect(judge({ sourceTotal: 9_999, stored: 5_000 }).level).toBe('good');
    expect(judge({ sourceTotal: 5_000, completeness: NEVER_COUNTED }).level).toBe('attention');
  });

  test('with a gap says where the newest is', () => {
    const { level, headline, reasons } = judge({
      ...{ gapCount: 2, gaps: [gap], completeness: completeness({ state: 'gap', reason: 'see audit.gaps' }) },
    });
    expect([level, headline]).toEqual(['attention', 'Current, but with a gap']);
    expect(reasons[0]).toBe('Every event that the source showed 5 minutes ago is stored.');
    expect(reasons[1]).toContain('2 gaps');
    expect(reasons[1]).toContain('between 2026-03-01 07:00:00 UTC and 2026-03-01 08:40:00 UTC');
  });

  test('with rejected rows is complete, and says where they are', () => {
    const { level, reasons } = judge({ sourceTotal: 5_001, rejected: 1 });
    expect(level).toBe('good');
    expect(reasons[1]).toContain('audit.rejected_events');
  });

  test.each([
    ['every 5 minutes', 5, 59, 'good'],
    ['every 5 minutes', 5, 61, 'bad'],
    ['once a day', 1_440, 4_300, 'good'],
    ['once a day', 1_440, 4_400, 'bad'],
  ])(
    'that runs %s (%d min) is assessed by that: last success %d minutes ago is %s',
    (_, every, ago, level) => {
      const runs = [0, 1, 2, 3].map((i) => runRecord({ startedAt: minutesAgo(ago + i * every) }));
      const outage = runRecord({ startedAt: minutesAgo(100_000) });
      const given = { runs: [...runs, outage], lastSuccessAt: minutesAgo(ago) };
      expect(judge(given).level).toBe(level);
    },
  );

  test('that ran a few times lately may have a rare schedule, but not rarer than a day', () => {
    const runs = [runRecord({ startedAt: minutesAgo(600) }), runRecord({ startedAt: minutesAgo(601) })];
    expect(judge({ runs, lastSuccessAt: minutesAgo(600) }).level).toBe('good');
    expect(judge({ runs, lastSuccessAt: minutesAgo(1_600) }).level).toBe('bad');
  });

  test('whose worker is known to be up is not overdue, unless a run takes too long', () => {
    const overdue = { lastSuccessAt: minutesAgo(10_000) };
    const scheduled = (runs: RunRecord[]) =>
      assessOrganization(organizationStatus({ ...overdue, runs }), NOW, { isScheduled: true });
    expect(judge(overdue).level).toBe('bad');
    expect(scheduled([runRecord()]).level).toBe('good');
    expect(scheduled([running, runRecord()]).headline).toBe('Not current: the last success was 7 days ago');
  });
});

describe('each state', () => {
  const states = {
    complete: completeness(),
    'not proven': completeness({
      state: 'not proven',
      reason: 'the list is moving.',
      provenAt: minutesAgo(90),
    }),
    'complete but for 3': completeness({
      state: 'complete but for 3',
      missing: 3,
      reason: 'a tie is too large',
    }),
    'source changed': completeness({
      state: 'source changed',
      reason: '400 of 500 events are not at the source',
    }),
    gap: completeness({ state: 'gap', reason: 'see audit.gaps' }),
  };
  const situations: Record<string, Partial<OrganizationStatus>> = {
    current: {},
    running: { runs: [running, runRecord()] },
    failing: { runs: [failed, runRecord()] },
    overdue: { lastSuccessAt: minutesAgo(3_000) },
    never: { lastSuccessAt: null, runs: [failed] },
    first: { lastSuccessAt: null, runs: [running] },
  };

  test.each<[keyof typeof states, string, string, string]>([
    ['complete', 'current', 'good', 'Complete and current'],
    ['complete', 'running', 'good', 'Complete and current'],
    ['complete', 'failing', 'bad', 'Not current: the last run did not succeed'],
    ['complete', 'overdue', 'bad', 'Not current: the last success was 2 days ago'],
    ['complete', 'never', 'bad', 'Not current: no run has read the source to its end yet'],
    ['complete', 'first', 'attention', 'Not current: no run has read the source to its end yet'],
    ['not proven', 'current', 'attention', 'Current, but not proven'],
    ['not proven', 'running', 'attention', 'Current, but not proven'],
    ['not proven', 'failing', 'bad', 'Not current: the last run did not succeed'],
    ['not proven', 'overdue', 'bad', 'Not current: the last success was 2 days ago'],
    ['not proven', 'never', 'bad', 'Not proven: no run has read the source to its end yet'],
    ['not proven', 'first', 'attention', 'Not proven: no run has read the source to its end yet'],
    ['complete but for 3', 'current', 'attention', 'Current, complete but for 3'],
    ['complete but for 3', 'running', 'attention', 'Current, complete but for 3'],
    ['complete but for 3', 'failing', 'bad', 'Not current: the last run did not succeed'],
    ['complete but for 3', 'overdue', 'bad', 'Not current: the last success was 2 days ago'],
    ['source changed', 'current', 'bad', 'Source changed: it does not show what is stored'],
    ['source changed', 'running', 'bad', 'Source changed: it does not show what is stored'],
    ['source changed', 'failing', 'bad', 'Source changed, not current: the last run did not succeed'],
    ['source changed', 'overdue', 'bad', 'Source changed, not current: the last success was 2 days ago'],
    ['gap', 'current', 'attention', 'Current, but with a gap'],
    ['gap', 'failing', 'bad', 'Not current: the last run did not succeed'],
    ['gap', 'overdue', 'bad', 'Not current: the last success was 2 days ago'],
  ])('%s, %s: %s, %s', (state, situation, level, headline) => {
    const verdict = judge({ ...situations[situation], completeness: states[state] });
    expect([verdict.level, verdict.headline]).toEqual([level, headline]);
  });

  const reasonOf = (state: keyof typeof states, given = {}) =>
    judge({ completeness: { ...states[state], ...given } }).reasons[0];

  test('says what was found and what to do', () => {
    expect(reasonOf('not proven')).toBe(
      'Not proven: the list is moving. Each run counts again; if this lasts for a day, see docs/completeness.md. Last proven: 90 minutes ago.',
    );
    expect(reasonOf('complete but for 3')).toBe(
      '3 events at the source are not stored: a tie is too large. Each recheck tries again; `node dist/main.js backfill` reads everything again. Last proven: 5 minutes ago.',
    );
    expect(reasonOf('complete but for 3', { missing: -1, reason: null, provenAt: null })).toBe(
      '1 stored event is not at the source. Each recheck tries again; `node dist/main.js verify` compares all events.',
    );
    expect(reasonOf('source changed')).toBe(
      'Source changed: 400 of 500 events are not at the source. It was reset, restored or replaced; stored events are kept. ' +
        'Check UIPATH_BASE_URL and UIPATH_ORGANIZATION; to accept the change, set EXPORT_ACCEPT_SOURCE to the base URL. Last proven: 5 minutes ago.',
    );
  });

  test('that this version does not know is not proven', () => {
    expect(judge({ completeness: completeness({ state: 'signed' }) }).headline).toBe(
      'Current, but not proven',
    );
    expect(judge({ completeness: completeness({ state: 'complete but for few' }) }).level).toBe('attention');
  });
});

describe('events that are gone at the source', () => {
  const newest = {
    ...{ createdOn: minutesAgo(600), category: 'User', action: 'Delete', userName: 'Ana' },
    ...{ noticedAt: minutesAgo(120), goneAt: minutesAgo(115) },
  };
  const gone = { gone: 5, recentlyGone: 2, lastGoneAt: newest.goneAt };

  test('need attention for as long as they are recent, and say which and what it means', () => {
    const given = { completeness: completeness(gone), goneEvents: [newest] };
    const { level, headline, reasons } = judge(given);
    expect([level, headline]).toEqual(['attention', 'Complete and current: 2 events deleted at the source']);
    expect(reasons[0]).toBe(
      'The source deleted 2 stored events in the last 7 days. The newest, User / Delete of 2026-03-01 02:00:00 UTC, was noticed 2 hours ago. ' +
        'Behind its oldest event, only an administrator of the source deletes single events. The copy keeps them: bi.gone_events lists them.',
    );
    const old = { ...given, completeness: completeness({ ...gone, recentlyGone: 0 }) };
    expect(judge(old)).toEqual(judge({}));
  });

  test('are named in every other state, too, and do not improve it', () => {
    const states = ['not proven', 'complete but for 1', 'source changed', 'gap'];
    for (const state of states) {
      const before = judge({ completeness: completeness({ state }) });
      const after = judge({ completeness: completeness({ state, ...gone }), goneEvents: [newest] });
      expect([after.level, after.headline]).toEqual([before.level, before.headline]);
      expect(after.reasons[0]).toContain('deleted 2 stored events');
    }
  });

  test('are named without their names, where the row is not stored any more', () => {
    const nameless = { ...newest, category: null, action: null };
    const { reasons } = judge({
      completeness: completeness({ ...gone, recentlyGone: 1 }),
      goneEvents: [nameless],
    });
    expect(reasons[0]).toContain(
      'deleted 1 stored event in the last 7 days. The newest, an event of 2026-03-01',
    );
  });

  test('that are only suspected are no alarm', () => {
    expect(judge({ completeness: completeness({ suspected: 3 }) })).toEqual(judge({}));
  });
});

describe('a database', () => {
  test('that was never migrated says that the tables do not exist', () => {
    const report = statusReport({
      migrations: { applied: [], pending: ['0001_a', '0002_b'] },
      organizations: [],
    });
    const verdict = assessDatabase(report);
    expect([verdict?.level, verdict?.headline]).toEqual(['bad', 'The tables do not exist yet']);
    expect(verdict?.reasons[0]).toContain('0001_a, 0002_b');
  });

  test('that lacks the newest migration is of an older version', () => {
    const report = statusReport({ migrations: { applied: ['0001_a'], pending: ['0002_b'] } });
    expect(assessDatabase(report)?.headline).toBe('The tables are from an older version');
  });

  test('without a run has nothing yet; with one, its organizations speak', () => {
    expect(assessDatabase(statusReport({ organizations: [] }))?.headline).toBe(
      'Nothing has been exported yet',
    );
    expect(assessDatabase(statusReport())).toBeUndefined();
  });
});
