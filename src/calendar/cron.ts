/** Cron expressions. croner evaluates them on a calendar without clock changes; `occurrences.ts` adds the time zone. */
import { Cron as Croner } from 'croner';
import { FIELDS, FieldError, normalizeField } from './cron-fields.ts';

/**
 * A parsed expression. A *local time* is a reading of a zone's clock, in milliseconds since 1970-01-01T00:00 on that clock.
 */
export interface Cron {
  /** The first matching local time after `local`. Every expression has one. */
  next(local: number): number;
  /** The last matching local time before `local`; `undefined` if there is none. */
  previous(local: number): number | undefined;
  /** As in Vixie cron: minute or hour begins with `*`. Other expressions name times of day. */
  readonly isInterval: boolean;
  /** The hour begins with `*`: the interval continues around the clock. */
  readonly isAroundTheClock: boolean;
  /** It may match at other seconds than 0. */
  readonly hasSeconds: boolean;
}

const NICKNAMES = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
]);
const DAYS_OF_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const ANY_TIME = Date.UTC(2000, 0, 1);

/** Parses an expression of five fields, or six with seconds first. `problem` says what is wrong with it, as a clause. */
export function parseCron(text: string): { cron: Cron } | { problem: string } {
  const nickname = text.trim().toLowerCase();
  if (nickname.startsWith('@') && !NICKNAMES.has(nickname)) return { problem: explainNickname(nickname) };
  const written = (NICKNAMES.get(nickname) ?? text).trim().split(/\s+/);
  if (written.length !== 5 && written.length !== 6) return { problem: explainCount(written.length) };
  const fields: string[] = [];
  for (const [i, field] of FIELDS.entries()) {
    const value = written.length === 5 ? (i === 0 ? '0' : written[i - 1]!) : written[i]!;
    try {
      fields.push(normalizeField(value, field));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      return { problem: `in the ${field.name} field, ${error.message}` };
    }
  }
  const isNever = namesOnlyMissingDays(fields) || open(fields).nextRun(new Date(ANY_TIME)) === null;
  return isNever
    ? { problem: 'which never occurs: none of its months has this day' }
    : { cron: describe(fields) };
}

function describe(fields: readonly string[]): Cron {
  const [second, minute, hour] = fields;
  const calendar = open(fields);
  return {
    next: (local) => calendar.nextRun(new Date(local))!.getTime(),
    previous: (local) => calendar.previousRuns(1, new Date(local))[0]?.getTime(),
    isInterval: minute!.startsWith('*') || hour!.startsWith('*'),
    isAroundTheClock: hour!.startsWith('*'),
    hasSeconds: second !== '0',
  };
}

function open(fields: readonly string[]): Croner {
  const [, , , dayOfMonth, , dayOfWeek] = fields;
  // As in Vixie cron: either day is enough, unless one of the two fields begins with *.
  const needsBothDays = dayOfMonth!.startsWith('*') || dayOfWeek!.startsWith('*');
  return new Croner(fields.join(' '), {
    mode: '6-part',
    paused: true,
    domAndDow: needsBothDays,
    utcOffset: 0,
  });
}

/** Whether the days of the month exist in none of the months. A day of the week beside them does not save them. */
function namesOnlyMissingDays([, , , days, months]: readonly string[]): boolean {
  if (days!.startsWith('*') || days!.includes('L')) return false;
  const first = Math.min(...days!.split(',').map((day) => Number.parseInt(day, 10)));
  const lengths = months!.startsWith('*')
    ? DAYS_OF_MONTH
    : months!.split(',').map((month) => DAYS_OF_MONTH[Number(month) - 1]!);
  return lengths.every((length) => first > length);
}

function explainNickname(nickname: string): string {
  const known = [...NICKNAMES.keys()].join(', ');
  if (nickname === '@reboot')
    return `which is not a time: start exports once when it starts. Known are ${known}`;
  return `whose nickname is not known. Known are ${known}; every five minutes is */5 * * * *`;
}

function explainCount(count: number): string {
  if (count === 7) return 'which has seven fields: a year is not supported';
  return `which has ${count} ${count === 1 ? 'field' : 'fields'}: minute, hour, day of the month, month, day of the week`;
}
