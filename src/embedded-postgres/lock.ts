import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ExportError } from '../core/errors.ts';

/** The lock of a dead process is taken over after this time. */
const STALE_MS = 5_000;
const WAIT_MS = 120_000;
const STEP_MS = 100;

/** Runs `work` under the lock of `directory`, which excludes other processes. Waits for the lock. */
export async function withDirectoryLock<Result>(
  directory: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const unlock = await lock(directory);
  try {
    return await work();
  } finally {
    // Fails if the lock was taken over or removed with the directory; nothing is left to unlock then.
    await unlock().catch(() => {});
  }
}

async function lock(directory: string): Promise<() => Promise<void>> {
  const { lock } = requireLockfile();
  try {
    return await lock(directory, {
      lockfilePath: join(directory, 'lock'),
      stale: STALE_MS,
      retries: { retries: WAIT_MS / STEP_MS, factor: 1, minTimeout: STEP_MS, maxTimeout: STEP_MS },
      // By default it throws from a timer, which would end the process. A suspended machine may lose the lock.
      onCompromised: () => {},
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    throw new ExportError(
      'database-away',
      `Another process has been starting or stopping the PostgreSQL in ${directory} for ${WAIT_MS / 1000} s. ` +
        `See ${join(directory, 'log', 'server.log')} and try again.`,
      { cause: error },
    );
  }
}

/**
 * Loads proper-lockfile without its signal listeners. It listens for every terminating signal (by signal-exit) and would kill the
 * process during its shutdown if the program's own listener is a `once`.
 */
function requireLockfile(): typeof import('proper-lockfile') {
  const signals = Object.keys(constants.signals) as NodeJS.Signals[];
  const before = new Map(signals.map((signal) => [signal, process.listeners(signal)]));
  // Not `import`: nothing else may run between the two snapshots of the listeners.
  const lockfile = createRequire(import.meta.url)('proper-lockfile');
  for (const [signal, listeners] of before) {
    for (const listener of process.listeners(signal)) {
      if (!listeners.includes(listener)) process.removeListener(signal, listener);
    }
  }
  return lockfile;
}
