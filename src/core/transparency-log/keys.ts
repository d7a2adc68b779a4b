/**
 * Ed25519 keys as PEM text: PKCS#8 for private keys, SPKI for public ones, as `openssl genpkey -algorithm ed25519` writes them.
 *
 * A text may contain several keys: while a key is replaced, a log signs with the old and the new one. Messages never contain a part of
 * the text, because it may be a private key.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, type KeyObject } from 'node:crypto';
import { ExportError } from '../errors.ts';

export function generatePrivateKey(): KeyObject {
  return generateKeyPairSync('ed25519').privateKey;
}

/** PEM with a final newline. */
export function formatPrivateKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** PEM with a final newline. */
export function formatPublicKey(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

export function publicKeyOf(privateKey: KeyObject): KeyObject {
  return createPublicKey(privateKey);
}

/**
 * SHA-256 of the SPKI DER as 64 hex digits, as Sigstore names a log by its key.
 * `openssl pkey -pubin -in FILE -outform DER | sha256sum` prints the same.
 */
export function fingerprintOf(publicKey: KeyObject): string {
  return hash('sha256', publicKey.export({ type: 'spki', format: 'der' }));
}

/**
 * Parses one or more private keys. `from` names the text in messages, for example a variable and a file. Throws an ExportError
 * (`configuration`).
 */
export function parsePrivateKeys(text: string, from: string): KeyObject[] {
  return parseKeys(text, { from, kind: 'private', label: 'PRIVATE KEY', parse: createPrivateKey });
}

/** Parses one or more public keys. Like `parsePrivateKeys`. */
export function parsePublicKeys(text: string, from: string): KeyObject[] {
  return parseKeys(text, { from, kind: 'public', label: 'PUBLIC KEY', parse: createPublicKey });
}

interface Expected {
  from: string;
  kind: 'private' | 'public';
  /** Of the PEM block. */
  label: string;
  parse: (pem: string) => KeyObject;
}

const PEM_BLOCK = /-----BEGIN ([^\n-]+)-----(?:(?!-----).)*-----END \1-----/gs;

function parseKeys(text: string, expected: Expected): KeyObject[] {
  const blocks = [...text.matchAll(PEM_BLOCK)];
  const begun = text.match(/-----BEGIN /g)?.length ?? 0;
  if (blocks.length === 0 || blocks.length !== begun) throw rejection(expected, describeText(text, begun));
  const keys = blocks.map(([block, label]) => {
    if (label !== expected.label) throw rejection(expected, describeBlock(label!, block));
    const key = parseBlock(block, expected);
    if (key.asymmetricKeyType !== 'ed25519') {
      throw rejection(expected, `${nameOfType(key.asymmetricKeyType)} ${expected.kind} key`);
    }
    return key;
  });
  if (keys.some((key, at) => keys.slice(at + 1).some((other) => key.equals(other)))) {
    throw rejection(expected, 'the same key twice');
  }
  return keys;
}

function parseBlock(block: string, expected: Expected): KeyObject {
  try {
    return expected.parse(block);
  } catch {
    // OpenSSL's message can quote the text.
    throw rejection(expected, `a damaged PEM block (${expected.label})`);
  }
}

function rejection({ from, kind }: Expected, found: string): ExportError {
  const example =
    kind === 'private'
      ? 'as `ledger keygen` or `openssl genpkey -algorithm ed25519` writes it'
      : 'as `openssl pkey -in PRIVATE_KEY_FILE -pubout` prints it';
  const form = kind === 'private' ? 'PKCS#8' : 'SPKI';
  return new ExportError(
    'configuration',
    `${from}: expected an Ed25519 ${kind} key (PEM, ${form}), ${example}; found ${found}.`,
  );
}

/** Describes a PEM block by its label. */
function describeBlock(label: string, block: string): string {
  if (label === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED/m.test(block)) {
    return 'an encrypted private key. Decrypt it: `openssl pkey -in FILE -out NEW_FILE`';
  }
  if (label === 'PUBLIC KEY') return 'a public key';
  if (label === 'PRIVATE KEY') return 'a private key. Keep it secret, and pass the public key here';
  const [, type, kind] = /^(RSA|DSA|EC|OPENSSH) (PUBLIC KEY|PRIVATE KEY)$/.exec(label) ?? [];
  if (label === 'EC PARAMETERS') return 'the parameters of an EC key';
  if (type === 'OPENSSH') return 'an OpenSSH private key';
  if (type !== undefined) return `${nameOfType(type.toLowerCase())} ${kind!.toLowerCase()}`;
  if (/^(X509 |TRUSTED )?CERTIFICATE$/.test(label)) return 'a certificate';
  return 'a PEM block of another kind';
}

/** Describes a text that is not made of PEM blocks. */
function describeText(text: string, begun: number): string {
  const trimmed = text.trim();
  if (trimmed === '') return 'an empty text';
  if (begun > 0) return 'a PEM block that is cut off or damaged';
  // Of a binary file that was read as text, or of UTF-16.
  if (/[\0\uFFFD]/.test(text)) return 'binary data, perhaps DER or UTF-16';
  if (/^PRIVATE\+KEY\+/.test(trimmed)) return 'a signer key of signed notes (PRIVATE+KEY+...)';
  if (/^[^\s+]+\+[0-9a-f]{8}\+\S+$/i.test(trimmed)) return 'a verifier key of signed notes (NAME+ID+KEY)';
  if (/^(ssh|ecdsa|sk)-[\w@.-]+ /.test(trimmed)) return 'an OpenSSH public key';
  if (/^[[{]/.test(trimmed)) return 'JSON';
  return 'another text';
}

/** With its article: `an RSA`. */
function nameOfType(type: string | undefined): string {
  const names: Record<string, string> = {
    rsa: 'an RSA',
    'rsa-pss': 'an RSA-PSS',
    dsa: 'a DSA',
    dh: 'a Diffie-Hellman',
    ec: 'an EC',
    ed448: 'an Ed448',
    x25519: 'an X25519',
    x448: 'an X448',
  };
  return names[type ?? ''] ?? 'another';
}
