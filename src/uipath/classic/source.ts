import { setImmediate } from 'node:timers/promises';
import type { Credentials } from '../../core/credentials.ts';
import { ExportError } from '../../core/errors.ts';
import type { FetchPage, Page } from '../../core/offset-list/page.ts';
import { createOffsetListReader } from '../../core/offset-list/reader.ts';
import type { RequestMeter, Source } from '../../core/source.ts';
import { createRedactor, type Redactor } from '../../text/redaction.ts';
import { createAgents, proxySecrets } from '../http/agents.ts';
import { type Answer, FailedTry, OversizedBody, send, showUrl } from '../http/request.ts';
import { type Asked, checkAnswer, describeAnswer } from '../http/response.ts';
import { type RetryOptions, withRetries } from '../http/retries.ts';
import { createTokenSource, type Token } from '../http/token.ts';
import { parsePage } from './parse-page.ts';

export interface UipathOptions extends RetryOptions {
  /** The list endpoint with every placeholder filled in, such as `https://cloud.uipath.com/acme/audit_/api/auditlogs`. */
  auditUrl: string;
  credentials: Credentials;
  /** The language the source composes `message` in. */
  language: string;
  /** Sent as `api-version`. */
  apiVersion?: string | undefined;
  /** For one request, to its last byte. */
  timeoutMs: number;
  /** The largest answer that is read, unpacked; 64 MiB when not given. */
  maxResponseBytes?: number | undefined;
  /** Where HTTPS_PROXY and NO_PROXY are looked up; `process.env` when not given. */
  environment?: Readonly<Record<string, string | undefined>>;
  /** Is told each new token before it is used, so that a log can learn to hide it. */
  onToken?: ((value: string) => void) | undefined;
}

/** UiPath's "Get Audit Logs": a list of offsets, read by the frontier rule. */
export interface UipathSource extends Source {
  /** Fetches a page of the list, for whoever does not read it from a start point. */
  fetchPage: FetchPage;
  /** Fetches a token, or gives the one still good. Throws like `fetchPage`. */
  fetchToken(options: { signal: AbortSignal }): Promise<Token>;
  /** Closes idle connections and ends a token request under way. */
  close(): void;
}

const MEBIBYTE = 1024 * 1024;

/**
 * Reads the list by HTTP. Each request is tried `retryLimit` times; a 401 costs one new token, a second one is an error.
 * A page too large for `maxResponseBytes` is asked for again with half the rows: `fetchPage` may give fewer than asked for.
 */
export function createUipathSource(options: UipathOptions): UipathSource {
  const { auditUrl, credentials, log, maxResponseBytes = 64 * MEBIBYTE } = options;
  const environment = options.environment ?? process.env;
  const agents = createAgents(auditUrl, environment);
  const tokenUrl = credentials.kind === 'client' ? credentials.tokenUrl : auditUrl;
  const tokenAgents = createAgents(tokenUrl, environment);
  const redact = createSourceRedactor(credentials, environment);
  const sending = { timeoutMs: options.timeoutMs, maxResponseBytes, agents, redact };
  const tokens = createTokenSource(credentials, { ...options, ...sending, agents: tokenAgents });
  const now = options.now ?? Date.now;

  const fetchPage: FetchPage = async ({ skip, top }, { signal, meter, onReceived }) => {
    for (let rows = top; ; rows = Math.floor(rows / 2)) {
      const request = { url: listUrl(options, skip, rows), signal, meter, onReceived };
      try {
        const page = await fetchWhole(request);
        return { ...page, skip, top };
      } catch (error) {
        if (!(error instanceof OversizedBody)) throw error;
        if (rows <= 1) throw oversized(showUrl(request.url), maxResponseBytes);
        const fields = { url: showUrl(request.url), rows, maxResponseBytes };
        log.warn(fields, 'page larger than the limit, asking for half the rows');
        countRetry(meter, 'page too large');
      }
    }
  };

  return {
    ...createOffsetListReader({ fetchPage, orderAdvice: ORDER_ADVICE }),
    fetchPage,
    fetchToken: ({ signal }) => tokens.fetchToken(signal),
    close() {
      tokens.close();
      tokenAgents.close();
      agents.close();
    },
  };

  async function fetchWhole(request: ListRequest): Promise<Omit<Page, 'skip' | 'top'>> {
    const { signal, meter, onReceived } = request;
    const url = showUrl(request.url);
    let isRenewed = false;
    const tryOnce = async () => {
      for (;;) {
        const token = await tokens.fetchToken(signal);
        const requestedAt = new Date(now());
        meter.requests++;
        const outgoing = { method: 'GET', url: request.url, headers: listHeaders(token.value) } as const;
        const answer = await send(outgoing, { ...sending, signal });
        if (answer.status !== 401) return await readPage(answer, requestedAt);
        if (!tokens.isRenewable || isRenewed) throw unauthorized(answer, url, tokens.isRenewable, redact);
        isRenewed = true;
        tokens.invalidate(token.value);
        countRetry(meter, 'HTTP 401');
        log.warn({ reason: 'HTTP 401', status: 401, url }, 'token refused, asking for a new one');
      }
    };
    const readPage = async (answer: Answer, requestedAt: Date) => {
      checkListAnswer(answer, { url, variables: LIST_VARIABLES, redact });
      onReceived?.();
      // What it may have led to be sent is on its way before time goes into this page.
      await setImmediate();
      const page = parsePage(answer.body);
      if (page.unreadable !== undefined) throw new FailedTry({ kind: 'truncated' }, page.unreadable);
      const milliseconds = now() - requestedAt.getTime();
      log.debug({ url, rows: page.rows.length, bytes: answer.body.length, milliseconds }, 'page fetched');
      return { rows: page.rows, totalCount: page.totalCount, requestedAt };
    };
    const onRetry = (reason: string) => countRetry(meter, reason);
    return await withRetries(tryOnce, { url, signal, onRetry }, options);
  }
}

