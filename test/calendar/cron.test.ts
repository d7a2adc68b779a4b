import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Cron, parseCron } from '../../src/calendar/cron.ts';

const FROM = Date.UTC(2026, 0, 1);

function parsed(expression: string): Cron {
  const result = parseCron(expression);
  if ('problem' in result) throw new Error(`${expression}: ${result.problem}`);
  return result.cron;
}

function firstThree(expression: string): string[] {
  const cron = parsed(expression);
  let at = FROM;
  return [1, 2, 3].map(() => {
    at = cron.next(at);
    return new Date(at).toISOString().replace(/T00:00:00.000Z|:00.000Z$/, '');
  });
}

describe('the days', () => {
  test.each([
    // Either the day of the month or the day of the week, as in crontab(5).
    ['0 0 1,15 * 1', ['2026-01-05', '2026-01-12', '2026-01-15']],
    ['0 0 13 * fri', ['2026-01-02', '2026-01-09', '2026-01-13']],
    // A field that begins with * restricts the other one.
    ['0 0 * * 1', ['2026-01-05', '2026-01-12', '2026-01-19']],
    ['0 0 */2 * 1', ['2026-01-05', '2026-01-19', '2026-02-09']],
    ['0 0 1 * */2', ['2026-02-01', '2026-03-01', '2026-08-01']],
    ['0 0 ? * 1', ['2026-01-05', '2026-01-12', '2026-01-19']],
    ['0 0 1 * ?', ['2026-02-01', '2026-03-01', '2026-04-01']],
    // A range of all days is a restriction, as in Vixie cron.
    ['0 0 1 * 0-6', ['2026-01-02', '2026-01-03', '2026-01-04']],
    ['0 0 1-31 * 1', ['2026-01-02', '2026-01-03', '2026-01-04']],
    ['0 0 29 2 *', ['2028-02-29', '2032-02-29', '2036-02-29']],
    ['0 0 31 * *', ['2026-01-31', '2026-03-31', '2026-05-31']],
    ['0 0 L * *', ['2026-01-31', '2026-02-28', '2026-03-31']],
    ['0 0 LW * *', ['2026-01-30', '2026-02-27', '2026-03-31']],
    ['0 0 15W * *', ['2026-01-15', '2026-02-16', '2026-03-16']],
    ['0 0 * * 5L', ['2026-01-30', '2026-02-27', '2026-03-27']],
    ['0 0 * * 5#2', ['2026-01-09', '2026-02-13', '2026-03-13']],
    ['0 0 * * 7', ['2026-01-04', '2026-01-11', '2026-01-18']],
    ['0 0 * * fri-mon', ['2026-01-02', '2026-01-03', '2026-01-04']],
    ['0 0 * * 5-7', ['2026-01-02', '2026-01-03', '2026-01-04']],
    ['0 0 1 jan,JUL *', ['2026-07-01', '2027-01-01', '2027-07-01']],
    ['0 0 1 january *', ['2027-01-01', '2028-01-01', '2029-01-01']],
  ])('of %s are %j', (expression, expected) => {
    expect(firstThree(expression)).toEqual(expected);
  });
});

test.each([
  ['@hourly', ['2026-01-01T01:00', '2026-01-01T02:00', '2026-01-01T03:00']],
  ['@daily', ['2026-01-02', '2026-01-03', '2026-01-04']],
  ['@midnight', ['2026-01-02', '2026-01-03', '2026-01-04']],
  ['@Weekly', ['2026-01-04', '2026-01-11', '2026-01-18']],
  ['@monthly', ['2026-02-01', '2026-03-01', '2026-04-01']],
  ['@yearly', ['2027-01-01', '2028-01-01', '2029-01-01']],
  ['@annually', ['2027-01-01', '2028-01-01', '2029-01-01']],
  ['0 22-2/2 * * *', ['2026-01-01T02:00', '2026-01-01T22:00', '2026-01-02']],
  ['0 */24 * * *', ['2026-01-02', '2026-01-03', '2026-01-04']],
  ['*/60 * * * *', ['2026-01-01T01:00', '2026-01-01T02:00', '2026-01-01T03:00']],
  ['  0   0 *\t* * ', ['2026-01-02', '2026-01-03', '2026-01-04']],
  ['*/20 * * * * *', ['2026-01-01T00:00:20.000Z', '2026-01-01T00:00:40.000Z', '2026-01-01T00:01']],
])('%s occurs at %j', (expression, expected) => {
  expect(firstThree(expression)).toEqual(expected);
});

