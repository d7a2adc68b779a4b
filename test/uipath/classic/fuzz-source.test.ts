import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';

const SCRIPT = fileURLToPath(new URL('./fuzz-source.mjs', import.meta.url));
const RUNS = Number(process.env.PROPERTY_RUNS ?? 300);

test(
  'a damaged response results in a page or an ExportError, in time and without an unhandled rejection',
  async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [SCRIPT, String(RUNS)], {
      timeout: 60_000 + RUNS * 50,
    });
    const counts = JSON.parse(stdout) as Record<string, number>;
    expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(RUNS);
    expect(counts.page).toBeGreaterThan(0);
  },
  90_000 + RUNS * 50,
);
