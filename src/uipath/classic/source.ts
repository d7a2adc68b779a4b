import { setImmediate } from 'node:timers/promises';
import type { Credentials } from '../../core/credentials.ts';
import { ExportError } from '../../core/errors.ts';
import type { Exchange } from '../../core/exchange.ts';
import type { ByteBudget } from '../../core/offset-list/byte-budget.ts';
import type { FetchPage, Page } from '../../core/offset-list/page.ts';
import { MAX_PAGE_BYTES, MIN_ROWS } from '../../core/offset-list/page-size.ts';
import { createOffsetListReader } from '../../core/offset-list/reader.ts';
import type { RequestMeter, Source } from '../../core/source.ts';
import type { SourceIdentity } from '../../core/source-identity.ts';
import { createRedactor, type Redactor } from '../../text/redaction.ts';
import { createAgents } from '../http/agents.ts';
import { readPartition } from '../http/claims.ts';
import { proxySecrets } from '../http/proxy.ts';
import { type HttpResponse, RequestFailure, ResponseTooLarge, send, showUrl } from '../http/request.ts';
import {
  checkResponse,
  describeResponse,
  parseDateHeader,
  type RequestDescription,
} from '../http/response.ts';
import { countRetry, type RetryOptions, withRetries } from '../http/retries.ts';
import { createTokenSource, type Token } from '../http/token.ts';
import { parsePage } from './parse-page.ts';

export interface UipathOptions extends RetryOptions {
  /** The list endpoint with all placeholders replaced, such as `https://cloud.uipath.com/acme/audit_/api/auditlogs`. */
  auditUrl: string;
  /** UIPATH_BASE_URL, for `identify`; the origin of `auditUrl` by default. */
  baseUrl?: string | undefined;
  credentials: Credentials;
  /** The language of `message`. */
  language: string;
  /** Sent as `api-version`. */
  apiVersion?: string | undefined;
  /** Timeout of one request, to the last byte. */
  timeoutMs: number;
  /** Maximum size of a response after decompression; 64 MiB by default. */
  maxResponseBytes?: number | undefined;
  /** Shared by the sources of a process: limits what they hold in memory. */
  budget?: ByteBudget | undefined;
  /** Contains HTTPS_PROXY and NO_PROXY; `process.env` by default. */
  environment?: Readonly<Record<string, string | undefined>>;
  /** Called with each new token before it is used, so that the log can redact it. */
  onToken?: ((value: string) => void) | undefined;
  /** Called with each complete response, for a recording. */
  onExchange?: ((exchange: Exchange) => void) | undefined;
}

/** UiPath's "Get Audit Logs": a list with offsets, read by the frontier rule. */
export interface UipathSource extends Source {
  /** Fetches one page of the list, for callers that do not read from a start point. */
  fetchPage: FetchPage;
  /** Returns the current token, or fetches a new one. Throws like `fetchPage`. */
  fetchToken(options: { signal: AbortSignal }): Promise<Token>;
  /** Returns the address, and the partition that the current token shows. Requests at most a token. Throws like `fetchToken`. */
  identify(options: { signal: AbortSignal; meter?: RequestMeter | undefined }): Promise<SourceIdentity>;
  /** Closes idle connections and cancels a token request in flight. */
  close(): void;
}

const MEBIBYTE = 1024 * 1024;

/**
 * Reads the list over HTTP. Each request has at most `retryLimit` attempts. After a 401 one new token is fetched; a second 401 is
 * an error. A page larger than `MAX_PAGE_BYTES` is requested again with half the rows, down to `MIN_ROWS`, and one larger than
 * `maxResponseBytes` down to one row, so `fetchPage` may return fewer rows than requested.
 */
