/** The contents of an error response in any of the documented shapes. `null` for what it does not contain. */
interface ErrorBody {
  /** One line of at most 300 characters. Not trusted: it may quote the request. */
  message: string | null;
  /** The trace id that UiPath's support needs; `null` if the value does not look like one. */
  traceId: string | null;
  /** The OAuth error code, such as `invalid_client`; `null` if the value is not one. */
  code: string | null;
  /** Whether the body is not JSON but HTML or plain text. */
  isText: boolean;
}

const NOTHING: ErrorBody = { message: null, traceId: null, code: null, isText: false };
const MAX_MESSAGE_LENGTH = 300;
/** A W3C trace context, a GUID or another hexadecimal number, or the short id of a web server. */
const traceIds = /^([0-9a-f|.:-]{1,64}|[\w.:-]{1,24})$/i;
/** RFC 6749, and the codes in the same form that OpenID Connect and UiPath have added. */
const codes = /^[a-z][a-z_]{2,39}$/;
const MAX_VALUES = 1_000;
/** Levels of nested objects, and of JSON within strings of JSON. */
const MAX_NESTING = 8;

/**
 * Parses an error response: `{message, errorCode, traceId}`, RFC 7807's `{title, status, errors, traceId}`, `{errorMessage}`,
 * `{error: {code, message}}`, OAuth's `{error, error_description}`, or the title of a gateway's HTML page. Never throws.
 */
export function parseErrorBody(text: string): ErrorBody {
  const trimmed = text.replace(/^\uFEFF/, '').trim();
  if (trimmed.startsWith('<')) return { ...NOTHING, message: readTitle(trimmed), isText: true };
  const body = parseJson(trimmed);
  if (body === undefined) {
    return { ...NOTHING, message: tidy(trimmed, MAX_MESSAGE_LENGTH), isText: true };
  }
  if (typeof body === 'string') return { ...NOTHING, message: tidy(body, MAX_MESSAGE_LENGTH), isText: true };
  if (!isObject(body)) return NOTHING;
  const inner = isObject(body.error) ? body.error : {};
  const candidates = [
    body.message,
    body.errorMessage,
    inner.message,
    body.error_description,
    joinProblem(body),
    body.error,
    inner.code,
    body.errorCode,
  ];
  const message =
    candidates.map((text) => tidy(text, MAX_MESSAGE_LENGTH)).find((text) => text !== null) ?? null;
  const traceId = matching(body.traceId ?? inner.traceId, traceIds);
  return { message, traceId, code: matching(body.error, codes), isText: false };
}

/**
 * The texts to search for secrets: the whole body, and its values joined in both orders, with and without their names, because
 * a secret may be split over several fields.
 */
export function textsOf(text: string): string[] {
  const values: string[] = [];
  const withNames: string[] = [];
  const collect = (value: unknown, depth: number): void => {
    if (values.length >= MAX_VALUES || depth > MAX_NESTING) return;
    if (typeof value === 'object' && value !== null) {
      for (const [name, item] of Object.entries(value)) {
        if (!Array.isArray(value)) withNames.push(name);
        collect(item, depth + 1);
      }
      return;
    }
    const shown = String(value);
    const nested = /^\uFEFF?\s*[[{]/.test(shown) ? parseJson(shown) : undefined;
    if (nested === undefined) {
      values.push(shown);
      withNames.push(shown);
    } else collect(nested, depth + 1);
  };
  collect(text, 0);
  return [...new Set([text, withNames.join(''), values.join(''), values.reverse().join('')])];
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch {
    return undefined;
  }
}

function matching(value: unknown, pattern: RegExp): string | null {
  return typeof value === 'string' && pattern.test(value) ? value : null;
}

/** RFC 7807: the title, the detail, and the first error of each field. */
function joinProblem({ title, detail, errors }: Record<string, unknown>): string | null {
  const fieldErrors = isObject(errors)
    ? Object.entries(errors).map(([field, found]) => `${field}: ${Array.isArray(found) ? found[0] : found}`)
    : [];
  const parts = [title, detail, ...fieldErrors].filter((part) => typeof part === 'string' && part !== '');
  return parts.length > 0 ? parts.join('; ') : null;
}

function readTitle(html: string): string | null {
  const lower = html.toLowerCase();
  const open = lower.indexOf('<title');
  const start = html.indexOf('>', open) + 1;
  const end = lower.indexOf('</title', start);
  return open >= 0 && start > 0 && end >= 0 ? tidy(html.slice(start, end), MAX_MESSAGE_LENGTH) : null;
}

function tidy(value: unknown, maxLength: number): string | null {
  if (typeof value !== 'string') return null;
  // Ten times the length leaves room to collapse white space, and bounds the cost of a hostile body.
  const line = value
    .slice(0, maxLength * 10)
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  if (line === '') return null;
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
