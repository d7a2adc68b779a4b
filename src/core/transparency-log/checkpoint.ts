/**
 * Checkpoints (c2sp.org/tlog-checkpoint): the signed head of a log. The text of the note is the origin, the size and the root of the
 * tree, one a line.
 *
 * The specification wants the name of a log's key to be the origin of the log. One key signs several logs here, each under its own
 * origin: the key ids differ, and a signature of one log is not one of another.
 */
import type { KeyObject } from 'node:crypto';
import { ExportError } from '../errors.ts';
import type { LogKey } from '../log-key.ts';
import { parsePublicKeys } from './keys.ts';
import { HASH_BYTES, isIndex } from './merkle.ts';
import {
  decodeBase64,
  formatVkey,
  isName,
  malformed,
  openNote,
  parseNote,
  parseVkey,
  signNote,
  type Verifier,
  verifierOf,
} from './note.ts';

export interface Checkpoint {
  /** Identifies the log. */
  origin: string;
  /** Leaves in the tree. */
  size: number;
  /** 32 bytes. */
  root: Uint8Array;
  /** Further lines of the text. This program writes none. */
  extensions?: readonly string[];
}

/** A public key that the reader of a checkpoint trusts. */
export interface TrustedKey {
  publicKey: KeyObject;
  /** The log that the key is trusted for, from a verifier key; `null`: any. */
  origin: string | null;
}

const CHECKPOINT = 'checkpoint';
const LIKE_VKEY = /^[^\s+]+\+[^\s+]*\+\S*$/;
const DECIMAL = /^(0|[1-9][0-9]*)$/;

/** The origin of a log: `uipath-audit-export/ORGANIZATION/LOG`, percent-encoded. */
export function originOf({ organization, log }: LogKey): string {
  return `uipath-audit-export/${encodeURIComponent(organization)}/${encodeURIComponent(log)}`;
}

/** The verifier key (vkey) of the log with this origin, for other programs. */
export function vkeyOf(origin: string, publicKey: KeyObject): string {
  return formatVkey(verifierOf(origin, publicKey));
}

/** Parses PEM public keys and verifier keys, each on its own line. Throws an ExportError (`configuration`) that names `from`. */
export function parseTrustedKeys(text: string, from: string): TrustedKey[] {
  const vkeys: string[] = [];
  const pem: string[] = [];
  let isInBlock = false;
  for (const line of text.split(/\r?\n/)) {
    // Inside a block, base64 may contain plus signs as well.
    if (line.startsWith('-----BEGIN')) isInBlock = true;
    (!isInBlock && LIKE_VKEY.test(line.trim()) ? vkeys : pem).push(line);
    if (line.startsWith('-----END')) isInBlock = false;
  }
  const named = vkeys.map((line) => {
    const { name, publicKey } = parseVkey(line.trim(), from);
    return { publicKey, origin: name };
  });
  const rest = pem.join('\n');
  if (named.length > 0 && rest.trim() === '') return named;
  return [...named, ...parsePublicKeys(rest, from).map((publicKey) => ({ publicKey, origin: null }))];
}

/** The text of a checkpoint, without signatures. */
export function formatCheckpoint({ origin, size, root, extensions = [] }: Checkpoint): string {
  if (!isName(origin))
    throw new RangeError('An origin is not empty, and has no spaces, controls and plus signs');
  if (!isIndex(size) || root.length !== HASH_BYTES) {
    throw new RangeError(
      `A checkpoint has a size and a root of 32 bytes, not ${size} and ${root.length} bytes`,
    );
  }
  if (extensions.some((line) => line === '' || line.includes('\n'))) {
    throw new RangeError('An extension of a checkpoint is one line that is not empty');
  }
  const lines = [origin, `${size}`, Buffer.from(root).toString('base64'), ...extensions];
  return lines.map((line) => `${line}\n`).join('');
}

/** Parses the text of a checkpoint, without its signatures. Throws an ExportError (`configuration`). */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw malformed(CHECKPOINT, 'its last line has no newline at its end');
  if (lines.length < 3)
    throw malformed(CHECKPOINT, `it has ${lines.length} lines of at least 3: origin, size and root`);
  const empty = lines.indexOf('');
  if (empty >= 0) throw malformed(CHECKPOINT, `line ${empty + 1} is empty`);
  const [origin, size, root, ...extensions] = lines as [string, string, string, ...string[]];
  const bytes = decodeBase64(root);
  if (bytes?.length !== HASH_BYTES) throw malformed(CHECKPOINT, 'line 3 is not the root: 32 bytes in base64');
  return {
    origin,
    size: parseIndex(size, CHECKPOINT, 'line 2 is not the size of a tree'),
    root: bytes,
    extensions,
  };
}

/** Parses a decimal integer without leading zeros, from 0 to 2^53 - 1. */
export function parseIndex(text: string, what: string, otherwise: string): number {
  if (!DECIMAL.test(text) || !isIndex(Number(text))) {
    throw malformed(what, `${otherwise}: a decimal integer without leading zeros, below 2^53`);
  }
  return Number(text);
}

/** Signs a checkpoint with each key, under the name of its origin. */
export function signCheckpoint(checkpoint: Checkpoint, privateKeys: readonly KeyObject[]): string {
  const signers = privateKeys.map((privateKey) => ({ name: checkpoint.origin, privateKey }));
  return signNote(formatCheckpoint(checkpoint), signers);
}

/**
 * Parses a signed checkpoint and verifies that one of these keys signed it for its origin. Throws an ExportError: `configuration` if
 * it is malformed or not signed by these keys, `differences` if a signature is wrong.
 */
export function openCheckpoint(
  note: string | Uint8Array,
  keys: readonly TrustedKey[],
): { checkpoint: Checkpoint; signedBy: Verifier[] } {
  const checkpoint = parseCheckpoint(parseNote(note).text);
  const { origin } = checkpoint;
  if (!isName(origin))
    throw malformed(CHECKPOINT, 'its origin has a space or a plus sign, so no key has this name');
  const verifiers = keys.map((key) => verifierOf(key.origin ?? origin, key.publicKey));
  const signedBy = openNote(note, verifiers).signedBy.filter(({ name }) => name === origin);
  if (signedBy.length === 0) {
    throw new ExportError(
      'configuration',
      `The checkpoint of log ${origin} is signed only by keys of other logs. Pass the key of this log.`,
    );
  }
  return { checkpoint, signedBy };
}
