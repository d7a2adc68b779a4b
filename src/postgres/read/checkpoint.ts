/** The newest head of a ledger, as text to keep elsewhere. */
import { checkpointOf } from '../../core/ledger/sign.ts';
import type { LogKey } from '../../core/log-key.ts';
import { peaksOfBytes } from '../../core/transparency-log/merkle.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';

interface HeadRow {
  batch: string;
  digest: string;
  peaks: Buffer | null;
  checkpoint: string | null;
}

/**
 * Returns what `verify --expect` takes: a checkpoint, signed if the ledger is; ORGANIZATION/LOG/NUMBER/DIGEST after an upgrade from a
 * version without checkpoints, until the next run that stores something. `undefined` without entries. Throws as `translateDatabaseError`.
 */
export async function readCheckpoint(pool: Pool, key: LogKey): Promise<string | undefined> {
  const { organization, log } = key;
  try {
    const { rows } = await pool.query<HeadRow>(
      `select batch, encode(digest, 'hex') as digest, peaks, checkpoint from audit.ledger
       where organization = $1 and log = $2 order by batch desc limit 1`,
      [organization, log],
    );
    const [head] = rows;
    if (!head) return undefined;
    const { batch, digest, peaks, checkpoint } = head;
    if (checkpoint !== null) return checkpoint;
    if (peaks === null) return `${organization}/${log}/${batch}/${digest}`;
    return checkpointOf(key, { batch: BigInt(batch), peaks: peaksOfBytes(peaks) });
  } catch (error) {
    throw translateDatabaseError(error, 'reading the head of the ledger');
  }
}