/** Takes out what is sent to the source or its proxy, and the newest few tokens: an answer may quote the one before. */
function createSourceRedactor(
  credentials: Credentials,
  environment: UipathOptions['environment'] = {},
): Redactor {
  const proxy = proxySecrets(environment);
  if (credentials.kind === 'token') return createRedactor([credentials.accessToken, ...proxy]);
  return createRedactor([credentials.clientSecret, ...proxy], { identifiers: [credentials.clientId] });
}

function countRetry(meter: RequestMeter, reason: string): void {
  meter.retries++;
  if (meter.retriesBy) meter.retriesBy[reason] = (meter.retriesBy[reason] ?? 0) + 1;
}

interface ListRequest {
  url: string;
  signal: AbortSignal;
  meter: RequestMeter;
  onReceived?: (() => void) | undefined;
}

const LIST_VARIABLES = 'UIPATH_BASE_URL, UIPATH_ORGANIZATION and UIPATH_AUDIT_PATH';

const ORDER_ADVICE =
  'The source ignored sortOrder=asc: check that UIPATH_AUDIT_PATH names the audit log API, and UIPATH_API_VERSION.';

/** The documented query. A query of the template's own is kept. */
function listUrl({ auditUrl, language, apiVersion }: UipathOptions, skip: number, top: number): string {
  const url = new URL(auditUrl);
  url.searchParams.set('language', language);
  url.searchParams.set('top', String(top));
  url.searchParams.set('skip', String(skip));
  url.searchParams.set('sortBy', 'createdOn');
  url.searchParams.set('sortOrder', 'asc');
  if (apiVersion !== undefined) url.searchParams.set('api-version', apiVersion);
  return url.href;
}

function listHeaders(token: string): Record<string, string> {
  // Documented for this GET although it has no body.
  return {
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    Accept: 'application/json',
  };
}

function checkListAnswer(answer: Answer, asked: Asked): void {
  if (answer.status === 403) {
    throw new ExportError(
      'configuration',
      `${asked.url} answered ${describeAnswer(answer, asked.redact)}. The token lacks the scope PM.Audit or PM.Audit.Read: ` +
        'give it to the external application and name it in UIPATH_SCOPE.',
    );
  }
  checkAnswer(answer, asked);
}

function unauthorized(answer: Answer, url: string, isRenewable: boolean, redact: Redactor): ExportError {
  const found = describeAnswer(answer, redact);
  const remedy = isRenewable
    ? 'A new token was refused as well: check that UIPATH_TOKEN_URL belongs to the same organization as the audit URL, ' +
      'and UIPATH_CLIENT_ID and UIPATH_SCOPE'
    : 'UIPATH_ACCESS_TOKEN has expired or belongs to another organization: replace it, or use UIPATH_CLIENT_ID and ' +
      'UIPATH_CLIENT_SECRET';
  return new ExportError('configuration', `${url} answered ${found}. ${remedy}.`);
}

function oversized(url: string, maxResponseBytes: number): ExportError {
  return new ExportError(
    'configuration',
    `${url} answered with more than ${maxResponseBytes} bytes for a single row, the largest answer that is read. ` +
      'Raise HTTP_MAX_RESPONSE_MIB if the source is to be trusted with it.',
  );
}
