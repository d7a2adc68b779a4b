import type { Credentials } from '../../core/credentials.ts';
import { ExportError } from '../../core/errors.ts';
import type { Redactor } from '../../text/redaction.ts';
import { parseErrorBody } from './error-body.ts';
import { type Answer, FailedTry, OversizedBody, type SendOptions, send, showUrl } from './request.ts';
import { checkAnswer, describeAnswer, MOST_READ } from './response.ts';
import { interrupted, type RetryOptions, withRetries } from './retries.ts';

/** A bearer token and what is known of it. `expiresAt` and `scope` are `null` where nobody said. */
export interface Token {
  value: string;
  expiresAt: Date | null;
  scope: string | null;
}

/** Hands out one token until it is about to expire, and asks for the next one once, however many callers wait for it. */
export interface TokenSource {
  /** Whether asking again can give another token. */
  isRenewable: boolean;
  /** Throws `ExportError` with `configuration`, `source-away` or `interrupted`. */
  fetchToken(signal: AbortSignal): Promise<Token>;
  /** Forgets the token the source did not accept. A newer one that another caller has fetched since is kept. */
  invalidate(value: string): void;
  /** Ends a token request under way. */
  close(): void;
}

/** On premises a token may live for minutes only: the margin is a tenth of its life, and at most this. */
const MAX_MARGIN_MS = 60_000;

/** What UiPath documents for Automation Cloud, where an answer does not say how long its token lives. */
const DEFAULT_LIFE_S = 3600;

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
  /** Is told each new token before it is used, so that a log can learn to hide it. */
  onToken?: ((value: string) => void) | undefined;
}

export function createTokenSource(credentials: Credentials, options: TokenOptions): TokenSource {
  if (credentials.kind === 'token') return createFixedToken(credentials.accessToken);
  const client = credentials;
  const { redact } = options;
  const now = options.now ?? Date.now;
  const life = new AbortController();
  let kept: (Token & { freshUntil: number }) | undefined;
  let flight: Promise<Token> | undefined;

  async function renew(): Promise<Token> {
    const askedAt = now();
    const { token, lifeMs } = await requestToken(client, life.signal, options);
    redact.add(token.value);
    options.onToken?.(token.value);
    const freshUntil = askedAt + lifeMs - Math.min(MAX_MARGIN_MS, lifeMs / 10);
    kept = { ...token, expiresAt: new Date(askedAt + lifeMs), freshUntil };
    return kept;
  }

  return {
    isRenewable: true,
    async fetchToken(signal) {
      if (kept && now() < kept.freshUntil) return kept;
      flight ??= renew().finally(() => {
        flight = undefined;
      });
      // The flight belongs to all who wait for it: one that stops waiting does not end it for the others.
      return await waitFor(flight, signal, showUrl(client.tokenUrl));
    },
    invalidate(value) {
      if (kept?.value === value) kept = undefined;
    },
    close: () => life.abort(),
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
  options: TokenOptions,
): Promise<{ token: Token; lifeMs: number }> {
  const { clientId, clientSecret, scope, tokenUrl } = credentials;
  const url = showUrl(tokenUrl);
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    client_secret: clientSecret,
    scope,
  });
  const outgoing = {
    method: 'POST',
    url: tokenUrl,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' },
    data: form.toString(),
  } as const;
  const tryOnce = async () => {
    const answer = await send(outgoing, { ...options, signal }).catch((error: unknown) => {
      if (!(error instanceof OversizedBody)) throw error;
      throw new ExportError(
        'configuration',
        `${url} answered with more than a token. Check UIPATH_TOKEN_URL.`,
      );
    });
    return readToken(answer, url, options.redact);
  };
  return await withRetries(tryOnce, { url, signal }, options);
}

function readToken(answer: Answer, url: string, redact: Redactor): { token: Token; lifeMs: number } {
  const { code } = parseErrorBody(answer.body.subarray(0, MOST_READ).toString());
  const remedy = code !== null && answer.status < 500 ? REMEDIES[code] : undefined;
  if (remedy !== undefined && answer.status >= 400) {
    const found = describeAnswer(answer, redact, true);
    const shown = found.includes(code!) ? found : `${found} [${code}]`;
    throw new ExportError('configuration', `No token: ${url} answered ${shown}. ${remedy}.`);
  }
  checkAnswer(answer, {
    url,
    variables: `UIPATH_ORGANIZATION and UIPATH_TOKEN_URL. ${TOKEN_URL_HINT}`,
    redact,
    isToken: true,
  });
  let body: Record<string, unknown> | null;
  try {
    body = JSON.parse(answer.body.toString().replace(/^\uFEFF/, ''));
  } catch {
    throw new FailedTry(
      { kind: 'truncated' },
      `a body of ${answer.body.length} bytes that is not whole JSON`,
    );
  }
  const value = body?.access_token;
  if (typeof value !== 'string' || value === '') {
    throw new ExportError(
      'configuration',
      `${url} answered JSON without an access_token. ${TOKEN_URL_HINT}.`,
    );
  }
  checkHeaderSafe(value, `The access_token that ${url} gave`);
  const token = { value, expiresAt: null, scope: readScope(body?.scope, value, redact) };
  return { token, lifeMs: readLife(body?.expires_in) * 1000 };
}

/** `null` for what is no list of scopes, and for one that quotes a credential, this token included. */
function readScope(found: unknown, token: string, redact: Redactor): string | null {
  if (typeof found !== 'string' || !/^[\x21-\x7e]{1,200}( [\x21-\x7e]{1,200}){0,99}$/.test(found))
    return null;
  return found.includes(token) || redact.holdsSecret([found]) ? null : found;
}

/** `expires_in` in seconds, number or numeric string. */
function readLife(found: unknown): number {
  const seconds = typeof found === 'string' && found.trim() !== '' ? Number(found) : found;
  return typeof seconds === 'number' && Number.isFinite(seconds) ? Math.max(0, seconds) : DEFAULT_LIFE_S;
}

function checkHeaderSafe(value: string, name: string): void {
  if (/^[\x21-\x7e]+$/.test(value)) return;
  throw new ExportError('configuration', `${name} holds a space, a line break or a character beyond ASCII.`);
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
