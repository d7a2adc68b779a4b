import type { Random } from './random.ts';

/** The error bodies UiPath documents, and its gateway's page. */
export const ERROR_SHAPES = ['message', 'problem', 'errorMessage', 'error', 'oauth', 'html'] as const;
export type ErrorShape = (typeof ERROR_SHAPES)[number];

/** Faulty responses beside a plain HTTP status. */
export const FAULT_NAMES = [
  /** The portal's page with status 200. */
  'html',
  /** `Content-Length` promises the whole body, half of it comes, then the connection closes. */
  'half-length',
  /** A chunked body that stops in the middle, then the connection closes. */
  'half-chunked',
  /** Half the JSON in a response that is otherwise complete. */
  'half-clean',
  /** The connection is reset before a response. */
  'reset',
  /** No response, ever. */
  'silence',
  /** The response at `bytesPerSecond`. */
  'drip',
  /** `results: null`. */
  'null-results',
  /** No rows although `totalCount` says there are. */
  'empty',
  /** All tokens die, then 401. */
  'revoke',
  /** A response of `bytes` more bytes than needed. */
  'huge',
  /** The same, gzipped to a thousandth, whether or not the client accepts gzip. */
  'bomb',
  /** 302 to `location`. */
  'redirect',
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/** When to send which response. Without `every`, `next` or `probability` the rule applies to each request. */
export interface FaultRule {
  /** A name, or an HTTP status. */
  fault: FaultName | number;
  /** Default `list`. */
  on?: 'list' | 'token' | 'both';
  /** Spares the first requests after the rule was set. */
  after?: number;
  /** Each n-th request. */
  every?: number;
  /** The next n requests, and then no more. */
  next?: number;
  /** 0 to 1. */
  probability?: number;
  /** Body of an HTTP status; default `message`. */
  body?: ErrorShape;
  /** Sent as `Retry-After`: seconds, or with `asDate` the date that many seconds ahead. */
  retryAfter?: number;
  asDate?: boolean;
  /** For `drip`; default 1. */
  bytesPerSecond?: number;
  /** For `huge` and `bomb`; default 128 MiB. */
  bytes?: number;
  /** For `redirect`. */
  location?: string;
}

/** Keeps count of requests for a set of rules. */
export class FaultPlan {
  #seen: number[];

  constructor(
    private readonly rules: readonly FaultRule[],
    private readonly random: Random,
  ) {
    this.#seen = rules.map(() => 0);
  }

  /** The rule for this request, if one applies. */
  next(kind: 'list' | 'token'): FaultRule | undefined {
    const due = this.rules.filter((rule, i) => {
      const { on = 'list', after = 0, every, next, probability } = rule;
      if (on !== kind && on !== 'both') return false;
      this.#seen[i]!++;
      const number = this.#seen[i]! - after;
      return (
        number > 0 &&
        (every === undefined || number % every === 0) &&
        (next === undefined || number <= next) &&
        (probability === undefined || this.random() < probability)
      );
    });
    return due[0];
  }
}

const NUMBER_SETTINGS = [
  'after',
  'every',
  'next',
  'probability',
  'retryAfter',
  'bytesPerSecond',
  'bytes',
] as const;

/**
 * Reads a rule as the command line writes it: `NAME_OR_STATUS[:key=value[,key=value…]]`, for example
 * `503:every=10,retryAfter=2` or `reset:probability=0.05`. Throws an `Error` that says what is wrong.
 */
export function parseFaultRule(text: string): FaultRule {
  const [name = '', settings = ''] = text.split(/:(.*)/s);
  const rule: FaultRule = { fault: parseFault(name) };
  for (const setting of settings.split(',').filter(Boolean)) {
    const [key = '', value = ''] = setting.split(/=(.*)/s);
    const numberKey = NUMBER_SETTINGS.find((known) => known === key);
    if (numberKey) {
      if (value === '' || !(Number(value) >= 0))
        throw new Error(`${key} must be a number of 0 or more, not "${value}"`);
      rule[numberKey] = Number(value);
    } else if (key === 'on' && (value === 'list' || value === 'token' || value === 'both')) rule.on = value;
    else if (key === 'body') rule.body = parseShape(value);
    else if (key === 'asDate') rule.asDate = value !== 'false';
    else if (key === 'location') rule.location = value;
    else
      throw new Error(
        `"${setting}" is not a setting of a fault; known: on, body, asDate, location, ${NUMBER_SETTINGS.join(', ')}`,
      );
  }
  return rule;
}

function parseFault(name: string): FaultName | number {
  const known = FAULT_NAMES.find((fault) => fault === name);
  if (known) return known;
  if (/^[2-5]\d\d$/.test(name)) return Number(name);
  throw new Error(`"${name}" is no fault; use an HTTP status or one of ${FAULT_NAMES.join(', ')}`);
}

function parseShape(name: string): ErrorShape {
  const known = ERROR_SHAPES.find((shape) => shape === name);
  if (known) return known;
  throw new Error(`"${name}" is no error body; use one of ${ERROR_SHAPES.join(', ')}`);
}
