/** While one commit is under way the next page is fetched and judged; the order of the commits is that of the pages. */
export function oneAtATime(onFailure: () => void) {
  let underWay: Promise<void> = Promise.resolve();
  return {
    /** Resolves once `commit` has begun: when the one before has succeeded. */
    async begin(commit: () => Promise<void>): Promise<void> {
      await underWay;
      underWay = commit();
      underWay.catch(onFailure);
    },
    settled: () => underWay,
  };
}
