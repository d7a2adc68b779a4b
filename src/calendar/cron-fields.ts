/**
 * Reads the fields of a cron expression. A field that cannot mean what was intended, such as a step larger than the field, is
 * refused with a sentence, because a cron library that accepts it runs at other times than the operator expects.
 */
export interface Field {
  readonly name: 'second' | 'minute' | 'hour' | 'day of the month' | 'month' | 'day of the week';
  readonly min: number;
  readonly max: number;
  /** Names of the values, beginning with `min`. */
  readonly names?: readonly string[];
  /** Other forms that a value of this field may have, and how they are written for croner. */
  readonly special?: RegExp;
}

const MONTHS = 'january february march april may june july august september october november december'.split(
  ' ',
);
const DAYS = 'sunday monday tuesday wednesday thursday friday saturday'.split(' ');

/** In the order of an expression with six fields. */
export const FIELDS: readonly Field[] = [
  { name: 'second', min: 0, max: 59 },
  { name: 'minute', min: 0, max: 59 },
  { name: 'hour', min: 0, max: 23 },
  { name: 'day of the month', min: 1, max: 31, special: /^(L|LW|([1-9]|[12]\d|3[01])W)$/i },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of the week', min: 0, max: 6, names: DAYS, special: /^[0-7](L|#[1-5]|#L)$/i },
];

/** A field with a fault. The message completes a sentence: `the minute …`. */
export class FieldError extends Error {}

/**
 * Returns the field as croner reads it: `*`, `*` with a step, or a list of values without ranges. Throws `FieldError`.
 */
export function normalizeField(text: string, field: Field): string {
  if (text === '?' && isDayField(field)) return '*';
  const tokens = text.split(',').map((token) => normalizeToken(token, field));
  const every = tokens.find((token) => token === '*');
  return every ?? tokens.join(',');
}

function isDayField({ name }: Field): boolean {
  return name.startsWith('day');
}

function normalizeToken(token: string, field: Field): string {
  if (field.special?.test(token)) return token.toUpperCase();
  const { first, last, step } = readRange(token, field);
  const { min, max } = field;
  const size = max - min + 1;
  // A range that ends before it begins continues at the start of the field, as in 22-2 or fri-mon.
  const length = ((((last - first) % size) + size) % size) + 1;
  const isWhole = first === min && length === size;
  if (step > 1 && step >= (isWhole ? size + 1 : length)) throw tooLargeStep(token, step, field, isWhole);
  // A range of all days is a restriction beside the other day field, and * is none. Other fields do not depend on each other.
  if (token.startsWith('*') || (isWhole && !isDayField(field))) return step === 1 ? '*' : `*/${step}`;
  const values: number[] = [];
  for (let i = 0; i < length; i += step) values.push(min + ((first - min + i) % size));
  return values.join(',');
}

/** Reads `*`, `5`, `5-10`, and the first and the last with a step. */
function readRange(token: string, field: Field): { first: number; last: number; step: number } {
  const match = /^(?:(\*)|([a-z\d]+)(?:-([a-z\d]+))?)(?:\/(\d+))?$/i.exec(token);
  if (!match) throw new FieldError(explainForm(token, field));
  const [, star, from, to, stepText] = match;
  const step = stepText === undefined ? 1 : Number(stepText);
  if (step === 0) throw new FieldError(`${shown(token)} has a step of 0; the smallest is 1`);
  if (star !== undefined) return { first: field.min, last: field.max, step };
  const first = readValue(from!, token, field);
  if (to === undefined && stepText !== undefined)
    throw new FieldError(`${shown(token)} has a step but no range; write ${from}-${field.max}/${step}`);
  return { first, last: to === undefined ? first : readValue(to, token, field), step };
}

function readValue(text: string, token: string, field: Field): number {
  const { min, max, names, name } = field;
  const named = names?.findIndex(
    (each) => text.toLowerCase() === each || text.toLowerCase() === each.slice(0, 3),
  );
  if (named !== undefined && named >= 0) return min + named;
  if (!/^\d+$/.test(text)) throw new FieldError(explainForm(token, field));
  const value = Number(text);
  // Sunday is 0 and 7.
  if (name === 'day of the week' && value === 7) return 0;
  if (value < min || value > max) {
    const highest = name === 'day of the week' ? 7 : max;
    throw new FieldError(`${shown(text)} is not one of ${min} to ${highest}`);
  }
  return value;
}

function tooLargeStep(token: string, step: number, field: Field, isWhole: boolean): FieldError {
  const range = isWhole ? `the field, ${field.min} to ${field.max}` : 'its range';
  return new FieldError(
    `${shown(token)} has a step of ${step}, which is larger than ${range}, so that only the first value would be left`,
  );
}

function explainForm(token: string, { name }: Field): string {
  if (token === '') return 'it has an empty value beside a comma';
  if (name === 'day of the month' && /^L-/i.test(token))
    return `${shown(token)} is not supported; L alone is the last day, LW the last weekday`;
  if (name === 'day of the week' && /^L$/i.test(token))
    return 'L needs a day in front of it: 5L is the last Friday of the month';
  if (name === 'day of the week' && token.includes('#'))
    return `${shown(token)} is not one of the forms 5#1 to 5#5, the first to the fifth Friday of the month, and 5L, the last one`;
  return `${shown(token)} is not understood`;
}

function shown(text: string): string {
  return text.length > 30 ? `${text.slice(0, 30)}…` : text;
}
