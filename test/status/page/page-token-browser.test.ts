/** The status page with a token, in a real browser: log in, renew, copy. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { createLog } from '../../../src/log.ts';
import { createHealth } from '../../../src/status/health.ts';
import { createMetrics } from '../../../src/status/metrics.ts';
import { createStatusServer, type StatusServer } from '../../../src/status/server.ts';
import { hasBrowser, launchBrowser } from '../../support/browser.ts';
import { activity, organizationStatus, statusReport } from '../support.ts';

const TOKEN = 'a-token';
const HEAD = 'uipath-audit-export/acme/classic\n27\nmPZ1yVkqDTF0r1r3rV2nHkqEKeQ0cVx0p4C2q1b8z2E=\n';

(hasBrowser ? describe : describe.skip)('with a token, the page in a browser', () => {
  let browser: Browser;
  let server: StatusServer;
  let stored = 5_000;

  beforeAll(async () => {
    browser = await launchBrowser();
    server = await createStatusServer({
      ...{ host: '127.0.0.1', port: 0, health: createHealth(['acme']), metrics: createMetrics() },
      ...{ log: createLog({ level: 'silent' }), nextRunAt: () => undefined, statusAgeMs: 0 },
      readStatus: async () => statusReport({ organizations: [organizationStatus({ stored })] }),
      readActivity: async () => activity(),
      readHead: async () => HEAD,
      token: { value: TOKEN, file: undefined },
    });
  });
  afterAll(async () => {
    await browser.close();
    await server.close();
  });

  const headlineOf = (page: Page) => page.locator('.verdict h2').textContent();
  const renew = (page: Page) => page.evaluate(`document.dispatchEvent(new Event('visibilitychange'))`);

  test.each([
    ['in the login window', { httpCredentials: { username: 'anybody', password: TOKEN } }, ''],
    ['in the address', {}, `:${TOKEN}@`],
  ])('is shown with the token %s, and renews itself', async (_how, options, login) => {
    const page = await (await browser.newContext(options)).newPage();
    await page.goto(server.url.replace('://', `://${login}`));
    expect(await headlineOf(page)).toBe('Complete and current');
    stored += 1;
    await renew(page);
    await page.getByText(stored.toLocaleString('en')).first().waitFor();
    expect(await page.getByRole('alert').isVisible()).toBe(false);
    await page.context().close();
  });

  test('is not shown without it, or with another one', async () => {
    for (const options of [{}, { httpCredentials: { username: 'anybody', password: 'other' } }]) {
      const page = await (await browser.newContext(options)).newPage();
      const response = await page.goto(server.url).catch(() => null);
      // Chromium may show an error page of its own.
      expect([null, 401]).toContain(response?.status() ?? null);
      await page.context().close();
    }
  });

  test('copies the head of the ledger', async () => {
    const httpCredentials = { username: '', password: TOKEN };
    const permissions = ['clipboard-read', 'clipboard-write'];
    const page = await (await browser.newContext({ httpCredentials, permissions })).newPage();
    await page.goto(server.url);
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(HEAD.trim());
    expect(await page.evaluate('getSelection().toString().trim()')).toBe(HEAD.trim());
    await page.context().close();
  });
});
