/** Who may read the status page and the metrics. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { StatusConfig } from '../config/config.ts';
import { readSecretText, reasonOf } from '../config/environment.ts';
import type { Logger } from '../log.ts';

/** Returns whether a request with this Authorization header is allowed. */
export type Access = (authorization: string | undefined) => boolean;

/** The header of a response with 401. Browsers show a login window; Prometheus and scripts send the token as a bearer token. */
export const CHALLENGE =
  'Basic realm="UiPath audit export", charset="UTF-8", Bearer realm="UiPath audit export"';

/**
 * Without a token everything is allowed. The file of the token is read at each request, so that a new token takes effect at once.
 * While it cannot be read or holds no token, the last one stays valid, with a warning in the log.
 */
export function createAccess(
  token: StatusConfig['token'],
  { log, onToken = () => {} }: { log: Logger; onToken?: ((token: string) => void) | undefined },
): Access {
  if (!token) return () => true;
  const { file } = token;
  let { value } = token;
  let lastProblem: string | undefined;

  const renew = (path: string) => {
    const found = readToken(path);
    if (found.problem !== undefined && found.problem !== lastProblem)
      log.warn(`STATUS_TOKEN_FILE: ${found.problem}. The last token stays valid`);
    lastProblem = found.problem;
    if (found.token === undefined || found.token === value) return;
    value = found.token;
    onToken(value);
    log.info('STATUS_TOKEN_FILE has a new token');
  };
  return (authorization) => {
    if (file !== undefined) renew(file);
    const sent = tokenOf(authorization ?? '');
    return sent !== undefined && isSame(sent, value);
  };
}

function readToken(
  path: string,
): { token: string; problem?: undefined } | { token?: undefined; problem: string } {
  try {
    const token = readSecretText(path);
    if (/^[\x21-\x7e]+$/.test(token)) return { token };
    return {
      problem:
        token.trim() === '' ? 'the file is empty' : 'the file holds a space or line break in the token',
    };
  } catch (error) {
    return { problem: `the file cannot be read (${reasonOf(error)})` };
  }
}

/** A bearer token, or the password of HTTP Basic with any user name. */
function tokenOf(authorization: string): string | undefined {
  const [, scheme = '', credentials = ''] = /^(bearer|basic) +([\x21-\x7e]+) *$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() === 'bearer') return credentials;
  const decoded = Buffer.from(credentials, 'base64').toString();
  const colon = decoded.indexOf(':');
  return colon === -1 ? undefined : decoded.slice(colon + 1);
}

/** Takes the same time wherever the two differ, and whatever their lengths are. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
