import type { Credentials } from '../../core/credentials.ts';
import { ExportError } from '../../core/errors.ts';
import type { RequestMeter } from '../../core/source.ts';
import type { Redactor } from '../../text/redaction.ts';
import { parseErrorBody } from './error-body.ts';
import {
  type HttpResponse,
  RequestFailure,
  ResponseTooLarge,
  type SendOptions,
  send,
  showUrl,
} from './request.ts';
import { checkResponse, describeResponse, MAX_QUOTED_BYTES } from './response.ts';
import { countRetry, interrupted, type RetryOptions, withRetries } from './retries.ts';

/** A bearer token. `expiresAt` and `scope` are `null` if unknown. */
export interface Token {
  value: string;
  expiresAt: Date | null;
  scope: string | null;
}

/** Returns one token until shortly before it expires. Concurrent callers share one request for the next token. */
export interface TokenSource {
  /** Whether another request can return another token. */
  isRenewable: boolean;
  /**
   * Counts retries of the token request on `meter`, once for all callers with the same one. Throws `ExportError` with
   * `configuration`, `source-away` or `interrupted`.
   */
  fetchToken(signal: AbortSignal, meter?: RequestMeter): Promise<Token>;
  /** Discards a token that the source rejected. Keeps a newer one that another caller has fetched meanwhile. */
  invalidate(value: string): void;
  /** Cancels a token request in flight. */
  close(): void;
}

/** A token is renewed a tenth of its lifetime before it expires, and at most this long: on premises it may live only minutes. */
const MAX_MARGIN_MS = 60_000;

/** The lifetime if the response has no `expires_in`: UiPath documents it for Automation Cloud. */
const DEFAULT_LIFETIME_S = 3600;

const TOKEN_URL_HINT =
  'The token URL differs by product: https://cloud.uipath.com/{organization}/identity_/connect/token in Automation Cloud, ' +
  'https://{host}/identity_/connect/token in Automation Suite, https://{host}/identity/connect/token (no underscore) in a ' +
  'standalone Orchestrator';

const REMEDIES: Record<string, string> = {
  invalid_client:
    'Check UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET (the secret may have expired), and UIPATH_TOKEN_URL',
  invalid_scope: 'Check UIPATH_SCOPE, and that the external application has that application scope',
  unauthorized_client:
    'The external application must be a confidential one with application scopes; check UIPATH_CLIENT_ID',
};

interface TokenOptions extends Omit<SendOptions, 'signal'>, RetryOptions {
  /** Called with each new token before it is used, so that the log can redact it. */
  onToken?: ((value: string) => void) | undefined;
}

export function createTokenSource(credentials: Credentials, options: TokenOptions): TokenSource {
  if (credentials.kind === 'token') return createFixedToken(credentials.accessToken);
  const client = credentials;
  const { redact } = options;
  const now = options.now ?? Date.now;
  const closing = new AbortController();
  let kept: (Token & { freshUntil: number }) | undefined;
  let renewal: Promise<Token> | undefined;
  const meters = new Set<RequestMeter>();
  const onRetry = (reason: string) => {
    for (const meter of meters) countRetry(meter, reason);
  };

  async function renew(): Promise<Token> {
    const requestedAt = now();
    const { token, lifetimeMs } = await requestToken(client, closing.signal, { ...options, onRetry });
    redact.add(token.value);
    options.onToken?.(token.value);
    const freshUntil = requestedAt + lifetimeMs - Math.min(MAX_MARGIN_MS, lifetimeMs / 10);
    kept = { ...token, expiresAt: new Date(requestedAt + lifetimeMs), freshUntil };
    return kept;
  }

  return {
    isRenewable: true,
    async fetchToken(signal, meter) {
      if (kept && now() < kept.freshUntil) return kept;
      if (meter) meters.add(meter);
      renewal ??= renew().finally(() => {
        renewal = undefined;
        meters.clear();
      });
      // All waiting callers share the request: a caller that stops waiting does not cancel it.
      return await waitFor(renewal, signal, showUrl(client.tokenUrl));
    },
    invalidate(value) {
      if (kept?.value === value) kept = undefined;
    },
    close: () => closing.abort(),
  };
}

