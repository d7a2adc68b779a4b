/** Reads the certificate files that a connection names. Every function throws `configuration` with what is wrong with the file. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { ExportError } from '../../core/errors.ts';
import type { Environment } from './parameters.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** Where operating systems keep their certificate authorities, in the order of Go's crypto/x509. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The certificates of a PEM file, at least one. `quoted` is the parameter that names it, such as `sslrootcert=… in DATABASE_URL`. */
export function readCertificates(path: string, quoted: string): string[] {
  const bytes = readNamedFile(path, quoted);
  const certificates = bytes.toString('latin1').match(CERTIFICATE) ?? [];
  if (certificates.length === 0)
    throw wrongFile(quoted, describeContent(bytes), 'Name a PEM file that contains one.');
  for (const certificate of certificates) {
    if (!isCertificate(certificate))
      throw wrongFile(quoted, 'contains a damaged certificate', 'Download or copy the file again.');
  }
  return certificates;
}

/** The text of a PEM file of revoked certificates. */
export function readRevocations(path: string, quoted: string): string {
  const text = readNamedFile(path, quoted).toString('latin1');
  if (text.includes('-----BEGIN X509 CRL-----')) return text;
  throw wrongFile(
    quoted,
    'contains no list of revoked certificates',
    'Name a PEM file that contains "BEGIN X509 CRL".',
  );
}

/** The private key of `certificate`. `passphrase`: for an encrypted key. */
export function readKey(
  path: string,
  quoted: string,
  certificate: string,
  passphrase: string | undefined,
): KeyObject {
  const key = parseKey(readNamedFile(path, quoted), quoted, passphrase);
  if (!new X509Certificate(certificate).checkPrivateKey(key))
    throw wrongFile(
      quoted,
      'is not the key of the certificate in sslcert',
      'Name the key that belongs to it.',
    );
  return key;
}

function parseKey(bytes: Buffer, quoted: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key: bytes, ...(passphrase !== undefined && { passphrase }) });
  } catch (error) {
    const isEncrypted = /BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED/.test(bytes.toString('latin1'));
    if (isEncrypted && passphrase === undefined)
      throw wrongFile(quoted, 'is an encrypted key', 'Add its password as sslpassword to DATABASE_URL.');
    if (isEncrypted) throw wrongFile(quoted, 'cannot be decrypted with sslpassword', 'Correct the password.');
    throw wrongFile(
      quoted,
      'contains no private key in PEM form',
      'Name the key of the certificate in sslcert.',
      error,
    );
  }
}

/** Whether users other than the owner may read a key. libpq refuses it then; a file of root may be readable for its group. */
export function isReadableByOthers(path: string): boolean {
  if (process.platform === 'win32') return false;
  const { mode, uid } = statSync(path);
  return (mode & (uid === 0 ? 0o027 : 0o077)) !== 0;
}

/**
 * The authorities of `sslrootcert=system`: those of Node, of NODE_EXTRA_CA_CERTS, and of the operating system or, as in OpenSSL, of
 * SSL_CERT_FILE and SSL_CERT_DIR. An image without a bundle of its own has those of Node.
 */
export function readSystemAuthorities(environment: Environment): string[] {
  const { SSL_CERT_FILE: file, SSL_CERT_DIR: directory, NODE_EXTRA_CA_CERTS: extra } = environment;
  const own = file
    ? readCertificates(file, `SSL_CERT_FILE=${file}`)
    : SYSTEM_BUNDLES.map((path) => certificatesIn(path)).find((found) => found.length > 0);
  const inDirectory = directory ? directory.split(':').flatMap(filesIn).flatMap(certificatesIn) : [];
  return [
    ...new Set([
      ...rootCertificates,
      ...(own ?? []),
      ...inDirectory,
      ...(extra ? certificatesIn(extra) : []),
    ]),
  ];
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory).map((name) => join(directory, name));
  } catch {
    return [];
  }
}

/** The certificates of a file that may be absent or something else. */
function certificatesIn(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').match(CERTIFICATE) ?? [];
  } catch {
    return [];
  }
}

function readNamedFile(path: string, quoted: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = (error as Error).message.split(',')[0]!;
    throw wrongFile(
      quoted,
      `cannot be read (${reason})`,
      'Correct the path, or the permissions of the file.',
      error,
    );
  }
}

function wrongFile(quoted: string, found: string, remedy: string, cause?: unknown): ExportError {
  return new ExportError('configuration', `The file of ${quoted} ${found}. ${remedy}`, { cause });
}

function describeContent(bytes: Buffer): string {
  if (bytes.length === 0) return 'is empty';
  if (bytes[0] === 0x30 && isCertificate(bytes))
    return 'contains a certificate in DER form; convert it: openssl x509 -inform der -in FILE -out FILE.pem';
  return bytes.includes('PRIVATE KEY')
    ? 'contains a private key and no certificate'
    : 'contains no certificate';
}

function isCertificate(content: string | Buffer): boolean {
  try {
    return new X509Certificate(content) !== undefined;
  } catch {
    return false;
  }
}
