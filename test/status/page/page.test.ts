import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { ExportError } from '../../../src/core/errors.ts';
import type { OrganizationStatus } from '../../../src/postgres/read/status.ts';
import { createHealth } from '../../../src/status/health.ts';
import { ceilNicely } from '../../../src/status/page/days.ts';
import { type PageContent, renderPage } from '../../../src/status/page/page.ts';
import { SCRIPT, SCRIPT_SOURCE } from '../../../src/status/page/script.ts';
import { STYLE_SOURCE } from '../../../src/status/page/style.ts';
import {
  activity,
  completeness,
  minutesAgo,
  NOW,
  organizationStatus,
  runRecord,
  statusReport,
} from '../support.ts';

function page(given: Partial<PageContent> = {}): string {
  const health = createHealth(['acme'], () => minutesAgo(600)).read();
  return renderPage({
    health,
    report: statusReport(),
    problem: undefined,
    activity: activity(),
    nextRunAt: undefined,
    now: NOW,
    ...given,
  });
}

function pageOf(given: Partial<OrganizationStatus>): string {
  return page({ report: statusReport({ organizations: [organizationStatus(given)] }) });
}

/** The visible text of the page, in one line. */
function textOf(html: string): string {
  const body = html.slice(html.indexOf('<body>'));
  return body
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
    .replace(/\s+/g, ' ');
}

