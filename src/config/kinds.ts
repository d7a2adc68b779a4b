import ms from 'ms';
import * as z from 'zod';
import { parseCron } from '../calendar/cron.ts';
import { CLASSIC_LOG } from '../core/log-key.ts';
import { explainPostgresUrl, parsePostgresUrl } from '../text/postgres-url.ts';

/** The schema that parses one variable's text, and a description of the text it accepts. */
export interface Kind<T = unknown> {
  readonly schema: z.ZodType<T, string>;
  /** Completes "expected …". */
  readonly expected: string;
  /** All accepted words, if there are few: an error message suggests the nearest one. */
  readonly choices?: readonly string[];
  /** Says what is wrong with a text that is not accepted, as a clause that follows it. */
  readonly problemOf?: (text: string) => string | undefined;
  /** What to write instead of a known wrong form, without any part of `text`; `undefined` for other texts. */
  readonly explain?: (text: string) => string | undefined;
}

const languages = 'en ja de es es-mx fr ko pt pt-br ru tr zh-cn zh-tw'.split(' ');
const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

/** A whole number in a closed range. Signs, exponents and other radixes are rejected. */
export function integer(min: number, max: number): Kind<number> {
  return {
    schema: z
      .string()
      .regex(/^\d{1,15}$/)
      .transform(Number)
      .pipe(z.number().min(min).max(max)),
    expected: `a whole number from ${min} to ${max}`,
  };
}

/** A duration with its unit, from `min` to `max`, parsed to milliseconds. */
export function duration(min: ms.StringValue, max: ms.StringValue): Kind<number> {
  return {
    schema: z
      .string()
      .regex(/^\d{1,15}(\.\d{1,9})? ?(ms|s|m|h|d|w)$/)
      .transform((text) => Math.round(ms(text as ms.StringValue)))
      .pipe(z.number().min(ms(min)).max(ms(max))),
    expected: `a duration with its unit, such as 500ms, 30s, 2m, 1h or 7d, from ${min} to ${max}`,
  };
}

/** Text of one line that matches `shape`; `expected` describes it. */
export function text(expected: string, shape = /^[^\p{Cc}\p{Surrogate}]+$/u): Kind<string> {
  return { schema: z.string().regex(shape), expected };
}

/** Keys as PEM text. `parseLedgerKeys` reads them. */
export const pem: Kind<string> = { schema: z.string(), expected: 'an Ed25519 key as PEM text' };

/** Accepts `off`, parsed to `undefined`, or what `kind` accepts. */
export function orOff<T>(kind: Kind<T>): Kind<T | undefined> {
  const off = z.literal('off').transform(() => undefined);
  return { ...kind, schema: z.union([off, kind.schema]), expected: `${kind.expected}, or off` };
}

export const flag: Kind<boolean> = {
  schema: z.stringbool(),
  expected: 'true or false',
  choices: ['true', 'false'],
};

/** A list, once there are more logs. */
export const onlyLog: Kind<string> = {
  schema: z.literal(CLASSIC_LOG),
  expected: `${CLASSIC_LOG}, the only log that this version exports`,
  choices: [CLASSIC_LOG],
};

export const language: Kind<string> = {
  schema: z.string().toLowerCase().pipe(z.enum(languages)),
  expected: `one of the languages UiPath documents: ${languages.join(', ')}`,
  choices: languages,
};

export const logLevel: Kind<(typeof logLevels)[number]> = {
  schema: z.string().toLowerCase().pipe(z.enum(logLevels)),
  expected: `one of ${logLevels.join(', ')}`,
  choices: logLevels,
};

/** One path segment of a URL, not yet percent-encoded. */
export const pathSegment = (what: string): Kind<string> => ({
  schema: z
    .string()
    .max(255)
    .regex(/^[^/\\?#\p{Cc}\p{Surrogate}]+$/u)
    .refine((segment) => segment !== '.' && segment !== '..'),
  expected: `${what}, one part of a path, without / \\ ? or #`,
});

export const cron: Kind<string> = {
  schema: z.string().refine((expression) => problemOfCron(expression) === undefined),
  expected: 'a cron expression of five fields, or six with seconds first',
  problemOf: problemOfCron,
};

export const timeZone: Kind<string> = {
  schema: z.string().refine(isTimeZone),
  expected: 'a time zone of the IANA database, such as UTC or Europe/Berlin',
};

/** An `http` or `https` URL, parsed without trailing slashes. */
export const webAddress: Kind<string> = {
  schema: z.string().refine(isWebAddress).transform(withoutTrailingSlash),
  expected: 'an address such as https://cloud.uipath.com, without user, query or fragment',
};

export const postgresUrl: Kind<string> = {
  schema: z.string().refine((address) => parsePostgresUrl(address) !== undefined),
  expected:
    'postgres://user:password@host:5432/database, with special characters of the password percent-encoded ' +
    '(/ as %2F, @ as %40, # as %23, % as %25)',
  explain: explainPostgresUrl,
};

/** Whether `address` is an absolute http or https URL without user, query or fragment. */
export function isWebAddress(address: string): boolean {
  if (!/^https?:\/\/[^?#]+$/i.test(address) || !URL.canParse(address)) return false;
  const url = new URL(address);
  return url.username === '' && url.password === '';
}

function problemOfCron(expression: string): string | undefined {
  const parsed = parseCron(expression);
  return 'problem' in parsed ? parsed.problem : undefined;
}

function withoutTrailingSlash(address: string): string {
  return new URL(address).href.replace(/(?<!\/)\/+$/, '');
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
