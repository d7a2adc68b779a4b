/** Failures to open a connection: which ones another attempt may avoid, and what an operator has to do about the others. */
import { ExportError } from '../../core/errors.ts';
import type { Attempt, Target } from './target.ts';

/** Node's codes of X.509, TLS and OpenSSL. */
const TLS =
  /^(CERT_|CRL_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERROR_IN_|INVALID_|PATH_LENGTH|HOSTNAME_|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO)/;
const UNKNOWN_AUTHORITY = /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET_ISSUER|VERIFY)|CERT_UNTRUSTED|INVALID_CA)/;
/** Of pg, which sets no code. */
const NO_TLS = /does not support SSL connections/;
/** Of pg: the response to the request for TLS is neither yes nor no. */
const NO_POSTGRES = /error establishing an SSL connection/;
const ACCESS_RULES = '28000';
/** The server is starting, stopping or recovering. */
const NOT_READY = /^57P0[1-3]$/;
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET|EADDRNOTAVAIL|ENOENT)/;

const wrongServers = new WeakSet<Error>();

/** The error for a server that target_session_attrs excludes: another host may be the wanted one. */
export function wrongServer(message: string): ExportError {
  const error = new ExportError('database-away', message);
  wrongServers.add(error);
  return error;
}

/** Whether the server, or the client, rejected how the connection was encrypted: the next attempt of the same host may work. */
export function isRejection(error: Error): boolean {
  return isTlsFailure(error) || codeOf(error) === ACCESS_RULES;
}

export function isTlsFailure(error: Error): boolean {
  return TLS.test(codeOf(error)) || NO_TLS.test(error.message) || NO_POSTGRES.test(error.message);
}

/** Whether another host may work. */
export function isHostFailure(error: Error): boolean {
  const code = codeOf(error);
  if (wrongServers.has(error) || NETWORK.test(code) || NOT_READY.test(code)) return true;
  // Node's error for a host of which each address failed, and pg's own errors, which have no code.
  return 'errors' in error || (code === '' && /connection|timeout/i.test(error.message));
}

/** The error of several hosts or attempts. Not empty. */
export function summarizeFailures(failures: ReadonlyMap<Attempt, Error>, target: Target): Error {
  const entries = [...failures];
  const [attempt, error] = entries.find(([, failure]) => isTlsFailure(failure)) ?? entries.at(-1)!;
  const explained = explainFailure(error, attempt, target);
  if (explained !== error || new Set(entries.map(([{ hostIndex }]) => hostIndex)).size < 2) return explained;
  const list = entries.map(([of, failure]) => `${nameOf(of)}: ${describe(failure)}`).join('; ');
  return new ExportError(
    'database-away',
    `No host of DATABASE_URL can be used: ${list}. Check that the database is up and reachable. The next run continues where ` +
      'this one stopped.',
    { cause: error },
  );
}

/** A `configuration` error where an operator has to change something; else `error` itself. */
export function explainFailure(error: Error, attempt: Attempt, target: Target): Error {
  const problem = isTlsFailure(error)
    ? describeTls(error, attempt, target)
    : (describeEncoding(error) ?? describeRejection(error, attempt, target));
  return problem === undefined ? error : new ExportError('configuration', problem, { cause: error });
}

