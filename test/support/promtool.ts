import { spawnSync } from 'node:child_process';

/** Whether Debian's package `prometheus` is there. Without it the tests that need promtool are skipped, and say so. */
export const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

if (!hasPromtool) console.log('promtool is not installed (Debian: prometheus): its checks are skipped.');

/** Runs promtool; what it says of either kind comes back as one text. */
export function promtool(args: readonly string[], input = ''): { status: number | null; said: string } {
  const { status, signal, error, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  // Where it was killed or did not start, that is all it says.
  const said = [stdout, stderr, signal && `ended by ${signal}`, error?.message];
  return { status, said: said.filter(Boolean).join('').trim() };
}
