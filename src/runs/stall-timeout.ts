import { ExportError } from '../core/errors.ts';

/**
 * Does `work` with a signal that also aborts once `work` has not called `moved` for `stallTimeoutMs`, and throws `stalled`
 * then, even where `work` does not heed the signal.
 */
export async function withStallTimeout<T>(
  { stallTimeoutMs, signal }: { stallTimeoutMs: number; signal: AbortSignal },
  work: (signal: AbortSignal, moved: () => void) => Promise<T>,
): Promise<T> {
  const stall = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const stalled = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const error = new ExportError(
        'stalled',
        `The run came no further for ${stallTimeoutMs / 1000} s (EXPORT_STALL_TIMEOUT) and was ended, so that the next one ` +
          'can begin. What was committed stays.',
      );
      // First, so that what the abort makes `work` throw comes too late.
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
