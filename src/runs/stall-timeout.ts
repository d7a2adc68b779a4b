import { ExportError } from '../core/errors.ts';

/**
 * Calls `work` with a signal that also aborts after `stallTimeoutMs` without a call of `onProgress`. Throws `stalled` then, even if
 * `work` ignores the signal.
 */
export async function withStallTimeout<T>(
  { stallTimeoutMs, signal }: { stallTimeoutMs: number; signal: AbortSignal },
  work: (signal: AbortSignal, onProgress: () => void) => Promise<T>,
): Promise<T> {
  const stall = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new ExportError(
        'stalled',
        `The run made no progress for ${stallTimeoutMs / 1000} s (EXPORT_STALL_TIMEOUT) and was stopped, so that the next one ` +
          'can begin. Committed data stays.',
      );
      // Before the abort, so that this error wins over the one that `work` throws because of it.
      reject(error);
      stall.abort(error);
    }, stallTimeoutMs);
  });
  try {
    return await Promise.race([
      stalled,
      work(AbortSignal.any([signal, stall.signal]), () => timer?.refresh()),
    ]);
  } finally {
    clearTimeout(timer);
  }
}
