import { describe, expect, test } from '@jest/globals';
import type { OrganizationStatus, RunRecord } from '../../src/postgres/read/status.ts';
import { assessDatabase, assessOrganization } from '../../src/status/verdict.ts';
import { minutesAgo, NOW, organizationStatus, runRecord, statusReport } from '../status/support.ts';

const failed = runRecord({ runId: '8', startedAt: minutesAgo(2), outcome: 'failed', error: 'HTTP 503' });
const running = runRecord({ runId: '9', startedAt: minutesAgo(1), endedAt: null, outcome: null });
const gap = { from: minutesAgo(300), to: minutesAgo(200), noticedAt: minutesAgo(5), runId: '7' };

function judge(given: Partial<OrganizationStatus>) {
  return assessOrganization(organizationStatus(given), NOW);
}

describe('an organization', () => {
  test('whose last run read everything is complete and current', () => {
    expect(judge({})).toEqual({
      level: 'good',
      headline: 'Complete and current',
      reasons: ['Last complete read: 5 minutes ago.'],
    });
  });

  test('whose last run failed is not current, and says why', () => {
    const { level, headline, reasons } = judge({ runs: [failed, runRecord()] });
    expect([level, headline]).toEqual(['bad', 'Not current: the last run did not succeed']);
    expect(reasons[0]).toBe('Run 8 (run) failed 118 s ago: HTTP 503');
  });

  test('whose last run was interrupted is as current as its last success', () => {
    const interrupted = runRecord({ runId: '8', startedAt: minutesAgo(2), outcome: 'interrupted' });
    expect(judge({ runs: [interrupted, runRecord()] }).level).toBe('good');
  });

  test('whose failure was followed by a success is current again', () => {
    expect(judge({ runs: [runRecord(), failed] }).level).toBe('good');
  });

  test('in its first run is not complete yet, and not bad', () => {
    const first = { runs: [running], lastSuccessAt: null, stored: 10 };
    expect(judge(first)).toEqual({
      level: 'attention',
      headline: 'Not complete: no run has read the source to its end yet',
      reasons: ['A run is in progress on host process 1, started 60 s ago.'],
    });
    expect(judge({ ...first, runs: [failed] }).level).toBe('bad');
  });

  test('with more at the source than stored is not complete, unless a run is just at it', () => {
    const behind = judge({ sourceTotal: 5_010, stored: 5_000, rejected: 3 });
    expect([behind.level, behind.headline]).toEqual(['attention', 'Current, but not complete']);
    expect(behind.reasons[1]).toContain('at least 7 events more than are stored');
    expect(judge({ sourceTotal: 5_010, runs: [running, runRecord()] }).level).toBe('good');
    expect(judge({ sourceTotal: 4_000 }).level).toBe('good');
  });

  test('with a gap is not complete', () => {
    const { level, reasons } = judge({ gapCount: 2, gaps: [gap] });
    expect(level).toBe('attention');
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
