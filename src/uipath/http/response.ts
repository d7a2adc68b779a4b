import { ExportError } from '../../core/errors.ts';
import { isRetriedStatus } from '../../core/retry.ts';
import { type Redactor, WITHHELD } from '../../text/redaction.ts';
import { parseErrorBody, textsOf } from './error-body.ts';
import { type HttpResponse, RequestFailure } from './request.ts';

/** Describes the request of a response, for messages. */
export interface RequestDescription {
  /** As shown in messages. */
  url: string;
  /** The variables to check if the request fails, as a phrase. */
  variables: string;
  /** Removes secrets, even if the source echoes them. */
  redact: Redactor;
  /** Whether it is a token request, which contains the client secret. */
  isToken?: boolean;
}

/** Maximum bytes of an error body that are parsed for quoting. */
export const MAX_QUOTED_BYTES = 8_192;
/** Maximum bytes searched for secrets: a token that starts within the quoted bytes is found completely. */
const MAX_SEARCHED_BYTES = MAX_QUOTED_BYTES + 8_192;
/** A word this long is not natural language. It may be a credential in an unknown encoding. */
const longWords = /[^\s"'()<>]{32,}/g;

/** Whether a response is a web page, by its type or, if that is wrong, by its first bytes. */
function isHtml({ contentType, body }: HttpResponse): boolean {
  return /\bhtml\b/i.test(contentType) || /^\uFEFF?\s*</.test(body.subarray(0, 200).toString());
}

/**
 * Throws for every response that is not 2xx: `RequestFailure` if a retry may help, else `ExportError` with `configuration`.
 * Also throws for a web page with status 200, which UiPath's portal returns for an unknown path.
 */
export function checkResponse(response: HttpResponse, request: RequestDescription): void {
  const { status } = response;
  if (isRetriedStatus(status)) {
    const failure = { kind: 'status', status, retryAfter: response.retryAfter } as const;
    throw new RequestFailure(failure, describeResponse(response, request.redact, request.isToken));
  }
  if (status >= 300 && status < 400) {
    throw new ExportError(
      'configuration',
      `${request.url} responded with HTTP ${status}, a redirect to ${describeTarget(response.location, request)}. ` +
        `It was not followed: credentials are sent only to the configured host. Check ${request.variables}.`,
    );
  }
  if (status < 200 || status >= 400) {
    throw new ExportError(
      'configuration',
      `${request.url} responded with ${describeResponse(response, request.redact, request.isToken)}. Check ${request.variables}.`,
    );
  }
  if (isHtml(response)) {
    throw new ExportError(
      'configuration',
      `${request.url} responded with HTTP ${status} and an HTML page instead of JSON, as UiPath's portal does for an ` +
        `unknown path. Check ${request.variables}.`,
    );
  }
}

/**
 * Parses a Date header in the form that RFC 9110 prescribes, such as `Sun, 06 Nov 1994 08:49:37 GMT`. `undefined` for any other
 * form, a date that does not exist, a wrong day of the week, and a clock that was never set (a year before 2000).
 */
export function parseDateHeader(text: string | undefined): Date | undefined {
  if (text === undefined || !/^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} [2-9]\d{3} \d\d:\d\d:\d\d GMT$/.test(text))
    return undefined;
  const date = new Date(text);
  return date.toUTCString() === text ? date : undefined;
}

/**
 * The status, the source's message and its trace id: `HTTP 503 "Busy" (trace id 00-4bf9)`. Quotes nothing of a body that
 * contains a credential, and only a message of at most 300 characters of any other.
 */
export function describeResponse({ status, body }: HttpResponse, redact: Redactor, isToken = false): string {
  if (redact.holdsSecret(textsOf(body.subarray(0, MAX_SEARCHED_BYTES).toString()))) {
    return `HTTP ${status} ${WITHHELD}`;
  }
  const { message, traceId, isText } = parseErrorBody(body.subarray(0, MAX_QUOTED_BYTES).toString());
  // A token endpoint responds in JSON; any other text is more likely to echo the request than to help.
  const isQuoted = message !== null && !(isToken && isText);
  const quote = isQuoted ? ` "${message.replace(longWords, '[…]')}"` : '';
  const trace = traceId === null ? '' : ` (trace id ${traceId})`;
  return redact(`HTTP ${status}${quote}${trace}`);
}

function describeTarget(location: string | undefined, { url, redact }: RequestDescription): string {
  if (location === undefined || !URL.canParse(location, url)) return 'an invalid address';
  if (redact.holdsSecret([location])) return 'an address that is not shown, because it contains a credential';
  return redact(new URL(location, url).host.slice(0, MAX_HOST_CHARACTERS));
}

const MAX_HOST_CHARACTERS = 100;
