/** `npm run screenshots`: the status page in each of its states, from a real database and a real server, as pictures for people. */
// First: it must be evaluated before the page.
import './build.ts';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { acquireEmbeddedPostgres } from '../../src/embedded-postgres/embedded-postgres.ts';
import { launchBrowser } from '../support/browser.ts';
import { openPageScene, PAGE_STATES } from '../support/page-scene.ts';
import { ROOT } from '../support/root.ts';

const FOLDER = join(ROOT, 'docs', 'images');
const EVENTS_A_DAY = 400;
const SIZES = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } };
/** Text and flat areas need no more, and a repository keeps every version of a picture. */
const COLOURS = '32';

interface Shot {
  name: string;
  url: string;
  size: keyof typeof SIZES;
  colorScheme: 'light' | 'dark';
}

async function takeAll(urls: Record<(typeof PAGE_STATES)[number], string>): Promise<void> {
  const browser = await launchBrowser();
  try {
    for (const state of PAGE_STATES) {
      for (const size of ['desktop', 'phone'] as const) {
        await take(browser, { name: `${state}-${size}`, url: urls[state], size, colorScheme: 'light' });
      }
    }
    for (const size of ['desktop', 'phone'] as const) {
      await take(browser, { name: `healthy-${size}-dark`, url: urls.healthy, size, colorScheme: 'dark' });
    }
  } finally {
    await browser.close();
  }
}

async function take(browser: Browser, { name, url, size, colorScheme }: Shot): Promise<void> {
  const page = await browser.newPage({ viewport: SIZES[size], colorScheme });
  await page.goto(url);
  const path = join(FOLDER, `status-${name}.png`);
  await page.screenshot({ path, fullPage: true });
  await page.close();
  // Debian's package pngquant; without it the picture is five times as large.
  await promisify(execFile)('pngquant', ['--force', '--ext', '.png', '--nofs', COLOURS, path]).catch(() => {
    process.stderr.write('pngquant is not installed: the picture stays large\n');
  });
  process.stdout.write(`${path} ${Math.ceil((await stat(path)).size / 1000)} kB\n`);
}

const directory = await mkdtemp(join(tmpdir(), 'audit-screenshots-'));
const server = await acquireEmbeddedPostgres({ directory, port: 0 });
try {
  const scene = await openPageScene(server.connectionString, { eventsADay: EVENTS_A_DAY });
  await takeAll(scene.urls).finally(() => scene.close());
} finally {
  await server.release();
  await rm(directory, { recursive: true, force: true });
}
