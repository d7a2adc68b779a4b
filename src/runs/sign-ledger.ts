/** Begins to sign a ledger that has entries already. */
import type { KeyObject } from 'node:crypto';
import { ExportError } from '../core/errors.ts';
import { beginSigning, createSigner } from '../core/ledger/sign.ts';
import { nameLog } from '../core/log-key.ts';
import { newCounters } from '../core/store.ts';
import type { Pool } from '../postgres/connection/pool.ts';
import { openSession } from '../postgres/write/store.ts';
import { countTamperings, type LedgerReport, verifyLedgers } from './verify-ledger.ts';

/**
 * Verifies the ledgers that are not signed yet, and signs their heads. Returns the reports of these. Throws `differences` for a ledger
 * that does not match the rows: a signature would vouch for it.
 */
export async function signLedgers(
  pool: Pool,
  { privateKeys, signal }: { privateKeys: readonly KeyObject[]; signal: AbortSignal },
): Promise<LedgerReport[]> {
  const request = {
    of: undefined,
    from: undefined,
    to: undefined,
    expected: undefined,
    signal,
    onRows: () => {},
  };
  const reports = await verifyLedgers(pool, { ...request, isSigned: false });
  const none = new Set<string>();
  const different = reports.filter((report) => countTamperings(report) > 0);
  if (different.length > 0) {
    const names = different.map((report) => nameLog(report, none)).join(', ');
    throw new ExportError(
      'differences',
      `Not signed: the ledger of ${names} has differences. See \`verify --offline\`.`,
    );
  }
  const signed = reports.filter(({ head }) => head !== null);
  for (const { organization, log } of signed) {
    const signer = beginSigning(createSigner(privateKeys));
    const session = await openSession(pool, { organization, log, kind: 'verify', signer });
    try {
      await session.signHead();
      const end = { outcome: 'succeeded' as const, error: null, warnings: [], counters: newCounters() };
      await session.finish(end);
    } finally {
      await session.release();
    }
  }
  return signed;
}
