/**
 * TLS as libpq does it: what each sslmode sends, verifies and falls back to. pg and pg-connection-string read the same parameters, but
 * give `require`, `prefer` and `verify-ca` the meaning of `verify-full`, print a warning, and know neither `allow` nor
 * `sslrootcert=system`.
 *
 * Differences from libpq, all towards more safety or without effect where no files are in ~/.postgresql:
 * - Files in ~/.postgresql are not read. `verify-full` and `verify-ca` without sslrootcert verify as with `sslrootcert=system`, and
 *   then both compare the host name.
 * - With sslrootcert and without sslmode, the mode is `verify-full`.
 * - A file that is named and cannot be used is an error in every mode except `disable`.
 */

import type { ConnectionOptions } from 'node:tls';
import { createSecureContext, type SecureContextOptions, type SecureVersion } from 'node:tls';
import { ExportError } from '../../core/errors.ts';
import { nearest } from '../../text/suggest.ts';
import type { Environment, Parameters } from './parameters.ts';
import {
  isReadableByOthers,
  readCertificates,
  readKey,
  readRevocations,
  readSystemAuthorities,
} from './tls-files.ts';

/** `no-verify` is pg's name for libpq's `require` without sslrootcert. */
export const MODES = [
  'disable',
  'allow',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
  'no-verify',
] as const;
export type Mode = (typeof MODES)[number];

/** What the client compares the server's certificate with. */
export type Verification = 'nothing' | 'authority' | 'authority and host';

/** One way to open a connection. */
export interface TlsAttempt {
  /** For pg. */
  ssl: false | ConnectionOptions;
  verification: Verification;
  /** Continues without TLS on the same connection if the server has none. */
  mayBePlain: boolean;
}

export interface TlsPlan {
  mode: Mode;
  /** Whether the URL or the environment names a mode or a certificate. */
  isChosen: boolean;
  /** In this order; the next one is tried if TLS or the server's access rules reject the connection. */
  attempts: readonly TlsAttempt[];
  /** sslrootcert as a person set it; `undefined`: the authorities of Node. */
  authority: string | undefined;
  notes: readonly string[];
}

const PLAIN: TlsAttempt = { ssl: false, verification: 'nothing', mayBePlain: false };

/** Reads the files that the parameters name. Throws `configuration`. `isSocket`: only Unix sockets, which never use TLS. */
export function planTls(
  parameters: Parameters,
  environment: Environment,
  { isSocket }: { isSocket: boolean },
): TlsPlan {
  const { get, quote } = parameters;
  const isChosen = ['sslmode', 'ssl', 'sslrootcert', 'sslcert'].some((name) => get(name) !== undefined);
  const mode = readMode(parameters);
  const plan = { mode, isChosen, authority: undefined, notes: [] };
  if (mode === 'disable' || isSocket) return { ...plan, attempts: [PLAIN] };
  const context = readContext(parameters, environment, mode);
  const verification = verificationOf(mode, get('sslrootcert'));
  const ssl: ConnectionOptions = {
    secureContext: createContext(context.options, parameters),
    // Always set: NODE_TLS_REJECT_UNAUTHORIZED=0, set for another program, would change the default.
    rejectUnauthorized: verification !== 'nothing',
    ...(verification === 'authority' && { checkServerIdentity: () => undefined }),
  };
  const encrypted: TlsAttempt = { ssl, verification, mayBePlain: mode === 'prefer' };
  const attempts =
    mode === 'allow' ? [PLAIN, encrypted] : mode === 'prefer' ? [encrypted, PLAIN] : [encrypted];
  const authority = get('sslrootcert') === undefined ? undefined : quote('sslrootcert');
  return { ...plan, attempts, authority, notes: context.notes };
}

function readMode(parameters: Parameters): Mode {
  const { get, quote } = parameters;
  const mode = namedMode(parameters);
  const found = get('sslmode') === undefined ? '' : quote('sslmode');
  if (mode !== undefined && !MODES.includes(mode as Mode)) {
    const meant = nearest(mode, MODES);
    const suggestion = meant === undefined ? '' : `Did you mean ${meant}? `;
    throw configuration(`${found} is not known. ${suggestion}The modes are ${MODES.join(', ')}.`);
  }
  const isDirect = isDirectNegotiation(parameters);
  if (get('uselibpqcompat') === 'false' && ['allow', 'prefer', 'require', 'verify-ca'].includes(mode ?? ''))
    throw configuration(
      `uselibpqcompat=false in DATABASE_URL has no effect: ${found} has the meaning of libpq. Remove it, and set ` +
        'sslmode=verify-full to verify the certificate and the host name.',
    );
  const isSystem = get('sslrootcert') === 'system';
  if (isSystem && mode !== undefined && mode !== 'verify-full' && mode !== 'disable')
    throw configuration(
      `${found} is too weak for ${quote('sslrootcert')}: anyone can get a certificate of a public authority, so the host ` +
        'name must be compared. Set sslmode=verify-full.',
    );
  const effective = (mode ?? (get('sslrootcert') === undefined ? 'prefer' : 'verify-full')) as Mode;
  if (isDirect && ['disable', 'allow', 'prefer'].includes(effective))
    throw configuration(
      `${quote('sslnegotiation')} needs TLS: set sslmode=verify-full, verify-ca or require.`,
    );
  return effective;
}

