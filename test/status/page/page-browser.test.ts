/** The status page in a real browser, with a real server and a real database. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import axe from 'axe-core';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { hasBrowser, launchBrowser } from '../../support/browser.ts';
import { createMigratedDatabase, type TestDatabase } from '../../support/database.ts';
import { openPageScene, PAGE_STATES, type PageScene, type PageState } from '../../support/page-scene.ts';

const PHONE = { width: 360, height: 740 };
const DESKTOP = { width: 1280, height: 800 };

const HEADLINES: Record<PageState, RegExp> = {
  empty: /^Nothing has been exported yet$/,
  healthy: /^Complete and current$/,
  behind: /^Not current: the last success was 3 hours ago$/,
  failing: /^Not current: HTTP 503$/,
  gap: /^Current, but with a gap$/,
  gone: /^Complete and current: 4 events deleted at the source$/,
  overview: /^globex needs attention: the last success was 3 hours ago$/,
};

if (!hasBrowser)
  console.log('The status page was not looked at in a browser: there is no /usr/bin/chromium.');

(hasBrowser ? describe : describe.skip)('in a browser, the page', () => {
  let database: TestDatabase;
  let scene: PageScene;
  let browser: Browser;
  const pages: Page[] = [];

  beforeAll(async () => {
    database = await createMigratedDatabase();
    scene = await openPageScene(database.url, { eventsADay: 20 });
    browser = await launchBrowser();
  });
  afterEach(async () => {
    await Promise.all(pages.splice(0).map((page) => page.context().close()));
  });
  afterAll(async () => {
    await browser.close();
    await scene.close();
    await database.drop();
  });

  /** Errors in the browser, and requests to other hosts. */
  interface Watched {
    page: Page;
    complaints: string[];
    strangers: string[];
  }

  async function open(state: PageState, options: BrowserContextOptions = {}, path = '/'): Promise<Watched> {
    const context = await browser.newContext({ viewport: DESKTOP, ...options });
    const page = await context.newPage();
    pages.push(page);
    const complaints: string[] = [];
    const strangers: string[] = [];
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('dialog', (dialog) => {
      complaints.push(`dialog ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(scene.urls[state]) && !request.url().startsWith('data:')) {
        strangers.push(request.url());
      }
    });
    await page.goto(scene.urls[state] + path);
    return { page, complaints, strangers };
  }

  /** Triggers the update of the page's timer. */
  const renew = (page: Page) => page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);

  async function findingsOf(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    // The whole result is as large as the page many times over, and takes a second to get here.
    const options = JSON.stringify({ runOnly: tags, resultTypes: ['violations'] });
    return (await page.evaluate(`axe.run(document, ${options}).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' | ')))`)) as string[];
  }

  const isTooWide = (page: Page) =>
    page.evaluate('document.documentElement.scrollWidth > document.documentElement.clientWidth');

  const views = PAGE_STATES.flatMap((state) => [
    { state, colorScheme: 'light' as const, viewport: DESKTOP },
    { state, colorScheme: 'dark' as const, viewport: PHONE },
  ]);
  test.each(views)('shows the state $state, in $colorScheme and $viewport.width px', async (view) => {
    const { state, ...options } = view;
    const { page, complaints, strangers } = await open(state, options);
    expect(await page.locator('.verdict h2').textContent()).toMatch(HEADLINES[state]);
    expect(await page.title()).toContain(await page.locator('.verdict h2').textContent());
    expect(await isTooWide(page)).toBe(false);
    for (const summary of await page.locator('summary').all()) await summary.click();
    expect(await isTooWide(page)).toBe(false);
    expect(await findingsOf(page)).toEqual([]);
    expect([complaints, strangers]).toEqual([[], []]);
  });

  test('is accessible in light mode on a phone and in dark mode on a desktop, too', async () => {
    const phone = await open('gap', { colorScheme: 'light', viewport: PHONE });
    expect(await findingsOf(phone.page)).toEqual([]);
    const desktop = await open('gap', { colorScheme: 'dark' });
    expect(await findingsOf(desktop.page)).toEqual([]);
    const background = (page: Page) => page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(await background(phone.page)).not.toBe(await background(desktop.page));
  });

  test.each([
    ['complete', null, null, 'Complete and current'],
    ['not proven', 'the list changed during each of 3 counts', null, 'Current, but not proven'],
    [
      'incomplete',
      'a group of 1,204 events with one time is larger than a page',
      3,
      'Current, complete but for 3',
    ],
    [
      'source changed',
      '83 of 90 events are not listed',
      null,
      'Source changed: it does not show what is stored',
    ],
  ])('shows the state %s on a desktop and a phone', async (completeness, reason, missing, headline) => {
    const set = (...values: unknown[]) =>
      scene.pool.query(
        `update audit.watermarks set completeness = $1, completeness_reason = $2, missing_events = $3 where organization = 'acme'`,
        values,
      );
    await set(completeness, reason, missing);
    try {
      for (const options of [{ viewport: DESKTOP }, { viewport: PHONE, colorScheme: 'dark' as const }]) {
        const { page, complaints } = await open('healthy', options);
        expect(await page.locator('.verdict h2').textContent()).toBe(headline);
        const shown = missing === null ? completeness : `complete but for ${missing}`;
        expect(await page.locator('.state').textContent()).toBe(
          shown + (reason === null ? '' : `: ${reason}`),
        );
        expect(await isTooWide(page)).toBe(false);
        if (options.viewport === PHONE) expect(await findingsOf(page)).toEqual([]);
        expect(complaints).toEqual([]);
      }
    } finally {
      await set('complete', null, null);
    }
  });

  test('lists gone events without their users', async () => {
    const { page } = await open('gone', { viewport: PHONE });
    const rows = page.locator('#gone').locator('..').locator('tbody tr');
    expect(await rows.count()).toBe(4);
    expect(await rows.first().textContent()).toMatch(/UTCUserLogin\d+ hours ago$/);
    expect(await page.locator('main').textContent()).not.toMatch(/User \d/);
    expect(await page.getByText('and 1 suspected').count()).toBe(1);
  });

  test('has the numbers of each chart', async () => {
    const { page } = await open('gap');
    const days = page.locator('#days').locator('..');
    expect(await days.locator('svg.bars g').count()).toBe(90);
    await days.locator('summary').click();
    const rows = days.locator('tbody tr');
    expect(await rows.count()).toBe(90);
    const stored = (await rows.locator('td.number').allTextContents()).map(Number);
    const { rows: counted } = await scene.pool.query(
      `select count(*)::int as count from audit.events
       where organization = 'northwind' and created_on >= ($1::timestamptz at time zone 'UTC')::date - 89`,
      [scene.now],
    );
    expect(stored.reduce((sum, events) => sum + events)).toBe(counted[0].count);
    expect((await rows.allTextContents()).filter((row) => row.endsWith('gap'))).toHaveLength(6);
    const late = await page.locator('.histogram tbody tr').allTextContents();
    expect(late).toHaveLength(8);
  });

  test('works by keyboard: each control is reached in order and has a visible focus', async () => {
    const { page } = await open('healthy');
    const reached: string[] = [];
    for (let i = 0; i < 12; i++) {
      await page.keyboard.press('Tab');
      const focus = (await page.evaluate(`(() => {
        const { localName, ariaLabel, textContent } = document.activeElement;
        const { outlineStyle } = getComputedStyle(document.activeElement);
        return { name: localName, label: ariaLabel ?? textContent, outline: outlineStyle };
      })()`)) as { name: string; label: string; outline: string };
      if (focus.name === 'body') break;
      expect(focus.outline).toBe('solid');
      reached.push(focus.label);
      if (focus.name === 'summary') await page.keyboard.press('Enter');
    }
    expect(reached).toEqual([
      'UiPath audit export',
      'Events by day as a table',
      'Events stored by day in UTC, newest first',
      'Copy',
      'Last runs, newest first',
      'Metrics',
      'Readiness',
      'Health',
    ]);
  });

  test('updates in place: focus, scroll position and opened parts are kept', async () => {
    const { page, complaints } = await open('gap', { viewport: PHONE });
    await page.locator('summary').click();
    const region = page.locator('details .scroll');
    await region.focus();
    await page.evaluate(`document.querySelector('details .scroll').scrollTop = 100`);
    const place = () =>
      page.evaluate(
        `[scrollY, document.querySelector('details .scroll').scrollTop, document.activeElement.ariaLabel]`,
      );
    const before = await place();
    await scene.pool.query(
      `insert into audit.rejected_events (organization, content_hash, source_text, reason, run_id)
       values ('northwind', '\\x00', '{}', 'new', 1)`,
    );
    await renew(page);
    await page.getByText('4 rows could not be read as events').waitFor();
    expect(await place()).toEqual(before);
    expect(await page.locator('details').getAttribute('open')).not.toBeNull();
    expect(complaints).toEqual([]);
  });

  test('shows that the worker does not respond, until it does again', async () => {
    const { page } = await open('healthy');
    const stale = page.getByRole('alert');
    expect(await stale.isVisible()).toBe(false);
    await page.context().setOffline(true);
    await renew(page);
    await page.getByText('The worker does not respond. This page shows the state of').waitFor();
    await page.context().setOffline(false);
    await renew(page);
    await stale.waitFor({ state: 'hidden' });
  });

  test('shows the same without scripts, and reloads itself', async () => {
    const { page } = await open('healthy', { javaScriptEnabled: false });
    expect(await page.locator('.verdict h2').textContent()).toBe('Complete and current');
    expect(await page.locator('meta[http-equiv=refresh]').getAttribute('content')).toBe('30');
  });

  test('of several organizations links to the page of each, and back', async () => {
    const { page } = await open('overview');
    const names = await page.locator('.organizations a').allTextContents();
    expect(names).toEqual(['globex', 'initech', 'contoso', 'northwind', 'acme']);
    await page.getByRole('link', { name: 'northwind' }).click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('northwind');
    expect(await page.locator('.verdict h2').textContent()).toBe('Current, but with a gap');
    expect(await findingsOf(page)).toEqual([]);
    await page.getByRole('link', { name: 'All organizations' }).click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('5 organizations');
  });

  test('shows hostile text as text', async () => {
    const name = `<img src=x onerror=alert(1)>"'&`;
    const error = '</style></script><script>alert(2)</script> `<b onclick=alert(3)>code</b>`';
    await scene.pool.query('insert into audit.watermarks (organization) values ($1)', [name]);
    await scene.pool.query(
      `insert into audit.runs (organization, log, kind, ended_at, outcome, error) values ($1, 'classic', 'run', $3, 'failed', $2)`,
      [name, error, scene.now],
    );
    try {
      const { page, complaints, strangers } = await open('overview');
      await page.getByRole('link', { name }).click();
      expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(name);
      expect(await page.locator('.said').first().textContent()).toContain(error.replaceAll('`', ''));
      expect(await page.locator('img, b[onclick], body script').count()).toBe(0);
      expect([complaints, strangers]).toEqual([[], []]);
    } finally {
      await scene.pool.query('delete from audit.watermarks where organization = $1', [name]);
    }
  });
});
