import { ExportError } from '../core/errors.ts';
import { isRetriedStatus } from '../core/retry.ts';
import { parseErrorBody } from './error-body.ts';
import { type Answer, FailedTry } from './http.ts';

/** What is known of the request an answer belongs to. */
export interface Asked {
  /** As messages show it. */
  url: string;
  /** The variables a person would have to look at, as a phrase. */
  variables: string;
  /** Texts that no message may quote, even when the source does. */
  secrets: readonly string[];
}

/** Whether an answer is a web page, by its type or, where that is wrong, by how it begins. */
export function isHtml({ contentType, body }: Answer): boolean {
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
    throw new FailedTry(failure, describeAnswer(answer, asked.secrets));
  }
  if (status >= 300 && status < 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered HTTP ${status}, a redirect to ${hostOf(answer.location, asked.url)}. ` +
        `It was not followed, because the credentials are for the configured host only. Check ${asked.variables}.`,
    );
  }
  if (status < 200 || status >= 400) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered ${describeAnswer(answer, asked.secrets)}. Check ${asked.variables}.`,
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
export function describeAnswer({ status, body }: Answer, secrets: readonly string[]): string {
  // Before the message is cut, which could leave half a secret, and again after its escapes are read.
  const { message, traceId } = parseErrorBody(hideSecrets(body.subarray(0, 65_536).toString(), secrets));
  const words = message === null ? '' : ` "${message}"`;
  const trace = traceId === null ? '' : ` (trace id ${traceId})`;
  return hideSecrets(`HTTP ${status}${words}${trace}`, secrets);
}

/** Replaces each secret, as it is and as a form would carry it. */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  return (
    secrets
      // A shorter one guards nothing, and replacing it would shred every text.
      .filter((secret) => secret.length >= 4)
      .flatMap((secret) => [secret, new URLSearchParams([['', secret]]).toString().slice(1)])
      .reduce((shown, secret) => shown.replaceAll(secret, '***'), text)
  );
}

function hostOf(location: string | undefined, url: string): string {
  if (location === undefined || !URL.canParse(location, url)) return 'an address that cannot be read';
  return new URL(location, url).host;
}
