import { closest, distance } from 'fastest-levenshtein';

/** At most this part of the letters may be mistyped: beyond it a suggestion only confuses. */
const MOST_WRONG = 0.5;

/** The one of `names` that was probably meant by `text`; `undefined` where none is near. */
export function nearest(text: string, names: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const name = closest(lower, names);
  return distance(lower, name.toLowerCase()) <= Math.max(1, lower.length * MOST_WRONG) ? name : undefined;
}
