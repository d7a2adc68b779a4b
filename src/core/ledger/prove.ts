/** Proofs that one event is in the ledger, as files that others check (c2sp.org/tlog-proof). */
import { ExportError } from '../errors.ts';
import { leafHash } from '../transparency-log/merkle.ts';
import { inclusionProof } from '../transparency-log/merkle-proof.ts';
import { writeProof } from '../transparency-log/tlog-proof.ts';
import { entryLeaf, entryText, FORMAT, hashesOf, KEY_BYTES, type LedgerEntry, ROW_BYTES } from './entry.ts';

/**
 * Proves that `record`, with the key of its row, is what an entry lists. `digests`: of all entries up to the checkpoint, in order.
 * Throws `differences` if the entry lists another record, and `configuration` if it is of format 1.
 */
export function proveRow({
  entry,
  key,
  record,
  digests,
  checkpoint,
}: {
  entry: LedgerEntry;
  key: Uint8Array;
  record: Uint8Array;
  digests: readonly Pick<LedgerEntry, 'format' | 'digest'>[];
  checkpoint: string;
}): string {
  const name = `Entry ${entry.batch}`;
  if (entry.format !== FORMAT) {
    throw new ExportError(
      'configuration',
      `${name} was written before version 0.3 and has no tree of rows, so that a single event of it cannot be proven. ` +
        '`verify` checks it with all others of the entry.',
    );
  }
  const hashes = hashesOf(entry.listed);
  const rowIndex = indexOfKey(entry.listed, key);
  if (rowIndex < 0 || !leafHash(record).equals(hashes[rowIndex]!)) {
    throw new ExportError(
      'differences',
      `${name} does not list the event as it is stored: it was changed by hand. \`verify\` says more.`,
    );
  }
  const entryIndex = Number(entry.batch) - 1;
  return writeProof({
    checkpoint,
    entryIndex,
    entryPath: inclusionProof(digests.map(entryLeaf), entryIndex),
    entryText: entryText(entry),
    record,
    rowIndex,
    rowCount: hashes.length,
    rowPath: inclusionProof(hashes, rowIndex),
  });
}

/** What the text of an entry says about its rows. Throws `configuration` if it is not such a text. */
export function rowTreeOf(text: string): { root: Uint8Array; count: number } {
  try {
    const { rows_root: root, rows } = JSON.parse(text) as { rows_root: string; rows: number };
    return { root: Buffer.from(root, 'hex'), count: rows };
  } catch {
    throw new ExportError(
      'configuration',
      'Cannot read the proof: its entry is not the text of an entry of the ledger.',
    );
  }
}

function indexOfKey(listed: Uint8Array, key: Uint8Array): number {
  for (let at = 0; at < listed.length; at += ROW_BYTES) {
    if (Buffer.compare(listed.subarray(at, at + KEY_BYTES), key) === 0) return at / ROW_BYTES;
  }
  return -1;
}