type ClientCredentials = Extract<Credentials, { kind: 'client' }>;

function createFixedToken(value: string): TokenSource {
  checkHeaderSafe(value, 'UIPATH_ACCESS_TOKEN');
  return {
    isRenewable: false,
    fetchToken: async () => ({ value, expiresAt: null, scope: null }),
    invalidate: () => {},
    close: () => {},
  };
}

async function requestToken(
  credentials: ClientCredentials,
  signal: AbortSignal,
  options: TokenOptions & { onRetry: (reason: string) => void },
): Promise<{ token: Token; lifetimeMs: number }> {
  const { clientId, clientSecret, scope, tokenUrl } = credentials;
  const url = showUrl(tokenUrl);
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
    scope,
  });
  const request = {
    method: 'POST',
    url: tokenUrl,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' },
    data: form.toString(),
  } as const;
  const attemptRequest = async () => {
    const response = await send(request, { ...options, signal }).catch((error: unknown) => {
      if (!(error instanceof ResponseTooLarge)) throw error;
      throw new ExportError(
        'configuration',
        `The response of ${url} exceeds ${options.maxResponseBytes} bytes, so it is not a token. Check UIPATH_TOKEN_URL.`,
      );
    });
    return readToken(response, url, options.redact);
  };
  return await withRetries(attemptRequest, { url, signal, onRetry: options.onRetry }, options);
}

function readToken(
  response: HttpResponse,
  url: string,
  redact: Redactor,
): { token: Token; lifetimeMs: number } {
  const { code } = parseErrorBody(response.body.subarray(0, MAX_QUOTED_BYTES).toString());
  const remedy = code !== null && response.status < 500 ? REMEDIES[code] : undefined;
  if (remedy !== undefined && response.status >= 400) {
    const found = describeResponse(response, redact, true);
    const shown = found.includes(code!) ? found : `${found} [${code}]`;
    throw new ExportError('configuration', `No token: ${url} responded with ${shown}. ${remedy}.`);
  }
  checkResponse(response, {
    url,
    variables: `UIPATH_ORGANIZATION and UIPATH_TOKEN_URL. ${TOKEN_URL_HINT}`,
    redact,
    isToken: true,
  });
  let body: Record<string, unknown> | null;
  try {
    body = JSON.parse(response.body.toString().replace(/^\uFEFF/, ''));
  } catch {
    throw new RequestFailure(
      { kind: 'truncated' },
      `the body of ${response.body.length} bytes is not complete JSON`,
    );
  }
  const value = body?.access_token;
  if (typeof value !== 'string' || value === '') {
    throw new ExportError(
      'configuration',
      `${url} responded with JSON without an access_token. ${TOKEN_URL_HINT}.`,
    );
  }
  checkHeaderSafe(value, `The access_token from ${url}`);
  const token = { value, expiresAt: null, scope: readScope(body?.scope, value, redact) };
  return { token, lifetimeMs: readLifetime(body?.expires_in) * 1000 };
}

/** `null` if it is not a list of scopes, or if it contains a credential, including this token. */
function readScope(found: unknown, token: string, redact: Redactor): string | null {
  if (typeof found !== 'string' || !/^[\x21-\x7e]{1,200}( [\x21-\x7e]{1,200}){0,99}$/.test(found))
    return null;
  return found.includes(token) || redact.holdsSecret([found]) ? null : found;
}

/** `expires_in` in seconds, a number or a numeric string. */
function readLifetime(found: unknown): number {
  const seconds = typeof found === 'string' && found.trim() !== '' ? Number(found) : found;
  return typeof seconds === 'number' && Number.isFinite(seconds) ? Math.max(0, seconds) : DEFAULT_LIFETIME_S;
}

function checkHeaderSafe(value: string, name: string): void {
  if (/^[\x21-\x7e]+$/.test(value)) return;
  throw new ExportError(
    'configuration',
    `${name} contains a space, a line break or a character outside ASCII.`,
  );
}

async function waitFor<T>(promise: Promise<T>, signal: AbortSignal, url: string): Promise<T> {
  let stop = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(interrupted(url));
  });
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([stopped, promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