function describeTls(error: Error, attempt: Attempt, { tls }: Target): string {
  const code = codeOf(error);
  const where = nameOf(attempt);
  const certificate = `The certificate of the PostgreSQL at ${where}`;
  if (NO_TLS.test(error.message))
    return (
      `The PostgreSQL at ${where} does not support TLS, which sslmode=${tls.mode} requires. Enable it on the server (ssl = on), ` +
      'or set sslmode=disable in DATABASE_URL if the network in between is trusted.'
    );
  if (NO_POSTGRES.test(error.message))
    return (
      `The server at ${where} did not respond to the request for TLS as PostgreSQL does. Check host and port in DATABASE_URL, and the ` +
      'log of the server.'
    );
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return (
      `${certificate} is not for this host name: it is for ${namesIn(error)}. Write one of its names as the host in ` +
      'DATABASE_URL. If none leads to the server, set sslmode=verify-ca with sslrootcert: then only its authority is verified.'
    );
  if (code === 'CERT_HAS_EXPIRED')
    return `${certificate}, or of its authority, has expired. Renew it on the server; if the authority is new, name its file with sslrootcert.`;
  if (code === 'CERT_NOT_YET_VALID')
    return `${certificate}, or of its authority, is not valid yet. Check the clocks of this machine and of the server.`;
  if (code === 'CERT_REVOKED')
    return `${certificate} is revoked by the list of sslcrl. Renew it on the server.`;
  if (/CRL/.test(code))
    return `${certificate} cannot be compared with the list of sslcrl: ${describe(error)}. Renew the list.`;
  if (UNKNOWN_AUTHORITY.test(code)) return `${certificate} ${describeAuthority(error, tls.authority)}`;
  return (
    `TLS with the PostgreSQL at ${where} failed: ${describe(error)}. If the server requires a client certificate, set sslcert and ` +
    'sslkey in DATABASE_URL to one that it accepts; if it requires another version of TLS, set ssl_min_protocol_version.'
  );
}

function describeAuthority(error: Error, authority: string | undefined): string {
  const reason = describe(error);
  if (authority === undefined || authority.startsWith('sslrootcert=system'))
    return (
      `is signed by no authority that is known here (${reason}). Get the file of its authority from your provider or ` +
      'administrator and add sslrootcert=FILE to DATABASE_URL, or name it in NODE_EXTRA_CA_CERTS.'
    );
  return `is not signed by the authority in the file of ${authority} (${reason}). Name the file of the authority that signed it.`;
}

/** The server cannot convert to UTF8, which this program speaks. */
function describeEncoding(error: Error): string | undefined {
  if (!('routine' in error) || error.routine !== 'InitializeClientEncoding') return undefined;
  return (
    `The encoding of the database cannot be used: ${describe(error)}. It must be UTF8. Create another database, for example with: ` +
    `create database audit_utf8 encoding 'UTF8' template template0; and name it in DATABASE_URL.`
  );
}

/** A rejection by pg_hba.conf, which may depend on encryption. PostgreSQL's routine tells it from a wrong password in any language. */
function describeRejection(error: Error, attempt: Attempt, { tls }: Target): string | undefined {
  const isByRules =
    codeOf(error) === ACCESS_RULES && 'routine' in error && error.routine === 'ClientAuthentication';
  if (!isByRules) return undefined;
  const found = `The PostgreSQL at ${nameOf(attempt)} rejected the connection: ${describe(error)} (${ACCESS_RULES}).`;
  if (tls.mode === 'disable')
    return `${found} The connection was not encrypted (sslmode=disable). If the server requires TLS, set sslmode=verify-full in DATABASE_URL.`;
  return (
    `${found} Its pg_hba.conf needs a rule for this user, database and host. If the rule requires a client certificate, set sslcert ` +
    'and sslkey in DATABASE_URL.'
  );
}

function namesIn(error: Error): string {
  const { cert } = error as { cert?: { subjectaltname?: string; subject?: { CN?: string } } };
  const names = cert?.subjectaltname ?? cert?.subject?.CN ?? 'another one';
  return names.replaceAll(/(DNS|IP Address):/g, '').slice(0, 300);
}

export function nameOf({ host, port }: Attempt): string {
  if (host.startsWith('/')) return `${host} (socket of port ${port})`;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The first line, without the file and line of OpenSSL's source. */
function describe(error: Error): string {
  if ('errors' in error && Array.isArray(error.errors)) return error.errors.map(describe).join(', ');
  const line = error.message.split('\n')[0]!.trim();
  return /^[0-9A-F]+:error:/.test(line) ? line.split(':')[5] || line : line.replace(/\.$/, '');
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : '';
}