describe('the page', () => {
  test('shows the headline and the numbers of a complete and current copy', () => {
    const html = page({ nextRunAt: new Date(NOW.getTime() + 180_000) });
    expect(html).toContain('<title>Complete and current – acme – UiPath audit export</title>');
    const text = textOf(html);
    expect(text).toContain(
      'acme Complete and current Every event that the source showed 5 minutes ago is stored.',
    );
    expect(text).toContain(
      'Newest event 10 minutes ago 2026-03-01 11:50:00 UTC Lag 5 minutes last success 2026-03-01 11:55:00 UTC',
    );
    expect(text).toContain('Events stored 5,000 5,000 at the source, by its last response');
    expect(text).toContain('Watermark 2026-03-01T11:50:00.0000001+00:00');
    expect(text).toContain('Next run in 3 minutes 2026-03-01 12:03:00 UTC');
    expect(text).toContain('Up 10 hours');
  });

  test('shows each run with its numbers, and an error once, below the newest run that failed with it', () => {
    const failed = (runId: string) => runRecord({ runId, outcome: 'failed', error: 'HTTP 503 "Busy"' });
    const counters = { ...runRecord().counters, inserted: 1_234, requests: 6, pages: 5, late: 3 };
    const text = textOf(pageOf({ runs: [runRecord({ counters }), failed('6'), failed('5'), failed('4')] }));
    expect(text).toContain('7 succeeded run 5 minutes ago 2.0 s 1,234 3 0 0 0 5 6 0');
    expect(text).toMatch(/ 6 failed run [^"]* HTTP 503 "Busy" Also runs 5 and 4\. 5 failed run /);
    expect(text.split('HTTP 503')).toHaveLength(2);
    expect(text).not.toContain('Superseded');
  });

  test('has a column of superseded rows where a run has some', () => {
    const counters = { ...runRecord().counters, updated: 2, superseded: 40, unchanged: 7 };
    const text = textOf(pageOf({ runs: [runRecord({ counters }), runRecord({ runId: '6' })] }));
    expect(text).toContain('New Late Updated Superseded Unchanged Rejected');
    expect(text).toContain('7 succeeded run 5 minutes ago 2.0 s 0 0 2 40 7 0');
  });

  const failing = (given: Partial<OrganizationStatus> = {}) => {
    const error = 'No token: HTTP 400 "invalid_client". Check UIPATH_CLIENT_ID.';
    const health = createHealth(['acme'], () => minutesAgo(600));
    const at = new Date(NOW.getTime() + 28_000);
    health.of('acme').runFailed('run', new ExportError('configuration', error), { attempt: 3, at });
    const run = runRecord({ runId: '8', startedAt: minutesAgo(2), outcome: 'failed', error });
    const organizations = [organizationStatus({ runs: [run, runRecord()], ...given })];
    return page({ health: health.read(), report: statusReport({ organizations }) });
  };

  test('shows a failed run that is tried again as retrying, with attempt and time, and its error once', () => {
    const html = failing();
    expect(html).toContain('<section class="verdict attention">');
    expect(html).toContain('<span class="outcome attention">');
    const text = textOf(html);
    expect(text).toMatch(
      /acme Retrying: invalid_client Run 8 \(run\) failed 118 s ago\. Show its error Retrying: attempt 3 in 28 s \( ?2026-03-01 12:00:28 UTC\)\./,
    );
    expect(text).toMatch(
      / 8 retrying run .* Retrying: attempt 3 in 28 s .* No token: HTTP 400 .* Check UIPATH_CLIENT_ID\. 7 succeeded/,
    );
    expect(text.split('No token')).toHaveLength(2);
    expect(html).toMatch(/<a href="#run-8">[\s\S]*<tr id="run-8">/);
  });

  test('shows it red once the last success is too old', () => {
    const html = failing({ lastSuccessAt: minutesAgo(2_000) });
    expect(html).toContain('<section class="verdict bad">');
    expect(html).toContain('<span class="outcome bad">');
    expect(textOf(html)).toContain('acme Not current: invalid_client');
  });

  test('shows an error of this process that no stored run has', () => {
    expect(textOf(failing({ runs: [runRecord()] }))).toContain('run failed No token: HTTP 400');
  });

  test('links to the runbook, or names it', () => {
    expect(textOf(failing())).toContain('What to do: docs/operations.md#uipathauditexportfailing');
    const runbookUrl = 'https://git.example.org/operations.md';
    const html = page({ report: undefined, problem: 'x', runbookUrl });
    expect(html).toContain(
      `What to do: <a href="${runbookUrl}#uipathauditexportdatabaseaway">UipathAuditExportDatabaseAway</a>`,
    );
    expect(page({ runbookUrl })).not.toContain('What to do');
  });

  test('shows the newest head of the ledger, to be copied', () => {
    const head = 'uipath-audit-export/acme/classic\n27\nroot+/=\n\n— key signature\n';
    const html = page({ head });
    expect(html).toContain(`>${head.trim()}</code><button type="button" data-copy="head">Copy</button>`);
    expect(textOf(page())).toContain('Ledger head none yet');
  });

  test('shows version and commit', () => {
    expect(textOf(page())).toContain('Version unknown (unknown).');
  });

  test('shows the ranges that a count proved, and those that were only read', () => {
    const range = { from: minutesAgo(300), to: minutesAgo(5), provenAt: minutesAgo(3), verifiedAt: null };
    const read = { ...range, from: minutesAgo(900), to: minutesAgo(600), provenAt: null };
    const text = textOf(pageOf({ coverage: [range, read] }));
    expect(text).toContain(
      'Proven from 2026-03-01 07:00:00 UTC to 2026-03-01 11:55:00 UTC counted 3 minutes ago',
    );
    expect(text).toContain('Read from 2026-02-28 21:00:00 UTC to 2026-03-01 02:00:00 UTC not counted yet');
  });

  test('calls a range, a day or a copy complete only in the state complete', () => {
    const range = { from: minutesAgo(300), to: minutesAgo(5), provenAt: minutesAgo(3), verifiedAt: null };
    for (const state of ['not proven', 'source changed', 'gap']) {
      const text = textOf(
        pageOf({ coverage: [range], completeness: completeness({ state, reason: 'because' }) }),
      );
      expect(text).toContain(`Completeness ${state} : because`);
      expect(text).not.toMatch(/\bcomplete\b/i);
    }
  });

  test('shows gone events without their user, and nothing of them where there is none', () => {
    const gone = {
      ...{ createdOn: minutesAgo(600), category: 'User', action: '<b>Delete', userName: 'Ana' },
      ...{ noticedAt: minutesAgo(120), goneAt: minutesAgo(115) },
    };
    const text = textOf(
      pageOf({ completeness: completeness({ gone: 21, recentlyGone: 1, suspected: 2 }), goneEvents: [gone] }),
    );
    expect(text).toContain('Gone events 21 and 2 suspected: the next run decides');
    expect(text).toContain('Gone events (the newest of 21), the last one found first');
    expect(text).toContain('2026-03-01 02:00:00 UTC User <b>Delete 2 hours ago');
    expect(text).not.toContain('Ana');
    expect(textOf(page())).not.toContain('Gone at the source');
  });

  test('shows gaps', () => {
    const gap = { from: minutesAgo(300), to: minutesAgo(200), noticedAt: minutesAgo(5), runId: '7' };
    const text = textOf(
      pageOf({ gapCount: 21, gaps: [gap], completeness: completeness({ state: 'gap', reason: 'unread' }) }),
    );
    expect(text).toContain('Current, but with a gap');
    expect(text).toContain(
      'Gap from 2026-03-01 07:00:00 UTC to 2026-03-01 08:40:00 UTC detected 5 minutes ago by run 7',
    );
    expect(text).toContain('The newest of 21 gaps.');
  });

  test('shows why the status is not known while the database is away', () => {
    const text = textOf(page({ report: undefined, problem: 'connect ECONNREFUSED' }));
    expect(text).toContain('Not known: the database does not respond connect ECONNREFUSED');
    expect(text).toContain('This process');
  });

  test('shows a process on standby', () => {
    const health = createHealth(['acme']).read();
    health.organizations[0]!.lastRun = {
      kind: 'run',
      outcome: 'locked',
      endedAt: NOW,
      error: 'Another worker exports acme.',
      retry: null,
    };
    expect(textOf(page({ health }))).toContain('run locked another worker exports; this one is on standby');
  });

  test('shows text from outside as text', () => {
    const error = '<script>alert("1")</script> & \'quotes\'';
    const html = pageOf({ runs: [runRecord({ outcome: 'failed', error })], organization: '<b>"x' });
    expect(html.replace(`<script>${SCRIPT}</script>`, '')).not.toMatch(/<script|<b>"/);
    expect(textOf(html)).toContain(error);
  });

  test('loads no other resource, and its policy allows its style and script', () => {
    const html = page();
    expect(html).not.toMatch(/<(img|iframe|object)|<script |@import|url\(|https?:| (style|on[a-z]+)=/);
    const hashOf = (name: string) => {
      const [, text] = new RegExp(`<${name}>(.*?)</${name}>`, 's').exec(html)!;
      return `'sha256-${createHash('sha256').update(text!).digest('base64')}'`;
    };
    expect(STYLE_SOURCE).toBe(hashOf('style'));
    expect(SCRIPT_SOURCE).toBe(hashOf('script'));
  });

  test('is well formed: every element that is opened is closed, in order', () => {
    const gap = { from: minutesAgo(300), to: minutesAgo(200), noticedAt: minutesAgo(5), runId: '7' };
    const html = pageOf({ gapCount: 1, gaps: [gap], runs: [runRecord({ warnings: ['w'] })] });
    const open: string[] = [];
    for (const [, slash, name] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
      if (['meta', 'link'].includes(name!)) continue;
      if (slash) expect(open.pop()).toBe(name);
      else open.push(name!);
    }
    expect(open).toEqual([]);
  });

  test('shows the number at the source as its last response', () => {
    const text = textOf(pageOf({ sourceTotal: 5_010, stored: 5_000, rejected: 3 }));
    expect(text).toContain('Events stored 5,000 5,010 at the source, by its last response');
    expect(textOf(pageOf({ sourceTotal: null }))).toContain('the number at the source is not known');
  });

  test('omits the chart when it could not be read', () => {
    const text = textOf(page({ activity: undefined }));
    expect(text).toContain('Events per day could not be read.');
    expect(text).toContain('Complete and current');
  });

  test('lists each day with its events and what is known of it', () => {
    const days = ['2026-02-26', '2026-02-27', '2026-02-28', '2026-03-01'].map((day, i) => ({
      day,
      events: i,
    }));
    const at = (day: number, hour: number) => new Date(Date.UTC(2026, 1, day, hour));
    const newest = { from: at(28, 6), to: minutesAgo(10), provenAt: minutesAgo(5), verifiedAt: null };
    const older = { from: at(26, 12), to: at(28, 1), provenAt: at(28, 1), verifiedAt: null };
    const gap = { from: at(28, 1), to: at(28, 6), noticedAt: at(28, 7), runId: '7' };
    const report = statusReport({
      organizations: [organizationStatus({ coverage: [newest, older], gaps: [gap], gapCount: 1 })],
    });
    const text = textOf(page({ report, activity: activity({ days }) }));
    const rowsOf = (coverage: OrganizationStatus['coverage']) =>
      textOf(
        page({
          report: statusReport({ organizations: [organizationStatus({ coverage })] }),
          activity: activity({ days: days.slice(1) }),
        }),
      ).match(/2026-03-01 3 .* 2026-02-27 1 (proven|read, not counted|not known|partly read)/)?.[0];
    const whole = { ...newest, from: at(25, 0) };
    expect(rowsOf([whole])).toBe('2026-03-01 3 proven 2026-02-28 2 proven 2026-02-27 1 proven');
    expect(rowsOf([{ ...whole, provenAt: at(28, 12) }])).toBe(
      '2026-03-01 3 read, not counted 2026-02-28 2 read, not counted 2026-02-27 1 proven',
    );
    expect(rowsOf([{ ...whole, provenAt: null }])).toBe(
      '2026-03-01 3 read, not counted 2026-02-28 2 read, not counted 2026-02-27 1 read, not counted',
    );
    expect(text).toContain('6 events in the last 4 days; most on 1 Mar 2026: 3. A gap touches 1 day.');
    const rows = '2026-03-01 3 proven 2026-02-28 2 gap 2026-02-27 1 proven 2026-02-26 0 partly read';
    expect(text).toContain(rows);
    const before = activity({ days: [{ day: '2026-02-25', events: 0 }, ...days] });
    expect(textOf(page({ report, activity: before }))).toContain('2026-02-25 0 not known');
  });

  test('shows the lateness of events as bars and numbers', () => {
    const lateness = { events: 20_000, counts: [0, 3, 0, 6, 0, 0, 0, 1] };
    const html = page({ activity: activity({ lateness }) });
    expect(textOf(html)).toContain('10 (0.05%) of the newest 20,000 events were late');
    expect(textOf(html)).toMatch(
      /up to 15 minutes 3 up to 60 minutes 0 up to 6 hours 6 .* more than 7 days 1 /,
    );
    const widths = [...html.matchAll(/<td class="wide">.*?width="(\d+)"/g)].map(([, width]) => width);
    expect(widths).toEqual(['0', '50', '0', '100', '0', '0', '0', '17']);
    expect(textOf(page())).toContain('None of the newest 900 events was late.');
  });
});

describe('the page of several organizations', () => {
  const failed = runRecord({ outcome: 'failed', error: 'HTTP 503' });
  const organizations = [
    organizationStatus({ organization: 'acme' }),
    organizationStatus({ organization: 'b & c', runs: [failed] }),
  ];
  const several = (organization?: string) => {
    const wanted = organization === undefined ? undefined : { organization, log: undefined };
    return page({ report: statusReport({ organizations }), wanted, activity: undefined });
  };

  test('has a line for each, failing ones first', () => {
    const html = several();
    expect(html).toContain('<title>b &#38; c needs attention: HTTP 503 – UiPath audit export</title>');
    expect(textOf(html)).toMatch(
      /2 organizations .* b & c Not current: the last run did not succeed Newest event 10 minutes ago Lag 5 minutes .* acme Complete and current Newest event/,
    );
    expect(html).toContain('href="?organization=b%20%26%20c"');
  });

  test('names the worst, and those that need attention, too', () => {
    const rotated = runRecord({ outcome: 'failed', error: 'HTTP 400 "invalid_client". Check it.' });
    const gap = completeness({ state: 'gap' });
    const all = [
      organizationStatus({ organization: 'gap', completeness: gap }),
      organizationStatus({ organization: 'good' }),
      organizationStatus({ organization: 'beta', runs: [rotated] }),
      ...['b', 'c', 'd'].map((organization) => organizationStatus({ organization, completeness: gap })),
    ];
    const show = (...organizations: OrganizationStatus[]) =>
      textOf(page({ report: statusReport({ organizations }), activity: undefined }));
    expect(show(...all)).toContain(
      'beta needs attention: invalid_client 4 more of 6 need attention: gap, b, c and 1 more.',
    );
    expect(show(all[0]!, all[1]!, all[2]!)).toContain(
      'beta needs attention: invalid_client 1 more of 3 needs attention: gap.',
    );
    expect(show(all[0]!, all[1]!)).toContain('gap needs attention: a gap gap Current, but with a gap');
    expect(show(all[1]!, { ...all[1]!, organization: 'x' })).toContain('All are complete and current');
  });

  test('is that of one, when that is asked for', () => {
    expect(textOf(several('b & c'))).toMatch(/All organizations b & c Not current/);
    expect(textOf(several('b & c'))).not.toContain('acme');
    expect(textOf(several('nobody'))).toContain('nobody No organization of this name');
  });

  test('names the log only of an organization that has several', () => {
    const logs = [organizationStatus({ log: 'tenant:A' }), ...organizations];
    const show = (wanted?: { organization: string; log: string | undefined }) =>
      page({ report: statusReport({ organizations: logs }), wanted, activity: undefined });
    expect(textOf(show())).toMatch(
      /3 logs of 2 organizations .* b & c Not .* acme \(tenant:A\) .* acme \(classic\) /,
    );
    expect(show()).toContain('href="?organization=acme&#38;log=tenant%3AA"');
    expect(textOf(show({ organization: 'acme', log: 'classic' }))).toContain(
      'acme (classic) Complete and current',
    );
    expect(textOf(show({ organization: 'acme', log: 'none' }))).toContain('No organization of this name');
  });
});

test.each([
  [0, 2],
  [1, 2],
  [3, 4],
  [10, 10],
  [11, 20],
  [447, 600],
  [9_999, 10_000],
])('the axis above %d events ends at %d', (events, top) => {
  expect(ceilNicely(events)).toBe(top);
});
