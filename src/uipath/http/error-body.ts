/** What an error answer says of itself, whichever of the documented shapes carries it; `null` where it says nothing. */
interface ErrorBody {
  /** On one line, at most 300 characters. Not trusted: it may quote what was sent. */
  message: string | null;
  /** What UiPath's support asks for; `null` for what does not look like one. */
  traceId: string | null;
  /** The OAuth error code, such as `invalid_client`; `null` for what is none. */
  code: string | null;
  /** Not JSON: a page or plain text. */
  isText: boolean;
}

const NOTHING: ErrorBody = { message: null, traceId: null, code: null, isText: false };
const MAX_MESSAGE_LENGTH = 300;
/** A W3C trace context, a GUID or another number in hexadecimal, or the short ids of web servers. */
const traceIds = /^([0-9a-f|.:-]{1,64}|[\w.:-]{1,24})$/i;
/** RFC 6749, and what OpenID Connect and UiPath have added in its manner. */
const codes = /^[a-z][a-z_]{2,39}$/;
const MOST_VALUES = 1_000;
/** Of objects in objects, and of JSON in the strings of JSON. */
const MOST_NESTED = 8;

/**
 * Reads an error answer: `{message, errorCode, traceId}`, RFC 7807's `{title, status, errors, traceId}`, `{errorMessage}`,
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
  const said = [
    body.message,
    body.errorMessage,
    inner.message,
    body.error_description,
    joinProblem(body),
    body.error,
    inner.code,
    body.errorCode,
  ];
  const message = said.map((text) => tidy(text, MAX_MESSAGE_LENGTH)).find((text) => text !== null) ?? null;
  const traceId = matching(body.traceId ?? inner.traceId, traceIds);
  return { message, traceId, code: matching(body.error, codes), isText: false };
}

/**
 * The texts in which a secret that `text` holds can be found: all of it, and its values joined in both orders, with and without
 * their names, since a secret may be divided among fields.
 */
export function textsOf(text: string): string[] {
  const values: string[] = [];
  const withNames: string[] = [];
  const collect = (value: unknown, depth: number): void => {
    if (values.length >= MOST_VALUES || depth > MOST_NESTED) return;
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

/** RFC 7807: the title, the detail, and the first complaint about each field. */
function joinProblem({ title, detail, errors }: Record<string, unknown>): string | null {
  const complaints = isObject(errors)
    ? Object.entries(errors).map(([field, found]) => `${field}: ${Array.isArray(found) ? found[0] : found}`)
    : [];
  const parts = [title, detail, ...complaints].filter((part) => typeof part === 'string' && part !== '');
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
  // Ten times the length is enough to collapse the white space of, and keeps a hostile megabyte cheap.
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
