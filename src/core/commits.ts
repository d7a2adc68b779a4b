/**
 * While one commit is under way the next page is fetched and judged; the order of the commits is that of the pages.
 * `assertWanted` throws when no further commit is to begin.
 */
export function oneAtATime({ assertWanted, onFailure }: { assertWanted: () => void; onFailure: () => void }) {
  let underWay: Promise<void> = Promise.resolve();
  return {
    /** Resolves once `commit` has begun: when the one before has succeeded. */
    async begin(commit: () => Promise<void>): Promise<void> {
      await underWay;
      assertWanted();
      underWay = commit();
      underWay.catch(onFailure);
    },
    settled: () => underWay,
  };
}
