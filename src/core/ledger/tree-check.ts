/** Checks the tree of the log while its entries are walked: the stored peaks, the signed heads, and a head that someone noted. */
import { ExportError } from '../errors.ts';
import type { LogKey } from '../log-key.ts';
import {
  formatCheckpoint,
  openCheckpoint,
  originOf,
  type TrustedKey,
} from '../transparency-log/checkpoint.ts';
import { appendLeaf, NO_PEAKS, type Peaks, peaksToBytes, rootOfPeaks } from '../transparency-log/merkle.ts';
import { parseNote } from '../transparency-log/note.ts';
import type { LedgerFinding } from './check.ts';
import { entryLeaf, HASH_BYTES, type LedgerEntry } from './entry.ts';

/** An entry as it is stored, with what the worker derived from the entries before it. */
export interface StoredEntry extends LedgerEntry {
  peaks: Uint8Array | null;
  checkpoint: string | null;
}

/** A head of which a copy was kept elsewhere: the number of entries, and the digest of the last one or the root of the tree, in hex. */
export interface NotedHead extends LogKey {
  batch: bigint;
  digest?: string;
  root?: string;
}

export class TreeCheck {
  private peaks: Peaks = NO_PEAKS;
  private size = 0;
  /** An entry is missing: no tree can be computed any more. */
  private isBroken = false;
  private isExpectedFound: boolean;
  private last: StoredEntry | undefined;
  private lastSigned: StoredEntry | undefined;

  constructor(
    private readonly key: LogKey,
    private readonly trusted: readonly TrustedKey[],
    private readonly expected: NotedHead | undefined,
  ) {
    this.isExpectedFound = expected === undefined || expected.batch === 0n;
  }

  /** The head of the entries walked so far, without signatures. */
  get checkpoint(): string {
    return formatCheckpoint({ origin: originOf(this.key), size: this.size, root: rootOfPeaks(this.peaks) });
  }

  add(entry: StoredEntry): LedgerFinding[] {
    this.last = entry;
    const leaf = entryLeaf(entry);
    if (this.isBroken || entry.batch !== BigInt(this.size) + 1n || leaf.length !== HASH_BYTES) {
      this.isBroken = true;
      return this.compareNoted(entry, undefined);
    }
    this.peaks = appendLeaf(this.peaks, this.size, leaf);
    this.size += 1;
    const findings = this.compareNoted(entry, this.peaks);
    if (entry.format > 1 && !peaksToBytes(this.peaks).equals(entry.peaks ?? new Uint8Array()))
      findings.push(broken(entry.batch, 'its peaks are not those of the tree of all entries up to it'));
    if (entry.checkpoint === null) return findings;
    if (textOf(entry.checkpoint) === this.checkpoint) this.lastSigned = entry;
    else findings.push(broken(entry.batch, 'its checkpoint is not the head of the tree up to it'));
    return findings;
  }

  /** The remaining findings, and who signed the head. Throws `configuration` if the head is signed and no key is known. */
  end(): { findings: LedgerFinding[]; signedBy: string[] } {
    const findings: LedgerFinding[] = [];
    if (!this.isExpectedFound) findings.push(this.truncated());
    const { last, lastSigned } = this;
    if (this.trusted.length === 0) {
      if (lastSigned) throw this.unknownKey(lastSigned);
      return { findings, signedBy: [] };
    }
    if (!last) return { findings, signedBy: [] };
    if (!lastSigned || lastSigned.batch !== last.batch) {
      const from = lastSigned ? `entries ${lastSigned.batch + 1n} to ${last.batch} are` : 'no entry is';
      findings.push(broken(last.batch, `the head is not signed: ${from} covered by a signature`));
      if (!lastSigned) return { findings, signedBy: [] };
    }
    try {
      const { signedBy } = openCheckpoint(lastSigned.checkpoint!, this.trusted);
      return { findings, signedBy: signedBy.map(({ name, keyId }) => `${name}+${keyId}`) };
    } catch (error) {
      const reason = error instanceof ExportError ? error.message : String(error);
      findings.push(broken(lastSigned.batch, `its signature is not by the public key: ${reason}`));
      return { findings, signedBy: [] };
    }
  }

  private compareNoted(entry: StoredEntry, peaks: Peaks | undefined): LedgerFinding[] {
    const { expected } = this;
    if (expected?.batch !== entry.batch) return [];
    this.isExpectedFound = true;
    const rewritten = broken(entry.batch, 'it is not the noted entry: the ledger was rewritten');
    if (expected.digest !== undefined && expected.digest !== entry.digest) return [rewritten];
    if (expected.root === undefined) return [];
    const root = peaks && Buffer.from(rootOfPeaks(peaks)).toString('hex');
    return root === expected.root
      ? []
      : [{ ...rewritten, reason: 'the tree up to it is not the noted one: the ledger was rewritten' }];
  }

  private truncated(): LedgerFinding {
    const end = this.last ? `the newest entry is ${this.last.batch}` : 'there is no entry';
    return broken(
      this.expected!.batch,
      `it is expected and missing (${end}): the end of the chain was cut off`,
    );
  }

  private unknownKey(entry: StoredEntry): ExportError {
    const { organization } = this.key;
    return new ExportError(
      'configuration',
      `The ledger of ${organization} is signed (entry ${entry.batch}), and no public key is configured, so its signatures cannot be ` +
        'checked. Set EXPORT_LEDGER_PUBLIC_KEY_FILE to the public key of the worker, from a place that database users cannot write.',
    );
  }
}

function textOf(note: string): string | undefined {
  try {
    return parseNote(note).text;
  } catch {
    return undefined;
  }
}

function broken(batch: bigint, reason: string): LedgerFinding {
  return { kind: 'broken', batch, eventId: null, createdOn: null, reason };
}
