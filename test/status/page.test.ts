import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { OrganizationStatus } from '../../src/postgres/status.ts';
import { createHealth } from '../../src/status/health.ts';
import { type PageContent, renderPage } from '../../src/status/page.ts';
import { STYLE_SOURCE } from '../../src/status/page-style.ts';
import { minutesAgo, NOW, organizationStatus, runRecord, statusReport } from './support.ts';

function page(given: Partial<PageContent> = {}): string {
  const health = createHealth(['acme'], () => minutesAgo(600)).read();
  return renderPage({
    health,
    report: statusReport(),
    problem: undefined,
    nextRunAt: undefined,
    now: NOW,
    ...given,
  });
}

function pageOf(given: Partial<OrganizationStatus>): string {
  return page({ report: statusReport({ organizations: [organizationStatus(given)] }) });
}

/** What a reader sees, in one line. */
function textOf(html: string): string {
  const body = html.slice(html.indexOf('<body>'));
  return body
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
    .replace(/\s+/g, ' ');
}

describe('the page', () => {
  test('says in words that the copy is complete and current, and shows its numbers', () => {
    const html = page({ nextRunAt: new Date(NOW.getTime() + 180_000) });
    expect(html).toContain('<title>Complete and current – UiPath audit export</title>');
    const text = textOf(html);
    expect(text).toContain(
      'acme Complete and current Everything the source showed 5 minutes ago was read then.',
    );
    expect(text).toContain('Newest event 10 minutes ago 2026-03-01 11:50:00 UTC');
    expect(text).toContain('Events stored 5,000');
    expect(text).toContain('Next run in 3 minutes 2026-03-01 12:03:00 UTC');
    expect(text).toContain('Up 10 hours');
  });

  test('shows each run with its numbers, and an error once for all runs it ended', () => {
    const failed = (runId: string) => runRecord({ runId, outcome: 'failed', error: 'HTTP 503 "Busy"' });
    const counters = { ...runRecord().counters, inserted: 1_234, requests: 6, pages: 5, late: 3 };
    const text = textOf(pageOf({ runs: [runRecord({ counters }), failed('6'), failed('5')] }));
    expect(text).toContain('7 run 5 minutes ago 2.0 s succeeded 1,234 0 0 0 3 5 6 0');
    expect(text).toContain('Runs 6 and 5 HTTP 503 "Busy"');
    expect(text.split('HTTP 503')).toHaveLength(2);
  });

  test('shows what is known to be complete, and when that was proven', () => {
    const range = { from: minutesAgo(300), to: minutesAgo(5), provenAt: minutesAgo(3) };
    expect(textOf(pageOf({ coverage: [range] }))).toMatch(
      /Complete\s+from .+ UTC to .+ UTC\s*, proven 3 minutes ago/,
    );
  });

  test('shows gaps', () => {
    const gap = { from: minutesAgo(300), to: minutesAgo(200), noticedAt: minutesAgo(5), runId: '7' };
    const text = textOf(pageOf({ gapCount: 21, gaps: [gap] }));
    expect(text).toContain('Current, but not complete');
    expect(text).toContain('2026-03-01 07:00:00 UTC 2026-03-01 08:40:00 UTC 2026-03-01 11:55:00 UTC 7');
    expect(text).toContain('The newest of 21 gaps.');
  });

  test('says why nothing is known while the database is away', () => {
    const text = textOf(page({ report: undefined, problem: 'connect ECONNREFUSED' }));
    expect(text).toContain('Not known: the database does not answer connect ECONNREFUSED');
    expect(text).toContain('This process');
  });

  test('says that a process stands by', () => {
    const health = createHealth(['acme']).read();
    health.organizations[0]!.lastRun = {
      kind: 'run',
      outcome: 'locked',
      endedAt: NOW,
      error: 'Another worker exports acme.',
    };
    expect(textOf(page({ health }))).toContain('run locked another worker exports; this one stands by');
  });

  test('shows text from outside as text', () => {
    const error = '<script>alert("1")</script> & \'quotes\'';
    const html = pageOf({ runs: [runRecord({ outcome: 'failed', error })], organization: '<b>"x' });
    expect(html).not.toMatch(/<script|<b>"/);
    expect(textOf(html)).toContain(error);
  });

  test('asks for nothing else, and its style is the one that its policy allows', () => {
    const html = page();
    expect(html).not.toMatch(/<(script|img|iframe|object)|@import|url\(|https?:/);
    const style = /<style>(.*)<\/style>/s.exec(html)![1]!;
    expect(STYLE_SOURCE).toBe(`'sha256-${createHash('sha256').update(style).digest('base64')}'`);
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
});
