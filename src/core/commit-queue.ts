/**
 * Runs commits one after another while the caller reads the next items. Items that arrive during a commit are merged into the
 * next one: a transaction costs about the same for five pages as for one, and the cost grows with the latency of the database.
 *
 * `merge` combines two items, or returns `undefined` if they must not be in one commit. `throwIfStopped` throws if no further
 * commit may start.
 */
export function createCommitQueue<T>({
  commit,
  merge,
  throwIfStopped,
  onFailure,
}: {
  commit: (item: T) => Promise<void>;
  merge: (earlier: T, later: T) => T | undefined;
  throwIfStopped: () => void;
  onFailure: () => void;
}) {
  let waiting: T | undefined;
  /** The commit in progress, or the last one. The waiting item is committed after it. */
  let current: Promise<void> = Promise.resolve();
  let committing: Promise<void> | undefined;

  const commitWaiting = async () => {
    try {
      while (waiting !== undefined) {
        throwIfStopped();
        const item = waiting;
        waiting = undefined;
        current = commit(item);
        await current;
      }
    } catch (error) {
      // Otherwise `add` would wait forever.
      waiting = undefined;
      throw error;
    }
    committing = undefined;
  };

  return {
    /** Resolves when the item is next to be committed, or is being committed. Rethrows the error of a failed commit. */
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
      if (committing) return;
      committing = commitWaiting();
      committing.catch(onFailure);
    },
    /** Resolves when everything is committed. Rethrows the error of a failed commit. */
    async settled(): Promise<void> {
      await committing;
    },
  };
}
