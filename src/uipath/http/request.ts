import type { ClientRequest } from 'node:http';
import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import type { AxiosStatic } from 'axios';
import { ExportError } from '../../core/errors.ts';
import type { Exchange } from '../../core/exchange.ts';
import type { Failure } from '../../core/retry.ts';
import { type Redactor, WITHHELD } from '../../text/redaction.ts';
import type { Agents } from './agents.ts';
import { CERTIFICATE_CODES } from './certificates.ts';
import { type HttpProxy, showProxy } from './proxy.ts';
import { ProxyError, timeoutError } from './proxy-error.ts';

/** One HTTP request. `url` must not contain a user name: axios would send it instead of the bearer token. */
interface HttpRequest {
  method: 'GET' | 'POST';
  url: string;
  headers: Record<string, string>;
  data?: string;
}

/** A response with any status. The body is complete and decompressed. */
export interface HttpResponse {
  status: number;
  contentType: string;
  location: string | undefined;
  retryAfter: string | undefined;
  date: string | undefined;
  body: Buffer;
}

export interface SendOptions {
  agents: Agents;
  /** Timeout of the whole request, from the DNS lookup to the last byte. */
  timeoutMs: number;
  /** Maximum size of the body after decompression. */
  maxResponseBytes: number;
  signal: AbortSignal;
  redact: Redactor;
  /** Called with each complete response. */
  onExchange?: ((exchange: Exchange) => void) | undefined;
}

/** A failed attempt that may be retried. Internal to `uipath`: callers get an `ExportError`. */
export class RequestFailure extends Error {
  constructor(
    readonly failure: Failure,
    /** What failed, for a person. Contains no secret and no row. */
    readonly description: string,
    options?: ErrorOptions,
  ) {
    super(description, options);
  }
}

/** The body is larger than `maxResponseBytes`. The rest of it was not read. */
export class ResponseTooLarge extends Error {}

// As an ES module axios has 66 files, for `require` only one; start-up is 10 % faster.
const axios = createRequire(import.meta.url)('axios') as AxiosStatic;

/** Maximum characters quoted from a network error. */
const MAX_QUOTED_CHARACTERS = 500;

/** Immediate repetitions of one request. Each closes an idle connection, so that more are needed only by a hostile server. */
const MAX_REPETITIONS = 10;
/** The errors of a connection that the other side has closed. */
const CLOSED_CODES = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED']);

/**
 * Sends a request, without retries that count. A request on a reused connection that the server had closed is repeated at once:
 * keep-alive connections end between two requests. Redirects are not followed, so that a bearer token is sent only to the
 * configured URL. Throws `RequestFailure` for network errors, timeouts and incomplete bodies, `ResponseTooLarge`, `ExportError`
 * with `configuration` for an untrusted certificate and a proxy that refuses, and an unspecified error if `signal` is aborted.
 */
