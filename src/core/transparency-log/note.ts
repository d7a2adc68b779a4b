/**
 * Signed notes (c2sp.org/signed-note) with Ed25519 signatures: a text, an empty line, and signature lines
 * `— KEY_NAME BASE64(KEY_ID || SIGNATURE)`. Go's golang.org/x/mod/sumdb/note reads and writes the same.
 *
 * - The key id is the first 4 bytes of SHA-256(KEY_NAME || 0x0A || 0x01 || public key of 32 bytes).
 * - Signatures by unknown keys are ignored: other parties may add theirs. A wrong signature by a known key rejects the note.
 * - Unlike in Go, base64 must be canonical, so that a note has one form only.
 */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto';
import { ExportError } from '../errors.ts';
import { publicKeyOf } from './keys.ts';

/** A key with the name under which it signs. */
export interface Signer {
  name: string;
  privateKey: KeyObject;
}

/** What verifies the signatures of a signer. */
export interface Verifier {
  name: string;
  /** 8 hex digits. */
  keyId: string;
  publicKey: KeyObject;
}

/** A signature line, not verified. */
export interface Signature {
  name: string;
  keyId: string;
  signature: Buffer;
}

const NOTE = 'signed note';
const ED25519 = 1;
const KEY_ID_BYTES = 4;
const PUBLIC_KEY_BYTES = 32;
/** The DER of an Ed25519 public key up to its 32 bytes: RFC 8410, section 4. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');
/** The limit of Go's package. */
const MAX_SIGNATURES = 100;

export function verifierOf(name: string, publicKey: KeyObject): Verifier {
  checkName(name);
  return { name, keyId: keyIdOf(name, keyBytes(publicKey)), publicKey };
}

/** The verifier key (vkey) `NAME+KEY_ID+BASE64(0x01 || public key)`. */
export function formatVkey({ name, keyId, publicKey }: Verifier): string {
  return `${name}+${keyId}+${keyBytes(publicKey).toString('base64')}`;
}

