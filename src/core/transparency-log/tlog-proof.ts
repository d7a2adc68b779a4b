/**
 * Proofs (c2sp.org/tlog-proof) that a row was in a log. A file proves it to a reader who has the public key, and nothing else of the log.
 *
 * The leaves of the log are the texts of the ledger's entries. The record of the row is a leaf of the row tree of an entry, whose root
 * and size the text of the entry contains. The specification leaves the line `extra` to each log; here it is JSON in UTF-8:
 *
 *     {"entry": TEXT, "record": BASE64, "row": {"index": N, "count": N, "path": [BASE64, ...]}}
 *
 * - `entry`: the text of the entry. SHA-256(0x00 || text) is the leaf of the log that the line `index` names.
 * - `record`: the record of the row. SHA-256(0x00 || record) is leaf `row.index` of the `row.count` leaves of the entry's row tree.
 * - `row.path`: the inclusion proof of that leaf, from the leaf's sibling to the root's child.
 */
import { ExportError } from '../errors.ts';
import { type Checkpoint, openCheckpoint, parseIndex, type TrustedKey } from './checkpoint.ts';
import { HASH_BYTES, isIndex, leafHash } from './merkle.ts';
import { verifyInclusion } from './merkle-proof.ts';
import { decodeBase64, decodeText, malformed, parseNote, type Verifier } from './note.ts';

/** What a proof file contains. */
export interface RowProof {
  /** The signed checkpoint, verbatim. */
  checkpoint: string;
  /** The leaf of the entry in the log, from 0. */
  entryIndex: number;
  entryPath: readonly Uint8Array[];
  entryText: string;
  record: Uint8Array;
  /** The leaf of the record in the row tree of the entry, from 0. */
  rowIndex: number;
  rowCount: number;
  rowPath: readonly Uint8Array[];
}

/** What a proof shows: this record is this row of this entry, in the log at this checkpoint. */
export interface ProvenRow {
  checkpoint: Checkpoint;
  signedBy: Verifier[];
  entryIndex: number;
  entryText: string;
  record: Uint8Array;
  rowIndex: number;
  rowCount: number;
}

const PROOF = 'tlog-proof';
const HEADER = 'c2sp.org/tlog-proof@v1';

/** The text of a proof file. Verifies nothing: check the result with `checkProof`. */
export function writeProof(proof: RowProof): string {
  const { checkpoint, entryIndex, entryPath, entryText, record, rowIndex, rowCount, rowPath } = proof;
  parseNote(checkpoint);
  const row = { index: rowIndex, count: rowCount, path: rowPath.map(toBase64) };
  const extra = JSON.stringify({ entry: entryText, record: toBase64(record), row });
  const lines = [
    HEADER,
    `extra ${toBase64(Buffer.from(extra))}`,
    `index ${entryIndex}`,
    ...entryPath.map(toBase64),
  ];
  return `${lines.join('\n')}\n\n${checkpoint}`;
}

/**
 * Parses a proof file and verifies all of it. `keys`: the public keys that are trusted. `rowTreeOf` returns the root and the size of
 * the row tree from the text of an entry; it is called after the text was verified. Throws an ExportError: `configuration` if the file is malformed
 * or not signed by these keys, `differences` if it proves something else than it says.
 */