export async function send(request: HttpRequest, options: SendOptions): Promise<HttpResponse> {
  const { agents, timeoutMs, signal } = options;
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal.addEventListener('abort', abort, { once: true });
  // axios' own timeout restarts with each byte after the response has started.
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    abort();
  }, timeoutMs);
  try {
    for (let repetitions = 0; ; repetitions++) {
      const progress = { hasBegun: false };
      try {
        signal.throwIfAborted();
        return await sendOnce(request, { ...options, signal: controller.signal }, progress);
      } catch (error) {
        if (error instanceof ResponseTooLarge) throw error;
        if (isLate) throw timeoutFailure(error, options);
        const isRepeated = repetitions < MAX_REPETITIONS && isClosedBefore(error, agents);
        if (!isRepeated) throw translateNetworkError(error, request.url, progress.hasBegun, options);
        // The server has probably closed the other idle connections as well.
        agents.closeIdle();
      }
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

/** Whether a reused connection was closed before it brought any byte of the response. */
function isClosedBefore(error: unknown, agents: Agents): boolean {
  const request = requestOf(error);
  const { code } = error as NodeJS.ErrnoException;
  return request !== undefined && CLOSED_CODES.has(code ?? '') && agents.isUnansweredReuse(request);
}

function requestOf(error: unknown): ClientRequest | undefined {
  return axios.isAxiosError(error) ? (error.request as ClientRequest | undefined) : undefined;
}

function timeoutFailure(error: unknown, { agents: { proxy }, timeoutMs }: SendOptions): RequestFailure {
  // A request has no socket until the proxy has opened the connection.
  if (proxy && requestOf(error)?.protocol === 'https:' && !requestOf(error)?.socket) {
    return new RequestFailure({ kind: 'proxy' }, timeoutError(proxy, timeoutMs).message);
  }
  return new RequestFailure({ kind: 'timeout' }, `timeout after ${timeoutMs / 1000} s`);
}

async function sendOnce(
  { method, url, headers, data }: HttpRequest,
  { agents, maxResponseBytes, signal, onExchange }: SendOptions,
  progress: { hasBegun: boolean },
): Promise<HttpResponse> {
  const requestHeaders = { 'User-Agent': 'uipath-audit-export', 'Accept-Encoding': 'gzip', ...headers };
  const response = await axios.request<Readable>({
    method,
    url,
    headers: requestHeaders,
    ...(data === undefined ? {} : { data }),
    httpAgent: agents.httpAgent,
    httpsAgent: agents.httpsAgent,
    proxy: false,
    maxRedirects: 0,
    responseType: 'stream',
    validateStatus: () => true,
    signal,
  });
  progress.hasBegun = true;
  const body = await readBody(response.data, maxResponseBytes);
  const { status } = response;
  onExchange?.({ method, url, requestHeaders, form: data, status, headers: { ...response.headers }, body });
  return {
    status,
    contentType: readHeader(response.headers['content-type']) ?? '',
    location: readHeader(response.headers.location),
    retryAfter: readHeader(response.headers['retry-after']),
    date: readHeader(response.headers.date),
    body,
  };
}

async function readBody(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop early destroys the stream and closes the connection.
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > maxBytes) throw new ResponseTooLarge();
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length);
}

/** Translates a network error. The cause is a new error: axios' error contains the request's headers, and so the token. */
function translateNetworkError(
  error: unknown,
  url: string,
  hasBegun: boolean,
  { agents: { proxy }, redact }: SendOptions,
): unknown {
  if (!hasBegun && !axios.isAxiosError(error)) return error;
  const { code, message, cause: original } = error as NodeJS.ErrnoException;
  if (original instanceof ProxyError) return translateProxyError(original, url, proxy!, redact);
  const isTunnelled = proxy !== undefined && new URL(url).protocol === 'https:';
  const full = [code, message].filter(Boolean).join(': ');
  // Some messages quote the server, such as the names in a certificate.
  const found = redact.holdsSecret([full]) ? WITHHELD : redact(full.slice(0, MAX_QUOTED_CHARACTERS));
  const description = isTunnelled ? `${found}, through the proxy ${showProxy(proxy)}` : found;
  const cause = new Error(description);
  if (code !== undefined && CERTIFICATE_CODES.has(code)) {
    const authority = isTunnelled
      ? 'If a private authority, such as that of the proxy, signed it'
      : 'If a private authority signed it';
    return new ExportError(
      'configuration',
      `The certificate of ${new URL(url).host} is not trusted (${description}). ` +
        `${authority}, set NODE_EXTRA_CA_CERTS to its PEM file, in the environment and not in .env.`,
      { cause },
    );
  }
  return hasBegun
    ? new RequestFailure({ kind: 'truncated' }, `incomplete or unreadable body (${description})`, { cause })
    : new RequestFailure({ kind: 'network' }, description, { cause });
}

function translateProxyError(error: ProxyError, url: string, proxy: HttpProxy, redact: Redactor): Error {
  const found = redact.holdsSecret([error.message])
    ? `the proxy ${showProxy(proxy)}: ${WITHHELD}`
    : redact(error.message);
  if (error.isRetried) return new RequestFailure({ kind: 'proxy', retryAfter: error.retryAfter }, found);
  return new ExportError('configuration', `No connection to ${new URL(url).host}: ${found}`);
}

function readHeader(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The URL for messages and logs: without user name, password and fragment. */
export function showUrl(url: string): string {
  const { origin, pathname, search } = new URL(url);
  return `${origin}${pathname}${search}`;
}
