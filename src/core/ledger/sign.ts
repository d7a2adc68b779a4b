/** Signatures of the heads of a ledger. */
import type { LogKey } from '../log-key.ts';
import type { LedgerHead } from './entry.ts';

export interface LedgerSigner {
  /** Throws `configuration` if the head must be signed and is not, or not by a key of this worker. */
  assertSigned(key: LogKey, head: LedgerHead & { checkpoint: string | null }): void;
  /** The head as a signed note; `undefined` without a key. */
  sign(key: LogKey, head: LedgerHead): string | undefined;
}

/** Without a key. */
export const UNSIGNED: LedgerSigner = { assertSigned: () => {}, sign: () => undefined };
