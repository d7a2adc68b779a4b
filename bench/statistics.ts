/** What is said about a handful of measurements: never a mean, which one disturbed round would move. */
export interface Spread {
  median: number;
  min: number;
  max: number;
  count: number;
}

export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)!, count: sorted.length };
}

/** Round by round, so that what slowed a whole round does not count. Both must have been measured in the same rounds. */
export function ratioOf(numerators: readonly number[], denominators: readonly number[]): Spread {
  if (numerators.length !== denominators.length) throw new Error('ratio of unlike numbers of rounds');
  return spreadOf(numerators.map((value, round) => value / denominators[round]!));
}

/** When a count that only grows passed `target`, on a line between the two looks around it; both of a look grow. */
export function crossingOf(
  looks: readonly { at: number; count: number }[],
  target: number,
): number | undefined {
  const after = looks.findIndex(({ count }) => count >= target);
  if (after === -1) return undefined;
  const [before, behind] = [looks[after - 1], looks[after]!];
  if (!before || behind.count === before.count) return behind.at;
  const share = (target - before.count) / (behind.count - before.count);
  return before.at + share * (behind.at - before.at);
}
