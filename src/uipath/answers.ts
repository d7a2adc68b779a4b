import { ExportError } from '../core/errors.ts';
import { isRetriedStatus } from '../core/retry.ts';
import type { Redactor } from '../redaction.ts';
import { parseErrorBody } from './error-body.ts';
import { type Answer, FailedTry } from './http.ts';

/** What is known of the request an answer belongs to. */
export interface Asked {
  /** As messages show it. */
  url: string;
  /** The variables a person would have to look at, as a phrase. */
  variables: string;
  /** Takes out what no message may quote, even when the source does. */
  redact: Redactor;
}

/** Of an error's body. */
const MOST_READ = 65_536;

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
    throw new FailedTry(failure, describeAnswer(answer, asked.redact));
  }
  if (status >= 300 && status < 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered HTTP ${status}, a redirect to ${asked.redact(hostOf(answer.location, asked.url))}. ` +
        `It was not followed, because the credentials are for the configured host only. Check ${asked.variables}.`,
    );
  }
  if (status < 200 || status >= 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered ${describeAnswer(answer, asked.redact)}. Check ${asked.variables}.`,
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

/** The status with the source's own words and trace id: `HTTP 503 "Busy" (trace id 00-4bf9)`. */
export function describeAnswer({ status, body }: Answer, redact: Redactor): string {
  // Before anything is cut, which could leave half a secret, and again after escapes are read.
  const begin = redact(body.subarray(0, 2 * MOST_READ).toString()).slice(0, MOST_READ);
  const { message, traceId } = parseErrorBody(begin);
  const words = message === null ? '' : ` "${message}"`;
  const trace = traceId === null ? '' : ` (trace id ${traceId})`;
  return redact(`HTTP ${status}${words}${trace}`);
}

function hostOf(location: string | undefined, url: string): string {
  if (location === undefined || !URL.canParse(location, url)) return 'an address that cannot be read';
  return new URL(location, url).host;
}
