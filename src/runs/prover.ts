import type { App } from '../app.ts';
import type { Prover } from '../core/prover.ts';
import type { RunKind } from '../postgres/write/session.ts';
import type { Run } from './run.ts';

/** Opens the prover of one run: it compares responses of the source with the tables, and reports what it finds. */
export function openProver(
  app: App,
  { session, counters, watchers }: Run,
  { kind, signal, onProgress }: { kind: RunKind; signal: AbortSignal; onProgress: () => void },
): Prover {
  const { pageSize, scrubPages } = app.config.export;
  const store = session.rankStore(counters);
  const compare: typeof store.compare = async (shown, options) => {
    const result = await store.compare(shown, options);
    onProgress();
    watchers.onCompared(result);
    for (const rejected of result.newlyRejected) watchers.onRejected(rejected);
    return result;
  };
  // Not a spread: `head` changes.
  const watched = Object.create(store, { compare: { value: compare } }) as typeof store;
  // Once a day a difference that could not be resolved is looked at again.
  const shouldRetry = kind !== 'run';
  return app.source.prover(watched, { pageSize, scrubPages, shouldRetry, signal, meter: counters });
}