export function createUipathSource(options: UipathOptions): UipathSource {
  const { auditUrl, credentials, log, maxResponseBytes = 64 * MEBIBYTE, onExchange } = options;
  const environment = options.environment ?? process.env;
  const agents = createAgents(auditUrl, environment, options.timeoutMs);
  const tokenUrl = credentials.kind === 'client' ? credentials.tokenUrl : auditUrl;
  const tokenAgents = createAgents(tokenUrl, environment, options.timeoutMs);
  const redact = createSourceRedactor(credentials, environment);
  const sending = { timeoutMs: options.timeoutMs, maxResponseBytes, agents, redact, onExchange };
  const tokens = createTokenSource(credentials, { ...options, ...sending, agents: tokenAgents });
  const now = options.now ?? Date.now;

  const fetchPage: FetchPage = async ({ skip, top }, { signal, meter, onReceived, maxAttempts }) => {
    for (let rows = top; ; rows = Math.floor(rows / 2)) {
      // So few rows may need the whole limit: every event must be readable.
      const maxBytes = rows > MIN_ROWS ? Math.min(maxResponseBytes, MAX_PAGE_BYTES) : maxResponseBytes;
      const request = { url: listUrl(options, skip, rows), signal, meter, onReceived, maxAttempts, maxBytes };
      try {
        const page = await fetchWhole(request);
        return { ...page, skip, top, limit: rows < top ? rows : undefined };
      } catch (error) {
        if (!(error instanceof ResponseTooLarge)) throw error;
        if (rows <= 1) throw tooLarge(showUrl(request.url), maxResponseBytes);
        const fields = { url: showUrl(request.url), rows, maxBytes };
        if (maxBytes < maxResponseBytes) {
          log.debug(fields, 'large rows, requesting half of them');
          if (rows < 2 * MIN_ROWS) rows = 2 * MIN_ROWS;
          continue;
        }
        log.warn(fields, 'page larger than the limit, requesting half the rows');
        countRetry(meter, 'page too large');
      }
    }
  };

  return {
    ...createOffsetListReader({ fetchPage, orderAdvice: ORDER_ADVICE, budget: options.budget }),
    fetchPage,
    fetchToken: ({ signal }) => tokens.fetchToken(signal),
    async identify({ signal, meter }) {
      const { origin, pathname } = new URL(auditUrl);
      const { value } = await tokens.fetchToken(signal, meter);
      const partition = readPartition(value, redact);
      return { url: options.baseUrl ?? origin, path: pathname.replace(/\/+$/, ''), partition };
    },
    close() {
      tokens.close();
      tokenAgents.close();
      agents.close();
    },
  };

  async function fetchWhole(request: ListRequest): Promise<Omit<Page, 'skip' | 'top'>> {
    const { signal, meter, onReceived, maxAttempts = options.retryLimit, maxBytes } = request;
    const url = showUrl(request.url);
    let isRenewed = false;
    const attemptRequest = async () => {
      for (;;) {
        const token = await tokens.fetchToken(signal, meter);
        const requestedAt = new Date(now());
        meter.requests++;
        const httpRequest = { method: 'GET', url: request.url, headers: listHeaders(token.value) } as const;
        const response = await send(httpRequest, { ...sending, maxResponseBytes: maxBytes, signal });
        if (response.status !== 401) return await readPage(response, requestedAt);
        if (!tokens.isRenewable || isRenewed) throw unauthorized(response, url, tokens.isRenewable, redact);
        isRenewed = true;
        tokens.invalidate(token.value);
        countRetry(meter, 'HTTP 401');
        log.warn({ reason: 'HTTP 401', status: 401, url }, 'token rejected, requesting a new one');
      }
    };
    const readPage = async (response: HttpResponse, requestedAt: Date) => {
      checkListResponse(response, { url, variables: LIST_VARIABLES, redact });
      onReceived?.();
      // Requests that `onReceived` has started are sent before this page is parsed.
      await setImmediate();
      const page = parsePage(response.body);
      if (page.unreadable !== undefined) throw new RequestFailure({ kind: 'truncated' }, page.unreadable);
      const milliseconds = now() - requestedAt.getTime();
      log.debug({ url, rows: page.rows.length, bytes: response.body.length, milliseconds }, 'page fetched');
      const sourceTime = parseDateHeader(response.date);
      const { rows, totalCount } = page;
      return { rows, totalCount, requestedAt, sourceTime, bytes: response.body.length };
    };
    const onRetry = (reason: string) => countRetry(meter, reason);
    const retryLimit = Math.min(options.retryLimit, maxAttempts);
    return await withRetries(attemptRequest, { url, signal, onRetry }, { ...options, retryLimit });
  }
}

/** Redacts credentials of the source and its proxy, and the newest few tokens: a response may echo the previous one. */
function createSourceRedactor(
  credentials: Credentials,
  environment: UipathOptions['environment'] = {},
): Redactor {
  const proxy = proxySecrets(environment);
  if (credentials.kind === 'token') return createRedactor([credentials.accessToken, ...proxy]);
  return createRedactor([credentials.clientSecret, ...proxy], { identifiers: [credentials.clientId] });
}

interface ListRequest {
  url: string;
  signal: AbortSignal;
  meter: RequestMeter;
  onReceived?: (() => void) | undefined;
  maxAttempts?: number | undefined;
  maxBytes: number;
}

const LIST_VARIABLES = 'UIPATH_BASE_URL, UIPATH_ORGANIZATION and UIPATH_AUDIT_PATH';

const ORDER_ADVICE =
  'The source ignored sortOrder=asc: check that UIPATH_AUDIT_PATH names the audit log API, and UIPATH_API_VERSION.';

/** Adds the documented query. Keeps the query of the configured URL. */
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
  // Content-Type is documented for this GET although it has no body.
  return {
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    Accept: 'application/json',
  };
}

function checkListResponse(response: HttpResponse, request: RequestDescription): void {
  if (response.status === 403) {
    throw new ExportError(
      'configuration',
      `${request.url} responded with ${describeResponse(response, request.redact)}. The token lacks the scope PM.Audit or PM.Audit.Read: ` +
        'give it to the external application and name it in UIPATH_SCOPE.',
    );
  }
  checkResponse(response, request);
}

function unauthorized(
  response: HttpResponse,
  url: string,
  isRenewable: boolean,
  redact: Redactor,
): ExportError {
  const found = describeResponse(response, redact);
  const remedy = isRenewable
    ? 'A new token was rejected too: check that UIPATH_TOKEN_URL belongs to the same organization as the audit URL, ' +
      'and UIPATH_CLIENT_ID and UIPATH_SCOPE'
    : 'UIPATH_ACCESS_TOKEN has expired or belongs to another organization: replace it, or use UIPATH_CLIENT_ID and ' +
      'UIPATH_CLIENT_SECRET';
  return new ExportError('configuration', `${url} responded with ${found}. ${remedy}.`);
}

function tooLarge(url: string, maxResponseBytes: number): ExportError {
  return new ExportError(
    'configuration',
    `${url} responded with more than ${maxResponseBytes} bytes for a single row, the maximum response size. ` +
      'Raise HTTP_MAX_RESPONSE_MIB if you trust the source.',
  );
}
