import { closest, distance } from 'fastest-levenshtein';

export { closest };

/** Largest share of mistyped letters: beyond it a suggestion only confuses. */
const MAX_WRONG = 0.5;

/** Returns the name that `text` probably means; `undefined` if none is near. */
export function nearest(text: string, names: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const limit = Math.max(1, lower.length * MAX_WRONG);
  // The distance is at least the difference of the lengths, and takes seconds to compute for a text of a megabyte.
  const near = names.filter((name) => Math.abs(lower.length - name.length) <= limit);
  if (near.length === 0) return undefined;
  const name = closest(lower, near);
  return distance(lower, name.toLowerCase()) <= limit ? name : undefined;
}