export function checkProof(
  file: string | Uint8Array,
  trust: {
    keys: readonly TrustedKey[];
    rowTreeOf: (entryText: string) => { root: Uint8Array; count: number };
  },
): ProvenRow {
  const proof = parseProof(file);
  const { entryIndex, entryText, record, rowIndex, rowCount } = proof;
  const { checkpoint, signedBy } = openCheckpoint(proof.checkpoint, trust.keys);
  const { origin, size, root } = checkpoint;
  const head = `the checkpoint of ${origin} with size ${size}`;
  if (entryIndex >= size)
    throw invalid(`it is about leaf ${entryIndex}; the last leaf of ${head} is ${size - 1}`);
  const entry = { index: entryIndex, size, root, leafHash: leafHash(entryText), proof: proof.entryPath };
  if (!verifyInclusion(entry)) {
    throw invalid(`the text and the path of leaf ${entryIndex} do not lead to the root of ${head}`);
  }
  const rows = trust.rowTreeOf(entryText);
  if (rows.count !== rowCount) {
    throw invalid(`it says that the entry lists ${rowCount} rows; the entry lists ${rows.count}`);
  }
  const row = {
    index: rowIndex,
    size: rowCount,
    root: rows.root,
    leafHash: leafHash(record),
    proof: proof.rowPath,
  };
  if (!verifyInclusion(row)) {
    throw invalid(
      `the record and the path of row ${rowIndex} do not lead to the root of the rows of its entry`,
    );
  }
  return { checkpoint, signedBy, entryIndex, entryText, record, rowIndex, rowCount };
}

/** Parses a proof file and verifies nothing. Throws an ExportError (`configuration`). */
export function parseProof(file: string | Uint8Array): RowProof {
  const text = decodeText(file, PROOF);
  const end = text.indexOf('\n\n');
  const lines = (end < 0 ? text : text.slice(0, end)).split('\n');
  if (lines.shift() !== HEADER) throw malformed(PROOF, `its first line is not ${HEADER}`);
  if (end < 0) throw malformed(PROOF, 'no empty line separates the proof from its checkpoint');
  const extra = lines[0]?.startsWith('extra ') ? lines.shift()!.slice('extra '.length) : undefined;
  const index = /^index (.*)$/.exec(lines.shift() ?? '')?.[1] ?? '';
  const entryIndex = parseIndex(index, PROOF, 'it has no line "index" with the number of a leaf');
  const entryPath = lines.map((line, at) => parseHash(line, `hash ${at + 1} of the path`));
  if (extra === undefined) {
    throw malformed(
      PROOF,
      'it has no line "extra" with the entry and the record, so another program wrote it',
    );
  }
  return { checkpoint: text.slice(end + 2), entryIndex, entryPath, ...parseExtra(extra) };
}

function parseExtra(extra: string): Omit<RowProof, 'checkpoint' | 'entryIndex' | 'entryPath'> {
  const bytes = decodeBase64(extra);
  if (!bytes) throw malformed(PROOF, 'the line "extra" is not base64');
  const { entry, record, row } = parseObject(bytes);
  const bytesOfRecord = isText(record) ? decodeBase64(record) : undefined;
  if (!isText(entry) || !bytesOfRecord || !isObject(row)) {
    throw malformed(
      PROOF,
      'the line "extra" has not the text "entry", "record" in base64, and the object "row"',
    );
  }
  const { index, count, path } = row;
  if (!isCount(index) || !isCount(count) || !Array.isArray(path)) {
    throw malformed(
      PROOF,
      'the row in the line "extra" has not the integers "index" and "count" and the list "path"',
    );
  }
  const rowPath = path.map((hash, at) => parseHash(hash, `hash ${at + 1} of the row's path`));
  return { entryText: entry, record: bytesOfRecord, rowIndex: index, rowCount: count, rowPath };
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
    );
    if (isObject(value)) return value;
  } catch {
    // The message of the parser quotes the text.
  }
  throw malformed(PROOF, 'the line "extra" is not a JSON object in UTF-8');
}

function parseHash(base64: unknown, what: string): Buffer {
  const bytes = typeof base64 === 'string' ? decodeBase64(base64) : undefined;
  if (bytes?.length !== HASH_BYTES) throw malformed(PROOF, `${what} is not 32 bytes in base64`);
  return bytes;
}

function invalid(reason: string): ExportError {
  return new ExportError(
    'differences',
    `The proof is not valid: ${reason}. The file or what it proves was changed.`,
  );
}

/** Half a surrogate pair has no UTF-8: its hash would be that of another text. */
function isText(value: unknown): value is string {
  return typeof value === 'string' && !/\p{Surrogate}/u.test(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && isIndex(value);
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
