/** What an error answer says of itself, whichever of the documented shapes carries it; `null` where it says nothing. */
interface ErrorBody {
  /** On one line, at most 300 characters. Not trusted: it may quote what was sent. */
  message: string | null;
  /** What UiPath's support asks for. */
  traceId: string | null;
  /** The OAuth error code, such as `invalid_client`. */
  code: string | null;
}

const MAX_MESSAGE_LENGTH = 300;
const MAX_ID_LENGTH = 100;

/**
 * Reads an error answer: `{message, errorCode, traceId}`, RFC 7807's `{title, status, errors, traceId}`, `{errorMessage}`,
 * `{error: {code, message}}`, OAuth's `{error, error_description}`, or the title of a gateway's HTML page. Never throws.
 */
export function parseErrorBody(text: string): ErrorBody {
  const trimmed = text.replace(/^\uFEFF/, '').trim();
  if (trimmed.startsWith('<')) return { message: readTitle(trimmed), traceId: null, code: null };
  let body: unknown;
  try {
    body = JSON.parse(trimmed);
  } catch {
    return { message: tidy(trimmed, MAX_MESSAGE_LENGTH), traceId: null, code: null };
  }
  if (typeof body === 'string') return { message: tidy(body, MAX_MESSAGE_LENGTH), traceId: null, code: null };
  if (!isObject(body)) return { message: null, traceId: null, code: null };
  const inner = isObject(body.error) ? body.error : {};
  const code = tidy(body.error, MAX_ID_LENGTH);
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
  return { message, traceId: tidy(body.traceId ?? inner.traceId, MAX_ID_LENGTH), code };
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