test.each([
  ['*/5 * * * *', { isInterval: true, isAroundTheClock: true, hasSeconds: false }],
  ['0-59/5 0-23 * * *', { isInterval: true, isAroundTheClock: true, hasSeconds: false }],
  ['30 * * * *', { isInterval: true, isAroundTheClock: true, hasSeconds: false }],
  ['*/5 2 * * *', { isInterval: true, isAroundTheClock: false, hasSeconds: false }],
  ['30 2 * * *', { isInterval: false, isAroundTheClock: false, hasSeconds: false }],
  ['0,30 1-6 * * *', { isInterval: false, isAroundTheClock: false, hasSeconds: false }],
  ['0 30 2 * * *', { isInterval: false, isAroundTheClock: false, hasSeconds: false }],
  ['15 30 2 * * *', { isInterval: false, isAroundTheClock: false, hasSeconds: true }],
])('%s is %j', (expression, expected) => {
  expect(parsed(expression)).toMatchObject(expected);
});

describe('what cannot be meant is refused with a sentence', () => {
  const tooLarge = (field: string, token: string, step: number, range: string) =>
    `in the ${field} field, ${token} has a step of ${step}, which is larger than ${range}, so that only the first value would be left`;
  const notOf = (field: string, value: string, range: string) =>
    `in the ${field} field, ${value} is not one of ${range}`;

  test.each([
    // A step larger than its field, in each field.
    ['*/61 * * * * *', tooLarge('second', '*/61', 61, 'the field, 0 to 59')],
    ['*/90 * * * *', tooLarge('minute', '*/90', 90, 'the field, 0 to 59')],
    ['0-59/90 * * * *', tooLarge('minute', '0-59/90', 90, 'the field, 0 to 59')],
    ['0 */36 * * *', tooLarge('hour', '*/36', 36, 'the field, 0 to 23')],
    ['0 0 */45 * *', tooLarge('day of the month', '*/45', 45, 'the field, 1 to 31')],
    ['0 0 1 */13 *', tooLarge('month', '*/13', 13, 'the field, 1 to 12')],
    ['0 0 * * */14', tooLarge('day of the week', '*/14', 14, 'the field, 0 to 6')],
    // A step larger than its range.
    ['0-5/10 * * * *', tooLarge('minute', '0-5/10', 10, 'its range')],
    ['0 9-17/9 * * *', tooLarge('hour', '9-17/9', 9, 'its range')],
    ['0 22-2/5 * * *', tooLarge('hour', '22-2/5', 5, 'its range')],
    ['*/0 * * * *', 'in the minute field, */0 has a step of 0; the smallest is 1'],
    ['5/15 * * * *', 'in the minute field, 5/15 has a step but no range; write 5-59/15'],
    // Values outside of the field.
    ['60 * * * * *', notOf('second', '60', '0 to 59')],
    ['60 * * * *', notOf('minute', '60', '0 to 59')],
    ['0 24 * * *', notOf('hour', '24', '0 to 23')],
    ['0 0 0 * *', notOf('day of the month', '0', '1 to 31')],
    ['0 0 32 * *', notOf('day of the month', '32', '1 to 31')],
    ['0 0 1 13 *', notOf('month', '13', '1 to 12')],
    ['0 0 1 0 *', notOf('month', '0', '1 to 12')],
    ['0 0 * * 8', notOf('day of the week', '8', '0 to 7')],
    ['0-999999999 * * * *', notOf('minute', '999999999', '0 to 59')],
    // Days that do not exist.
    ['0 0 31 2 *', 'which never occurs: none of its months has this day'],
    ['0 0 30 feb *', 'which never occurs: none of its months has this day'],
    ['0 0 30,31 2 *', 'which never occurs: none of its months has this day'],
    ['0 0 31 4,6,9,11 *', 'which never occurs: none of its months has this day'],
    ['0 0 31 2 1', 'which never occurs: none of its months has this day'],
    ['0 0 31W 2 *', 'which never occurs: none of its months has this day'],
    // Extensions of other programs.
    ['@reboot', /^which is not a time: start exports once when it starts\. Known are @yearly, /],
    ['@every 5m', /^whose nickname is not known\. .* every five minutes is \*\/5 \* \* \* \*$/],
    [
      '0 0 L-3 * *',
      'in the day of the month field, L-3 is not supported; L alone is the last day, LW the last weekday',
    ],
    [
      '0 0 * * L',
      'in the day of the week field, L needs a day in front of it: 5L is the last Friday of the month',
    ],
    ['0 0 * * 5#6', /^in the day of the week field, 5#6 is not one of the forms 5#1 to 5#5/],
    ['0 0 * * +1', 'in the day of the week field, +1 is not understood'],
    ['H * * * *', 'in the minute field, H is not understood'],
    ['~ * * * *', 'in the minute field, ~ is not understood'],
    ['? * * * *', 'in the minute field, ? is not understood'],
    ['0 0 32W * *', 'in the day of the month field, 32W is not understood'],
    ['0 0 1 1 * 2030', notOf('day of the week', '2030', '0 to 7')],
    ['0 0 0 1 1 * 2030', 'which has seven fields: a year is not supported'],
    // Not an expression.
    ['', /^which has 1 field: minute, hour/],
    ['5m', /^which has 1 field: minute, hour/],
    ['* * * *', /^which has 4 fields: minute, hour/],
    ['5, * * * *', 'in the minute field, it has an empty value beside a comma'],
    ['1-2-3 * * * *', 'in the minute field, 1-2-3 is not understood'],
    ['-1 * * * *', 'in the minute field, -1 is not understood'],
    ['1.5 * * * *', 'in the minute field, 1.5 is not understood'],
    ['mon * * * *', 'in the minute field, mon is not understood'],
    ['0 0 * * jan', 'in the day of the week field, jan is not understood'],
    ['٣ * * * *', 'in the minute field, ٣ is not understood'],
    [`${'1'.repeat(99)} * * * *`, `in the minute field, ${'1'.repeat(30)}… is not one of 0 to 59`],
  ])('%s', (expression, problem) => {
    expect(parseCron(expression)).toEqual({
      problem: expect.stringMatching(typeof problem === 'string' ? exactly(problem) : problem),
    });
  });

  test('any text is parsed or refused, and never throws', () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .array(fc.stringMatching(/^[\d*/,\-?LW#a-z@]{1,6}$/), { maxLength: 8 })
        .map((parts) => parts.join(' ')),
    );
    fc.assert(
      fc.property(text, (expression) => {
        const result = parseCron(expression);
        if ('cron' in result) expect(result.cron.next(FROM)).toBeGreaterThan(FROM);
        else expect(result.problem).not.toBe('');
      }),
    );
  });
});

function exactly(text: string): RegExp {
  return new RegExp(`^${text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')}$`);
}

/** Each field as a set of values, and how it is written. */
function fieldOf(min: number, max: number): fc.Arbitrary<{ text: string; values: Set<number> }> {
  const all = Array.from({ length: max - min + 1 }, (_, i) => min + i);
  const list = fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 4 }).map((values) => ({
    text: values.join(','),
    values: new Set(values),
  }));
  const range = fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }), fc.integer({ min: 1, max: 3 }))
    .chain(([a, b, step]) => {
      const [first, last] = [Math.min(a, b), Math.max(a, b)];
      const used = last - first < step ? 1 : step;
      const values = all.filter((value) => value >= first && value <= last && (value - first) % used === 0);
      return fc.constant({ text: `${first}-${last}/${used}`, values: new Set(values) });
    });
  const star = fc.integer({ min: 1, max: Math.min(7, max - min) }).map((step) => ({
    text: step === 1 ? '*' : `*/${step}`,
    values: new Set(all.filter((value) => (value - min) % step === 0)),
  }));
  return fc.oneof(list, range, star);
}

