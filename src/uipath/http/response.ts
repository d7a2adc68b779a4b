import { ExportError } from '../../core/errors.ts';
import { isRetriedStatus } from '../../core/retry.ts';
import { type Redactor, WITHHELD } from '../../text/redaction.ts';
import { parseErrorBody, textsOf } from './error-body.ts';
import { type Answer, FailedTry } from './request.ts';

/** What is known of the request an answer belongs to. */
export interface Asked {
  /** As messages show it. */
  url: string;
  /** The variables a person would have to look at, as a phrase. */
  variables: string;
  /** Takes out what no message may quote, even when the source does. */
  redact: Redactor;
  /** The request carried the client's secret. */
  isToken?: boolean;
}

/** Bytes of an error's body that may be quoted. */
export const MOST_READ = 8_192;
/** Bytes that are searched for secrets: a token that begins in what may be quoted is seen whole. */
const MOST_SEARCHED = MOST_READ + 8_192;
/** A word this long is no language. It may be a credential in an encoding that nobody thought of. */
const longWords = /[^\s"'()<>]{32,}/g;

/** Whether an answer is a web page, by its type or, where that is wrong, by how it begins. */
function isHtml({ contentType, body }: Answer): boolean {
  return /\bhtml\b/i.test(contentType) || /^\uFEFF?\s*</.test(body.subarray(0, 200).toString());
}

/**
 * Throws for every answer that is not a 2xx: `FailedTry` where another try may help, else `ExportError` with `configuration`,
 * and for a web page with status 200, which is how UiPath's portal answers a path it does not know.
 */
export function checkAnswer(answer: Answer, asked: Asked): void {
  const { status } = answer;
  if (isRetriedStatus(status)) {
    const failure = { kind: 'status', status, retryAfter: answer.retryAfter } as const;
    throw new FailedTry(failure, describeAnswer(answer, asked.redact, asked.isToken));
  }
  if (status >= 300 && status < 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered HTTP ${status}, a redirect to ${describeTarget(answer.location, asked)}. ` +
        `It was not followed, because the credentials are for the configured host only. Check ${asked.variables}.`,
    );
  }
  if (status < 200 || status >= 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered ${describeAnswer(answer, asked.redact, asked.isToken)}. Check ${asked.variables}.`,
    );
  }
  if (isHtml(answer)) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered HTTP ${status} with an HTML page instead of JSON, as UiPath's portal does for a path it ` +
        `does not know. Check ${asked.variables}.`,
    );
  }
}

/**
 * The status with the source's own words and trace id: `HTTP 503 "Busy" (trace id 00-4bf9)`. Of a body that holds a credential
 * nothing is quoted, and of others nothing but a message of at most 300 characters.
 */
export function describeAnswer({ status, body }: Answer, redact: Redactor, isToken = false): string {
  if (redact.holdsSecret(textsOf(body.subarray(0, MOST_SEARCHED).toString()))) {
    return `HTTP ${status} ${WITHHELD}`;
  }
  const { message, traceId, isText } = parseErrorBody(body.subarray(0, MOST_READ).toString());
  // A token endpoint answers in JSON; other text of it is more likely to quote the request than to help.
  const isQuoted = message !== null && !(isToken && isText);
  const words = isQuoted ? ` "${message.replace(longWords, '[…]')}"` : '';
  const trace = traceId === null ? '' : ` (trace id ${traceId})`;
  return redact(`HTTP ${status}${words}${trace}`);
}

function describeTarget(location: string | undefined, { url, redact }: Asked): string {
  if (location === undefined || !URL.canParse(location, url)) return 'an address that cannot be read';
  if (redact.holdsSecret([location])) return 'an address that is not shown, because it contains a credential';
  return redact(new URL(location, url).host.slice(0, MOST_SHOWN_OF_HOST));
}

const MOST_SHOWN_OF_HOST = 100;
