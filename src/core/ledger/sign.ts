/** Signatures of the heads of a ledger: checkpoints (c2sp.org/tlog-checkpoint), signed with Ed25519. */
import type { KeyObject } from 'node:crypto';
import { ExportError } from '../errors.ts';
import type { LogKey } from '../log-key.ts';
import {
  formatCheckpoint,
  openCheckpoint,
  originOf,
  parseCheckpoint,
  signCheckpoint,
} from '../transparency-log/checkpoint.ts';
import { publicKeyOf } from '../transparency-log/keys.ts';
import { rootOfPeaks } from '../transparency-log/merkle.ts';
import { parseNote } from '../transparency-log/note.ts';
import type { LedgerHead } from './entry.ts';

export interface LedgerSigner {
  /**
   * Checks the head that a run appends to. Throws `configuration` if it is signed and this worker has no key, if it is not signed and the worker
   * has one, or if no key of the worker has signed it: a signature must never disappear or begin unnoticed.
   */
  assertSigned(key: LogKey, head: LedgerHead & { checkpoint: string | null }): void;
  /** The head as a signed note; `undefined` without a key. */
  sign(key: LogKey, head: LedgerHead): string | undefined;
}

/** The head as a checkpoint without signatures. */
export function checkpointOf(key: LogKey, { batch, peaks }: Pick<LedgerHead, 'batch' | 'peaks'>): string {
  return formatCheckpoint(headOf(key, { batch, peaks }));
}

/** `privateKeys`: one, or several while a key is replaced; none: heads are not signed. */
export function createSigner(privateKeys: readonly KeyObject[]): LedgerSigner {
  const trusted = privateKeys.map((key) => ({ publicKey: publicKeyOf(key), origin: null }));
  return {
    assertSigned(key, { batch, peaks, checkpoint }) {
      if (batch === 0n) return;
      const { organization } = key;
      if (trusted.length === 0) {
        if (checkpoint === null) return;
        throw new ExportError(
          'configuration',
          `The ledger of ${organization} is signed, and EXPORT_LEDGER_KEY_FILE is not set: the next entry would have no signature. ` +
            'Set it to the private key of the ledger.',
        );
      }
      if (checkpoint === null) {
        throw new ExportError(
          'configuration',
          `EXPORT_LEDGER_KEY_FILE is set, and the newest entry of the ledger of ${organization} (${batch}) is not signed. If signing ` +
            'begins now, sign the present head: uipath-audit-export ledger sign. If the ledger was signed before, someone has removed ' +
            'the signature: compare it with a noted head (verify --expect).',
        );
      }
      assertHead(checkpoint, { key, batch, peaks, trusted });
    },
    sign(key, head) {
      return privateKeys.length === 0 ? undefined : signCheckpoint(headOf(key, head), privateKeys);
    },
  };
}

/** Without a key. */
export const UNSIGNED: LedgerSigner = createSigner([]);

/** Accepts a head that is not signed yet: `ledger sign`. */
export function beginSigning(signer: LedgerSigner): LedgerSigner {
  return {
    ...signer,
    assertSigned: (key, head) => {
      if (head.checkpoint !== null) signer.assertSigned(key, head);
    },
  };
}

function headOf(key: LogKey, { batch, peaks }: Pick<LedgerHead, 'batch' | 'peaks'>) {
  return { origin: originOf(key), size: Number(batch), root: rootOfPeaks(peaks) };
}

function assertHead(
  note: string,
  {
    key,
    batch,
    peaks,
    trusted,
  }: Pick<LedgerHead, 'batch' | 'peaks'> & {
    key: LogKey;
    trusted: Parameters<typeof openCheckpoint>[1];
  },
): void {
  let reason: string;
  try {
    openCheckpoint(note, trusted);
    if (parseNote(note).text === checkpointOf(key, { batch, peaks })) return;
    const { size } = parseCheckpoint(parseNote(note).text);
    reason = `It signs another tree (of ${size} entries).`;
  } catch (error) {
    if (!(error instanceof ExportError)) throw error;
    reason = error.message;
  }
  throw new ExportError(
    'configuration',
    `The newest entry of the ledger of ${key.organization} (${batch}) is not signed by the key in EXPORT_LEDGER_KEY_FILE. ${reason} ` +
      'To replace a key, put the new and the old private key into the file; when a head is signed with both, remove the old one. ' +
      'Otherwise the key is wrong, or someone changed the ledger: run verify --offline.',
  );
}
