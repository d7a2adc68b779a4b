/**
 * Ticks: 100 ns since 1970-01-01T00:00:00Z as a `bigint`, the resolution of .NET's DateTimeOffset and so of `createdOn`.
 *
 * A JS `Date` keeps 3 fraction digits and PostgreSQL's `timestamptz` 6, and rounds; order, watermark and identity therefore
 * rest on ticks alone.
 */
export const TICKS_PER_SECOND = 10_000_000n;
const TICKS_PER_MILLISECOND = 10_000n;
const TICKS_PER_MICROSECOND = 10n;

const PATTERN = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/**
 * Reads an RFC 3339 date-time with 0 to 7 fraction digits and `Z` or a numeric offset.
 * Gives `undefined` for anything else: no offset, more digits, a day or an hour that does not exist.
 */
export function parseTicks(text: string): bigint | undefined {
  const match = PATTERN.exec(text);
  if (!match) return undefined;
  const [
    ,
    year,
    month,
    day,
    hour,
    minute,
    second,
    fraction = '',
    sign,
    offsetHour = '0',
    offsetMinute = '0',
  ] = match;
  const millis = Date.UTC(2000, Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second));
  const date = new Date(millis);
  // Date.UTC reads the years 0 to 99 as 1900 to 1999; only setUTCFullYear takes them as they are.
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const isReal =
    Number(year) > 0 &&
    date.getUTCMonth() === Number(month) - 1 &&
    date.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60 &&
    Number(offsetHour) < 24 &&
    Number(offsetMinute) < 60;
  if (!isReal) return undefined;
  const offsetMinutes = (Number(offsetHour) * 60 + Number(offsetMinute)) * (sign === '-' ? -1 : 1);
  const ticks =
    BigInt(date.getTime() - offsetMinutes * 60_000) * TICKS_PER_MILLISECOND + BigInt(fraction.padEnd(7, '0'));
  return ticks >= MIN_TICKS && ticks <= MAX_TICKS ? ticks : undefined;
}

/** 0001-01-01T00:00:00Z, the first instant of .NET and of this program. */
export const MIN_TICKS = -62_135_596_800n * TICKS_PER_SECOND;
/** Older than any event: the frontier of a first run. */
export const BEFORE_ALL = MIN_TICKS - 1n;
/** 9999-12-31T23:59:59.9999999Z */
export const MAX_TICKS = 253_402_300_800n * TICKS_PER_SECOND - 1n;

/** Ticks as `YYYY-MM-DDThh:mm:ss.fffffffZ`, always seven fraction digits. */
export function formatTicks(ticks: bigint): string {
  const fraction = floorMod(ticks, TICKS_PER_SECOND);
  const date = new Date(Number((ticks - fraction) / TICKS_PER_MILLISECOND));
  return `${date.toISOString().slice(0, 19)}.${fraction.toString().padStart(7, '0')}Z`;
}

/** Ticks as a literal for `timestamptz`: six fraction digits, cut and not rounded. */
export function formatMicroseconds(ticks: bigint): string {
  return `${formatTicks(ticks).slice(0, -2)}Z`;
}

export function ticksOfDate(date: Date): bigint {
  return BigInt(date.getTime()) * TICKS_PER_MILLISECOND;
}

/** The date of the ticks, cut to the millisecond. */
export function dateOfTicks(ticks: bigint): Date {
  return new Date(Number((ticks - floorMod(ticks, TICKS_PER_MILLISECOND)) / TICKS_PER_MILLISECOND));
}

export function ticksOfMilliseconds(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds)) * TICKS_PER_MILLISECOND;
}

/** The microsecond the ticks lie in, as PostgreSQL keeps it. */
export function floorToMicrosecond(ticks: bigint): bigint {
  return ticks - floorMod(ticks, TICKS_PER_MICROSECOND);
}

function floorMod(value: bigint, modulus: bigint): bigint {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
}
