import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ExportError } from '../core/errors.ts';

/** A lock whose holder died is taken over after this time. */
const STALE_MS = 5_000;
const WAIT_MS = 120_000;
const STEP_MS = 100;

/** Runs `work` while no other process works on the embedded server in `directory`. Waits for its turn. */
export async function withDirectoryLock<Result>(
  directory: string,
  work: () => Promise<Result>,
): Promise<Result> {
  const unlock = await lock(directory);
  try {
    return await work();
  } finally {
    // Taken over meanwhile, or removed with the directory: then there is nothing left to unlock.
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
      // By default it throws where nobody can catch. A lock lost to a suspended machine is no reason to die.
      onCompromised: () => {},
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ELOCKED') throw error;
    throw new ExportError(
      'database-away',
      `Another process has been starting or stopping the PostgreSQL in ${directory} for ${WAIT_MS / 1000} s. ` +
        `Look at ${join(directory, 'log', 'server.log')} and try again.`,
      { cause: error },
    );
  }
}

/**
 * proper-lockfile listens for every ending signal (by signal-exit), and with a program whose own listener is a
 * `once` it would kill the process in the middle of its orderly end. Signals are the program's: the listeners go again.
 */
function requireLockfile(): typeof import('proper-lockfile') {
  const signals = Object.keys(constants.signals) as NodeJS.Signals[];
  const before = new Map(signals.map((signal) => [signal, process.listeners(signal)]));
  // Not `import`: between the two looks at the listeners nothing else may run.
  const lockfile = createRequire(import.meta.url)('proper-lockfile');
  for (const [signal, listeners] of before) {
    for (const listener of process.listeners(signal)) {
      if (!listeners.includes(listener)) process.removeListener(signal, listener);
    }
  }
  return lockfile;
}
