/**
 * Runs work one item after another while the caller reads the next items. Items that arrive meanwhile are merged into the next one, if
 * `merge` allows it: a transaction costs about the same for five pages as for one, and the cost grows with the latency of the database.
 *
 * `merge` combines two items, or returns `undefined` if they must be worked on apart. `throwIfStopped` throws if no further work may start.
 */
export function createWorkQueue<T>({
  work,
  merge,
  throwIfStopped,
  onFailure,
}: {
  work: (item: T) => Promise<void>;
  merge: (earlier: T, later: T) => T | undefined;
  throwIfStopped: () => void;
  onFailure: () => void;
}) {
  let waiting: T | undefined;
  /** The work in progress, or the last one. The waiting item follows it. */
  let current: Promise<void> = Promise.resolve();
  let working: Promise<void> | undefined;

  const workOnWaiting = async () => {
    try {
      while (waiting !== undefined) {
        throwIfStopped();
        const item = waiting;
        waiting = undefined;
        current = work(item);
        await current;
      }
    } catch (error) {
      // Otherwise `add` would wait forever.
      waiting = undefined;
      throw error;
    }
    working = undefined;
  };

  return {
    /** Resolves when the item is the next one, or is worked on. Rethrows the error of work that failed. */
    async add(item: T): Promise<void> {
      while (waiting !== undefined) {
        const merged = merge(waiting, item);
        if (merged !== undefined) {
          waiting = merged;
          return;
        }
        await current;
      }
      waiting = item;
      if (working) return;
      working = workOnWaiting();
      working.catch(onFailure);
    },
    /** Resolves when everything is done. Rethrows the error of work that failed. */
    async settled(): Promise<void> {
      await working;
    },
  };
}
