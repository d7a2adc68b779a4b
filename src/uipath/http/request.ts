import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import type { AxiosStatic } from 'axios';
import { ExportError } from '../../core/errors.ts';
import type { Failure } from '../../core/retry.ts';
import { type Redactor, WITHHELD } from '../../text/redaction.ts';
import type { Agents } from './agents.ts';

/** A request to be sent once. `url` must carry no user name: axios would send it in place of the bearer token. */
interface Outgoing {
  method: 'GET' | 'POST';
  url: string;
  headers: Record<string, string>;
  data?: string;
}

/** An answer with any status, its body read to the last byte and unpacked. */
export interface Answer {
  status: number;
  contentType: string;
  location: string | undefined;
  retryAfter: string | undefined;
  body: Buffer;
}

export interface SendOptions {
  agents: Agents;
  /** For the whole request, from the look-up of the name to the last byte. */
  timeoutMs: number;
  /** The largest body that is read, counted after unpacking. */
  maxResponseBytes: number;
  signal: AbortSignal;
  redact: Redactor;
}

/** A try that failed and may be worth another. Never leaves this folder: it ends as an `ExportError`. */
export class FailedTry extends Error {
  constructor(
    readonly failure: Failure,
    /** What was found, for a person: no secret, nothing of a row. */
    readonly found: string,
    options?: ErrorOptions,
  ) {
    super(found, options);
  }
}

/** The body is larger than `maxResponseBytes`; what was left of it has not been read. */
export class OversizedBody extends Error {}

// As an ES module axios is 66 files; for `require` it comes as one, and a start is quicker by a tenth.
const axios = createRequire(import.meta.url)('axios') as AxiosStatic;

/** Characters of a fault that are quoted. */
const MOST_SHOWN = 500;

/** Certificates that no later try will find better. */
const CERTIFICATE_CODES = new Set([
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/**
 * Sends a request once. No redirect is followed, so that a bearer token reaches the URL it is meant for and none else.
 * Throws `FailedTry` for network faults, time-outs and bodies that break off, `OversizedBody`, `ExportError` with
 * `configuration` for a certificate that is not trusted, and whatever when `signal` is aborted.
 */
export async function send(outgoing: Outgoing, options: SendOptions): Promise<Answer> {
  const { timeoutMs, signal, redact } = options;
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal.addEventListener('abort', abort, { once: true });
  // axios' own time-out restarts with each byte once the answer has begun.
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    abort();
  }, timeoutMs);
  const progress = { hasBegun: false };
  try {
    signal.throwIfAborted();
    return await exchange(outgoing, { ...options, signal: controller.signal }, progress);
  } catch (error) {
    if (error instanceof OversizedBody) throw error;
    if (isLate) throw new FailedTry({ kind: 'timeout' }, `no whole answer within ${timeoutMs / 1000} s`);
    throw translateFault(error, outgoing.url, progress.hasBegun, redact);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

async function exchange(
  { method, url, headers, data }: Outgoing,
  { agents, maxResponseBytes, signal }: SendOptions,
  progress: { hasBegun: boolean },
): Promise<Answer> {
  const response = await axios.request<Readable>({
    method,
    url,
    headers: { 'User-Agent': 'uipath-audit-export', 'Accept-Encoding': 'gzip', ...headers },
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
  return {
    status: response.status,
    contentType: readHeader(response.headers['content-type']) ?? '',
    location: readHeader(response.headers.location),
    retryAfter: readHeader(response.headers['retry-after']),
    body: await readBody(response.data, maxResponseBytes),
  };
}

async function readBody(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop early destroys the stream, and with it the connection.
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > maxBytes) throw new OversizedBody();
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, length);
}

/** The cause is made anew: axios' error carries the request's headers, and with them the token. */
function translateFault(error: unknown, url: string, hasBegun: boolean, redact: Redactor): unknown {
  if (!hasBegun && !axios.isAxiosError(error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const found = [code, message].filter(Boolean).join(': ');
  // Some quote the other side, such as the names in a certificate.
  const what = redact.holdsSecret([found]) ? WITHHELD : redact(found.slice(0, MOST_SHOWN));
  const cause = new Error(what);
  if (code !== undefined && CERTIFICATE_CODES.has(code)) {
    return new ExportError(
      'configuration',
      `The certificate of ${new URL(url).host} is not trusted (${what}). ` +
        'If a private authority signed it, name its PEM file in NODE_EXTRA_CA_CERTS, in the environment: .env is too late.',
      { cause },
    );
  }
  return hasBegun
    ? new FailedTry({ kind: 'truncated' }, `the answer broke off (${what})`, { cause })
    : new FailedTry({ kind: 'network' }, `no answer (${what})`, { cause });
}

function readHeader(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** The URL as messages and logs show it: without user name, password and fragment. */
export function showUrl(url: string): string {
  const { origin, pathname, search } = new URL(url);
  return `${origin}${pathname}${search}`;
}
