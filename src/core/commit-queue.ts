/**
 * Commits one after another, each beside the reading of what comes next. What is read meanwhile waits, and is committed
 * together: a transaction costs about as much for five pages as for one, and the more the farther the database.
 *
 * `merge` gives what two items are together, or nothing where they must not be one commit. `assertWanted` throws when no
 * further commit is to begin.
 */
export function createCommitQueue<T>({
  commit,
  merge,
  assertWanted,
  onFailure,
}: {
  commit: (item: T) => Promise<void>;
  merge: (earlier: T, later: T) => T | undefined;
  assertWanted: () => void;
  onFailure: () => void;
}) {
  let waiting: T | undefined;
  /** The commit under way, or the last one: what waits is taken when it ends. */
  let taken: Promise<void> = Promise.resolve();
  let committing: Promise<void> | undefined;

  const commitWaiting = async () => {
    try {
      while (waiting !== undefined) {
        assertWanted();
        const item = waiting;
        waiting = undefined;
        taken = commit(item);
        await taken;
      }
    } catch (error) {
      // Whoever waits for room must not wait for ever.
      waiting = undefined;
      throw error;
    }
    committing = undefined;
  };

  return {
    /** Resolves once the item waits for no more than the commit under way. Throws what a commit failed with. */
    async add(item: T): Promise<void> {
      while (waiting !== undefined) {
        const together = merge(waiting, item);
        if (together !== undefined) {
          waiting = together;
          return;
        }
        await taken;
      }
      waiting = item;
      if (committing) return;
      committing = commitWaiting();
      committing.catch(onFailure);
    },
    /** Resolves once all is committed. Throws what a commit failed with. */
    async settled(): Promise<void> {
      await committing;
    },
  };
}