/** `ssl=true` is verify-full, as in pg. libpq reads it as `require`, which verifies nothing. */
function namedMode({ get }: Parameters): string | undefined {
  const ssl = get('ssl');
  if (get('sslmode') !== undefined || ssl === undefined) return get('sslmode');
  const modes: Record<string, Mode> = {
    ...{ true: 'verify-full', 1: 'verify-full', false: 'disable', 0: 'disable', 'no-verify': 'no-verify' },
  };
  const mode = modes[ssl];
  if (mode === undefined)
    throw configuration('ssl in DATABASE_URL may be true or false. Set sslmode instead.');
  return mode;
}

function isDirectNegotiation({ get, quote }: Parameters): boolean {
  const negotiation = get('sslnegotiation') ?? 'postgres';
  if (negotiation !== 'postgres' && negotiation !== 'direct')
    throw configuration(`${quote('sslnegotiation')} is not known. It may be postgres or direct.`);
  return negotiation === 'direct';
}

/** With sslrootcert, `require` and `prefer` verify the authority, as in libpq. */
function verificationOf(mode: Mode, rootCertificate: string | undefined): Verification {
  if (mode === 'no-verify') return 'nothing';
  if (mode === 'verify-full' || (mode === 'verify-ca' && rootCertificate === undefined))
    return 'authority and host';
  return rootCertificate === undefined ? 'nothing' : 'authority';
}

function readContext(
  { get, quote }: Parameters,
  environment: Environment,
  mode: Mode,
): { options: SecureContextOptions; notes: string[] } {
  const options: SecureContextOptions = {};
  const notes: string[] = [];
  const root = get('sslrootcert');
  // Without `ca`, Node takes its own authorities and those of NODE_EXTRA_CA_CERTS.
  if (root === 'system' || (root === undefined && mode.startsWith('verify')))
    options.ca = readSystemAuthorities(environment);
  else if (root !== undefined) options.ca = readCertificates(root, quote('sslrootcert'));
  const [certificate, key, revocations] = [get('sslcert'), get('sslkey'), get('sslcrl')];
  if ((certificate === undefined) !== (key === undefined)) {
    const [found, missing] = certificate === undefined ? ['sslkey', 'sslcert'] : ['sslcert', 'sslkey'];
    throw configuration(
      `${quote(found!)} needs ${missing}, the file of the ${missing === 'sslkey' ? 'private key' : 'certificate'}.`,
    );
  }
  if (certificate !== undefined && key !== undefined) {
    const chain = readCertificates(certificate, quote('sslcert'));
    const privateKey = readKey(key, quote('sslkey'), chain[0]!, get('sslpassword'));
    options.cert = chain.join('\n');
    options.key = privateKey.export({ type: 'pkcs8', format: 'pem' });
    if (isReadableByOthers(key))
      notes.push(`The file of ${quote('sslkey')} is readable for other users: chmod 600.`);
  }
  if (revocations !== undefined) options.crl = readRevocations(revocations, quote('sslcrl'));
  return { options, notes };
}

function createContext(options: SecureContextOptions, { get, quote }: Parameters) {
  for (const [name, option] of VERSION_LIMITS) {
    const version = get(name);
    if (version === undefined) continue;
    if (!/^TLSv1(\.[123])?$/.test(version))
      throw configuration(`${quote(name)} is not known. It may be TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3.`);
    options[option] = version as SecureVersion;
  }
  try {
    return createSecureContext(options);
  } catch (error) {
    const reason = (error as Error).message;
    throw configuration(
      `The files of sslrootcert, sslcert, sslkey and sslcrl cannot be used: ${reason}.`,
      error,
    );
  }
}

const VERSION_LIMITS = [
  ['ssl_min_protocol_version', 'minVersion'],
  ['ssl_max_protocol_version', 'maxVersion'],
] as const;

function configuration(message: string, cause?: unknown): ExportError {
  return new ExportError('configuration', message, { cause });
}
