import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { App } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { describeDuration } from '../text/format.ts';

export interface WaitOptions {
  wait?: boolean;
}

const RETRY_MS = 1_000;
const LOG_INTERVAL_MS = 30_000;

export function withWait(command: Command): Command {
  return command.option(
    '--wait',
    'wait while another worker exports the organization, instead of exit code 75',
  );
}

/**
 * Calls `work`, and with `wait` calls it again until no other worker holds the lease. Logs whom it waits for. Throws the errors of
 * `work`, and `interrupted` if the signal is aborted meanwhile.
 */
export async function whenFree<T>(
  app: App,
  { wait }: WaitOptions,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  let logAfterMs = 0;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ExportError) || error.code !== 'locked') throw error;
      if (!wait)
        throw new ExportError('locked', `${error.message} Stop it, or wait for it with --wait.`, {
          cause: error,
        });
      const waitedMs = Math.round(performance.now() - startedAt);
      if (waitedMs >= logAfterMs) {
        const since = logAfterMs === 0 ? 'waiting' : `waiting for ${describeDuration(waitedMs)}`;
        // A warning, so that a terminal shows it.
        app.log.warn({ waitedMs }, `${since}: ${error.message}`);
        logAfterMs = waitedMs + LOG_INTERVAL_MS;
      }
    }
    await sleep(RETRY_MS, undefined, { signal }).catch(() => {
      throw new ExportError('interrupted', 'Stopped while waiting for another worker. Nothing was changed.');
    });
  }
}
