import { closest, distance } from 'fastest-levenshtein';

export { closest };

/** At most this part of the letters may be mistyped: beyond it a suggestion only confuses. */
const MAX_WRONG = 0.5;

/** The one of `names` that was probably meant by `text`; `undefined` where none is near. */
export function nearest(text: string, names: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const name = closest(lower, names);
  return distance(lower, name.toLowerCase()) <= Math.max(1, lower.length * MAX_WRONG) ? name : undefined;
}
