import type { IncomingMessage } from 'node:http';
import { isRetriedStatus } from '../../core/retry.ts';
import { CERTIFICATE_CODES } from './certificates.ts';
import { type HttpProxy, showProxy } from './proxy.ts';

/**
 * The proxy opened no connection to the source. The message is for a person: it names the proxy, what it did, and, where a retry
 * does not help, the remedy. It may quote the proxy.
 */
export class ProxyError extends Error {
  /** Whether a later attempt may succeed: no response, or a status that is retried. */
  readonly isRetried: boolean;
  /** The header of the proxy's response. */
  readonly retryAfter: string | undefined;

  constructor(message: string, how: { isRetried?: boolean; retryAfter?: string | undefined } = {}) {
    super(message);
    this.isRetried = how.isRetried ?? false;
    this.retryAfter = how.retryAfter;
  }
}

const MAX_QUOTED_CHARACTERS = 100;

/** The proxy has not responded within the timeout of a request. */
export function timeoutError(proxy: HttpProxy, timeoutMs: number): ProxyError {
  const found = `the proxy ${showProxy(proxy)} opened no connection within ${timeoutMs / 1000} s`;
  return new ProxyError(found + protocolHint(proxy), { isRetried: true });
}

/** The proxy responded to CONNECT with another status than 200. `target` is the host and port of the source. */
export function refusalError(proxy: HttpProxy, target: string, response: IncomingMessage): ProxyError {
  const { statusCode: status = 0, statusMessage = '', headers } = response;
  const quoted = `HTTP ${status} ${statusMessage.slice(0, MAX_QUOTED_CHARACTERS)}`.trim();
  const found = `the proxy ${showProxy(proxy)} refused to connect to ${target}: ${quoted}${describeDetails(response)}`;
  if (isRetriedStatus(status)) {
    return new ProxyError(found, { isRetried: true, retryAfter: headers['retry-after'] });
  }
  return new ProxyError(`${found}. ${remedyFor(proxy, target, response)}`);
}

/** The connection to the proxy failed before it responded. */
export function connectionError(proxy: HttpProxy, error: NodeJS.ErrnoException): ProxyError {
  const { code = '', message } = error;
  const subject = `the proxy ${showProxy(proxy)}`;
  const quoted = (message.includes(code) ? message : `${code}: ${message}`).trim();
  const found = quoted.slice(0, MAX_QUOTED_CHARACTERS);
  if (CERTIFICATE_CODES.has(code)) {
    return new ProxyError(
      `the certificate of ${subject} is not trusted (${found}). If a private authority signed it, set NODE_EXTRA_CA_CERTS to ` +
        'its PEM file, in the environment and not in .env.',
    );
  }
  if (/^(HPE_|EPROTO|ERR_SSL)/.test(code)) {
    return new ProxyError(
      `${subject} did not respond as an HTTP proxy (${found}). Check ${proxy.variable}${protocolHint(proxy)}.`,
    );
  }
  const isClosed = code === 'ECONNRESET' || code === 'EPIPE';
  const what = isClosed
    ? 'closed the connection without a response'
    : code === 'ENOTFOUND'
      ? 'cannot be found by its name'
      : 'cannot be reached';
  return new ProxyError(`${subject} ${what} (${found})${isClosed ? protocolHint(proxy) : ''}`, {
    isRetried: true,
  });
}

function protocolHint({ protocol, variable }: HttpProxy): string {
  return protocol === 'http:'
    ? `; if it expects TLS, ${variable} must begin with https://`
    : `; if it expects no TLS, ${variable} must begin with http://`;
}

function describeDetails(response: IncomingMessage): string {
  const schemes = schemesOf(response);
  if (schemes.length > 0) return ` (it accepts ${schemes.join(', ')})`;
  const { location } = response.headers;
  if (location === undefined || !URL.canParse(location)) return '';
  return `, a redirect to ${new URL(location).host.slice(0, MAX_QUOTED_CHARACTERS)}`;
}

/** The authentication schemes that the proxy accepts, such as `Basic`. */
function schemesOf({ headersDistinct }: IncomingMessage): string[] {
  const challenges = headersDistinct['proxy-authenticate'] ?? [];
  const schemes = challenges.flatMap((challenge) => /^[\w-]{1,20}(?=\s|,|$)/.exec(challenge.trim()) ?? []);
  return [...new Set(schemes)];
}

function remedyFor(proxy: HttpProxy, target: string, response: IncomingMessage): string {
  const { variable, protocol, name, authorization } = proxy;
  if (response.statusCode === 407) {
    const schemes = schemesOf(response);
    if (schemes.length > 0 && !schemes.some((scheme) => /^basic$/i.test(scheme))) {
      return (
        'This program sends only Basic credentials: run a local proxy that supports these, such as px or cntlm, and name it in ' +
        `${variable}.`
      );
    }
    return authorization === undefined
      ? `Set ${variable} to ${protocol}//user:password@${name}, with special characters percent-encoded.`
      : `Correct the user name and the password in ${variable}; special characters are percent-encoded, such as %25 for %.`;
  }
  if (response.statusCode === 403 || response.statusCode === 451) {
    const host = target.replace(/:\d+$/, '');
    return `Have ${target} added to the proxy's allow list, or set NO_PROXY=${host} if it can be reached without the proxy.`;
  }
  return `Check that ${variable} names an HTTP proxy that allows CONNECT to ${target}.`;
}