/** Parses a verifier key. Throws an ExportError (`configuration`); `from` names the text in its message. */
export function parseVkey(vkey: string, from: string): Verifier {
  const reject = (found: string) =>
    new ExportError(
      'configuration',
      `${from}: expected an Ed25519 verifier key (NAME+KEY_ID+BASE64), found ${found}.`,
    );
  const [, name, keyId, base64] = /^([^+]*)\+([^+]*)\+(.*)$/s.exec(vkey) ?? [];
  if (name === undefined) throw reject('a text without two plus signs');
  if (!isName(name)) throw reject('a name that is empty or contains a space');
  if (!/^[0-9a-f]{8}$/.test(keyId!)) throw reject('a key id other than 8 lowercase hex digits');
  const bytes = decodeBase64(base64!);
  if (!bytes || bytes.length === 0) throw reject('a key that is not base64');
  if (bytes[0] !== ED25519) throw reject(`a key of signature type ${bytes[0]}`);
  if (bytes.length !== 1 + PUBLIC_KEY_BYTES) throw reject(`a key of ${bytes.length - 1} bytes`);
  if (keyIdOf(name, bytes) !== keyId) throw reject('a key id of another name or key');
  const der = Buffer.concat([SPKI_PREFIX, bytes.subarray(1)]);
  return { name, keyId, publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

/** Signs a text that ends with a newline: one line for each signer. */
export function signNote(text: string, signers: readonly Signer[]): string {
  if (!isCleanText(text) || !text.endsWith('\n')) {
    throw new RangeError(
      'The text of a note is lines without control characters, each with a newline at its end',
    );
  }
  if (signers.length === 0) throw new RangeError('A signed note has a signature');
  const lines = signers.map(({ name, privateKey }) => {
    const { keyId } = verifierOf(name, publicKeyOf(privateKey));
    const signature = sign(null, Buffer.from(text), privateKey);
    return `— ${name} ${Buffer.concat([Buffer.from(keyId, 'hex'), signature]).toString('base64')}\n`;
  });
  return `${text}\n${lines.join('')}`;
}

/** Parses a note and verifies nothing. `note`: text, or UTF-8. Throws an ExportError (`configuration`). */
export function parseNote(note: string | Uint8Array): { text: string; signatures: Signature[] } {
  const whole = decodeText(note, NOTE);
  const split = whole.lastIndexOf('\n\n');
  if (split < 0) throw malformed(NOTE, 'no empty line separates the text from its signatures');
  const block = whole.slice(split + 2);
  if (block === '') throw malformed(NOTE, 'no signature follows the last empty line');
  if (!block.endsWith('\n')) throw malformed(NOTE, 'the last line has no newline at its end');
  const lines = block.slice(0, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) {
    throw malformed(NOTE, `it has ${lines.length} signatures; the limit is ${MAX_SIGNATURES}`);
  }
  return { text: whole.slice(0, split + 1), signatures: lines.map(parseSignature) };
}

/**
 * Parses a note and verifies it: at least one of these keys has signed it, and no signature by one of them is wrong. Returns the
 * text with its final newline, and the keys that signed it, in the order of their signatures. Throws an ExportError: `configuration`
 * if the note is malformed or not signed by these keys, `differences` if a signature is wrong.
 */
export function openNote(
  note: string | Uint8Array,
  verifiers: readonly Verifier[],
): { text: string; signedBy: Verifier[] } {
  const { text, signatures } = parseNote(note);
  const signedBy = new Set<Verifier>();
  for (const { name, keyId, signature } of signatures) {
    for (const verifier of verifiers) {
      if (verifier.name !== name || verifier.keyId !== keyId) continue;
      if (!verify(null, Buffer.from(text), verifier.publicKey, signature)) {
        throw new ExportError(
          'differences',
          `The signature of ${name} (key ${keyId}) does not match the signed note: the text or the signature was changed.`,
        );
      }
      signedBy.add(verifier);
    }
  }
  if (signedBy.size === 0) {
    throw new ExportError(
      'configuration',
      `The signed note has no signature of a key that is trusted here. It is signed by ${list(signatures)}; trusted: ` +
        `${list(verifiers)}. Pass the public key of the log that signed it, if you trust it.`,
    );
  }
  return { text, signedBy: [...signedBy] };
}

function parseSignature(line: string, at: number): Signature {
  const [, name, base64] = /^— ([^ ]*) (.*)$/s.exec(line) ?? [];
  const bytes = decodeBase64(base64 ?? '');
  if (name === undefined || !isName(name) || !bytes || bytes.length <= KEY_ID_BYTES) {
    throw malformed(NOTE, `line ${at + 1} after the text is no signature (— KEY_NAME BASE64)`);
  }
  const keyId = bytes.toString('hex', 0, KEY_ID_BYTES);
  return { name, keyId, signature: bytes.subarray(KEY_ID_BYTES) };
}

function list(keys: readonly { name: string; keyId: string }[]): string {
  return keys.map(({ name, keyId }) => `${name}+${keyId}`).join(', ') || 'none';
}

/** `what`: what was read, as in `signed note`. */
export function malformed(what: string, reason: string): ExportError {
  return new ExportError('configuration', `Cannot read the ${what}: ${reason}.`);
}

function keyIdOf(name: string, typeAndKey: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${name}\n`), typeAndKey])).slice(0, 2 * KEY_ID_BYTES);
}

/** The type byte and the 32 bytes of the key. */
function keyBytes(publicKey: KeyObject): Buffer {
  if (publicKey.type !== 'public' || publicKey.asymmetricKeyType !== 'ed25519') {
    throw new TypeError('A note is verified with an Ed25519 public key');
  }
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return Buffer.concat([Buffer.from([ED25519]), der.subarray(-PUBLIC_KEY_BYTES)]);
}

function checkName(name: string): void {
  if (!isName(name))
    throw new RangeError('The name of a key is not empty, and has no spaces, controls and plus signs');
}

/** Whether this can be the name of a key. */
export function isName(name: string): boolean {
  return name !== '' && isCleanText(name) && !/[\p{White_Space}+]/u.test(name);
}

/** Whether the text can be written as UTF-8 and has no ASCII control character but newline. */
function isCleanText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a note must not contain.
  return !/[\0-\x09\x0b-\x1f\p{Surrogate}]/u.test(text);
}

/** Decodes UTF-8 and rejects what no note contains. Throws an ExportError (`configuration`) that names `what`. */
export function decodeText(input: string | Uint8Array, what: string): string {
  const text = typeof input === 'string' ? input : decodeUtf8(input);
  if (text === undefined) throw malformed(what, 'it is not UTF-8');
  if (isCleanText(text)) return text;
  if (text.includes('\r'))
    throw malformed(what, 'it has carriage returns. Save it with the line ends of Unix (LF)');
  throw malformed(what, 'it contains a control character or half a surrogate pair');
}

function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    // A byte order mark is part of the text: the signature covers it.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Decodes canonical base64 with padding; `undefined` for any other text. */
export function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
