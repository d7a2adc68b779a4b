import { closest, distance } from 'fastest-levenshtein';

export { closest };

/** Largest share of mistyped letters: beyond it a suggestion only confuses. */
const MAX_WRONG = 0.5;

/** Returns the name that `text` probably means; `undefined` if none is near. */
export function nearest(text: string, names: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const name = closest(lower, names);
  return distance(lower, name.toLowerCase()) <= Math.max(1, lower.length * MAX_WRONG) ? name : undefined;
}