test('an expression occurs at the minutes whose fields match, by crontab(5)', () => {
  const expression = fc.record({
    minute: fieldOf(0, 59),
    hour: fieldOf(0, 23),
    dayOfMonth: fieldOf(1, 31),
    month: fieldOf(1, 12),
    dayOfWeek: fieldOf(0, 6),
  });
  fc.assert(
    fc.property(expression, fc.integer({ min: 0, max: 400 * 1440 }), (fields, minutes) => {
      const { minute, hour, dayOfMonth, month, dayOfWeek } = fields;
      const text = [minute, hour, dayOfMonth, month, dayOfWeek].map((field) => field.text).join(' ');
      // A day that no month has.
      fc.pre('cron' in parseCron(text));
      const isMatching = (at: number) => {
        const date = new Date(at);
        const isDay = dayOfMonth.values.has(date.getUTCDate());
        const isWeekday = dayOfWeek.values.has(date.getUTCDay());
        const isEither = !dayOfMonth.text.startsWith('*') && !dayOfWeek.text.startsWith('*');
        return (
          minute.values.has(date.getUTCMinutes()) &&
          hour.values.has(date.getUTCHours()) &&
          month.values.has(date.getUTCMonth() + 1) &&
          (isEither ? isDay || isWeekday : isDay && isWeekday)
        );
      };
      const from = FROM + minutes * 60_000;
      const next = parsed(text).next(from);
      let first = from + 60_000;
      while (first < Math.min(next, from + 3 * 86_400_000) && !isMatching(first)) first += 60_000;
      expect([first === next || next > first, isMatching(first), isMatching(next)]).toEqual([
        true,
        first === next,
        true,
      ]);
    }),
    { numRuns: Number(process.env.PROPERTY_RUNS ?? 60) },
  );
});
