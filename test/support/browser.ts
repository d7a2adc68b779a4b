import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** Debian's package `chromium`, which `.ci/run` installs where it can. */
const EXECUTABLE = '/usr/bin/chromium';

export const hasBrowser = existsSync(EXECUTABLE);

export function launchBrowser(): Promise<Browser> {
  // The library by which .ci/calendar shifts the clock keeps Chromium from starting; the pages' time is the server's.
  const { LD_PRELOAD: _clock, ...env } = process.env;
  return chromium.launch({
    env: env as Record<string, string>,
    executablePath: EXECUTABLE,
    args: ['--no-sandbox', '--disable-background-networking'],
  });
}
