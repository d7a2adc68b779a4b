/** Lists records of texts in an entry of the ledger. */
import { listRows } from '../../core/ledger/entry.ts';
import { leafHash } from '../../core/transparency-log/merkle.ts';

/** A row's key in hex, and its record. */
export interface KeyedRecord {
  key: string;
  record: string;
}

export function listRecords(rows: readonly KeyedRecord[]): Buffer {
  return listRows(
    rows.map(({ key, record }) => ({ key: Buffer.from(key, 'hex'), hash: leafHash(Buffer.from(record)) })),
  );
}
