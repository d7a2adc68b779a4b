/** How a connection is protected, in words for `check`. */
import { TLSSocket } from 'node:tls';
import type pg from 'pg';
import { AttemptClient, TargetPool } from './client.ts';
import type { Target } from './target.ts';

export interface Encryption {
  /** One phrase, such as "TLS 1.3, certificate verified". */
  found: string;
  /** What to change; `undefined` if the protection fits the network in between. */
  advice: string | undefined;
}

/**
 * Describes the connection of `client`. A connection that stays on this machine needs no encryption. It is described with an
 * advice only if the URL demands more than it got.
 */
export function describeEncryption(pool: pg.Pool, client: pg.ClientBase): Encryption {
  if (!(pool instanceof TargetPool) || !(client instanceof AttemptClient))
    return { found: 'encryption unknown', advice: undefined };
  const { target, fallbackReason } = pool;
  const { stream } = client;
  const isLocal = isLoopback(stream.remoteAddress ?? '');
  if (client.attempt.host.startsWith('/')) return { found: 'over a Unix socket', advice: undefined };
  if (!(stream instanceof TLSSocket)) return describePlain(target, isLocal, fallbackReason);
  const version = (stream.getProtocol() ?? 'TLS').replace(/^TLSv/, 'TLS ');
  return { ...describeVerification(client, target, isLocal), found: `${version}, ${verified(client)}` };
}

function verified({ attempt }: AttemptClient): string {
  if (attempt.verification === 'nothing') return 'encrypted, certificate not verified';
  return attempt.verification === 'authority'
    ? 'certificate verified, host name not compared'
    : 'certificate verified';
}

const VERIFY = 'Set sslmode=verify-full in DATABASE_URL, with sslrootcert=FILE or sslrootcert=system.';

function describePlain(target: Target, isLocal: boolean, reason: Error | undefined): Encryption {
  const where = isLocal ? ' (connection within this machine)' : '';
  const failed = reason ? ` TLS failed: ${reason.message}.` : '';
  // A certificate that is named and not used: the operator expects more.
  const isTooLittle = !isLocal || (reason !== undefined && target.tls.authority !== undefined);
  const advice = `Others on the network can read the password and the events.${failed} ${VERIFY}`;
  return { found: `not encrypted${where}`, advice: isTooLittle ? advice : undefined };
}

function describeVerification(
  { attempt }: AttemptClient,
  { tls }: Target,
  isLocal: boolean,
): { advice: string | undefined } {
  if (attempt.verification !== 'nothing') return { advice: undefined };
  // Modes that accept a plain connection, which would be fine here.
  if (isLocal && ['prefer', 'allow'].includes(tls.mode)) return { advice: undefined };
  return { advice: `Another server could pretend to be this one. ${VERIFY}` };
}

function isLoopback(address: string): boolean {
  return /^(::ffff:)?127\.|^::1$/.test(address);
}
