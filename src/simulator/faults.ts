import type { Random } from './random.ts';

/** Shapes of error bodies: those UiPath documents, and the page of its gateway. */
export const ERROR_SHAPES = ['message', 'problem', 'errorMessage', 'error', 'oauth', 'html'] as const;
export type ErrorShape = (typeof ERROR_SHAPES)[number];

/** Faults other than an HTTP status. */
export const FAULT_NAMES = [
  /** The portal's page with status 200. */
  'html',
  /** The connection closes after half of the `Content-Length`. */
  'half-length',
  /** The connection closes in the middle of a chunked body. */
  'half-chunked',
  /** A complete response with half of the JSON. */
  'half-clean',
  /** The connection is reset before the response. */
  'reset',
  /** No response. */
  'silence',
  /** The response at `bytesPerSecond`. */
  'drip',
  /** `results: null`. */
  'null-results',
  /** No rows although `totalCount` says there are. */
  'empty',
  /** All tokens are revoked; the response is 401. */
  'revoke',
  /** A response of `bytes` more bytes than needed. */
  'huge',
  /** The same, compressed to a thousandth by gzip, even if the client does not accept gzip. */
  'bomb',
  /** 302 to `location`. */
  'redirect',
] as const;
export type FaultName = (typeof FAULT_NAMES)[number];

/** A fault and the requests it applies to. Without `every`, `next` or `probability` it applies to each request. */
export interface FaultRule {
  /** Name of a fault, or HTTP status. */
  fault: FaultName | number;
  /** Default `list`. */
  on?: 'list' | 'token' | 'both';
  /** Skips this many requests after the rule was set. */
  after?: number;
  /** Each n-th request. */
  every?: number;
  /** Only the next n requests. */
  next?: number;
  /** 0 to 1. */
  probability?: number;
  /** Body of an HTTP status; default `message`. */
  body?: ErrorShape;
  /** Value of `Retry-After` in seconds; with `asDate`, sent as a date this many seconds from now. */
  retryAfter?: number;
  asDate?: boolean;
  /** For `drip`; default 1. */
  bytesPerSecond?: number;
  /** For `huge` and `bomb`; default 128 MiB. */
  bytes?: number;
  /** For `redirect`. */
  location?: string;
}

/** Counts requests and selects the rule that applies. */
export class FaultPlan {
  #seen: number[];

  constructor(
    private readonly rules: readonly FaultRule[],
    private readonly random: Random,
  ) {
    this.#seen = rules.map(() => 0);
  }

  /** Returns the rule for this request, if one applies. */
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
 * Parses a rule of the command line: `NAME_OR_STATUS[:key=value[,key=value…]]`, for example
 * `503:every=10,retryAfter=2` or `reset:probability=0.05`. Throws an `Error` that explains the problem.
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
        `"${setting}" is not a setting of a fault; known settings: on, body, asDate, location, ${NUMBER_SETTINGS.join(', ')}`,
      );
  }
  return rule;
}

function parseFault(name: string): FaultName | number {
  const known = FAULT_NAMES.find((fault) => fault === name);
  if (known) return known;
  if (/^[2-5]\d\d$/.test(name)) return Number(name);
  throw new Error(`"${name}" is not a fault; use an HTTP status or one of ${FAULT_NAMES.join(', ')}`);
}

function parseShape(name: string): ErrorShape {
  const known = ERROR_SHAPES.find((shape) => shape === name);
  if (known) return known;
  throw new Error(`"${name}" is not an error body; use one of ${ERROR_SHAPES.join(', ')}`);
}
