/** Stores results of `verify` in `audit.verifications`. */
import type { LogKey } from '../../core/log-key.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import type { Pool } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';

export type VerificationScope = 'offline' | 'online' | 'archive';

/** What was compared, and when. */
export interface VerificationFacts {
  scope: VerificationScope;
  /** The half-open range in ticks; `undefined` is unbounded. */
  from: bigint | undefined;
  to: bigint | undefined;
  startedAt: Date;
  endedAt: Date;
  version: string;
}

export interface VerificationResult extends VerificationFacts, LogKey {
  outcome: 'clean' | 'differences';
  entries: number;
  rows: number;
  /** By kind, only those above 0. */
  differences: Record<string, number>;
  notDue: number;
  repaired: number;
  /** The newest entry of the ledger, as `verify` prints it. */
  ledgerHead: string | null;
}

const COLUMNS = 'organization, log, scope, from_at, to_at, started_at, ended_at, version, outcome';

const RECORD = `
  insert into audit.verifications (${COLUMNS}, entries, rows, differences, not_due, repaired, ledger_head)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`;

/** For every log with a watermark of $1 (an organization; null: all). */
const RECORD_FAILURE = `
  insert into audit.verifications (${COLUMNS}, error)
  select organization, log, $2, $3, $4, $5, $6, $7, 'failed', $8 from audit.watermarks
  where ($1::text is null or organization = $1) and ($9::text is null or log = $9)`;

export async function recordVerification(pool: Pool, result: VerificationResult): Promise<void> {
  const { organization, log, outcome, entries, rows, differences, notDue, repaired, ledgerHead } = result;
  const values = [
    ...[organization, log, ...valuesOf(result), outcome, entries, rows],
    ...[JSON.stringify(differences), notDue, repaired, ledgerHead],
  ];
  await write(pool, RECORD, values);
}

/** Records that a verification did not finish. `error` contains no secret. */
export async function recordFailedVerification(
  pool: Pool,
  of: Partial<LogKey>,
  { error, ...facts }: VerificationFacts & { error: string },
): Promise<void> {
  const values = [of.organization ?? null, ...valuesOf(facts), storableText(error), of.log ?? null];
  await write(pool, RECORD_FAILURE, values);
}

function valuesOf({ scope, from, to, startedAt, endedAt, version }: VerificationFacts): unknown[] {
  const times = [from, to].map((ticks) => (ticks === undefined ? null : formatMicroseconds(ticks)));
  return [scope, ...times, startedAt, endedAt, version];
}

async function write(pool: Pool, text: string, values: unknown[]): Promise<void> {
  try {
    await pool.query(text, values);
  } catch (error) {
    throw translateDatabaseError(error, 'recording the result of verify');
  }
}
