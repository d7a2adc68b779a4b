/** Recomputes the tables beside `audit.events` from what they follow from. Reads one snapshot: a run in progress causes no finding. */
import { translateDatabaseError } from '../../connection/errors.ts';
import { connectWithoutTimeout, type Pool, type Queryable, withTransaction } from '../../connection/pool.ts';
import { checkCoverage } from './coverage.ts';
import type { StateCheck, StateFindings } from './finding.ts';
import { checkGoneEvents, checkRejectedEvents, checkRejectedPlaces } from './kept-rows.ts';
import { checkRollUps } from './roll-ups.ts';
import { checkRuns } from './runs.ts';
import { checkWatermarks } from './watermarks.ts';

/** Quick ones first: they also find what makes others fail. */
const CHECKS: readonly StateCheck[] = [
  checkWatermarks,
  checkRuns,
  checkCoverage,
  checkGoneEvents,
  checkRejectedEvents,
  checkRejectedPlaces,
  checkRollUps,
];

/** Checks all logs, or those of one organization, on its own connection, without a query timeout. Calls `onCheck` before each check. */
export async function checkState(
  pool: Pool,
  { organization, onCheck }: { organization: string | undefined; onCheck: () => void },
): Promise<StateFindings[]> {
  let client: Awaited<ReturnType<typeof connectWithoutTimeout>> | undefined;
  try {
    client = await connectWithoutTimeout(pool);
    const connection = client;
    return await withTransaction(connection, async () => {
      await connection.query('set transaction isolation level repeatable read, read only');
      // JIT compilation takes longer than most of the checks.
      await connection.query(`select set_config('jit', 'off', true)`);
      return readStateFindings(connection, { organization, onCheck });
    });
  } catch (error) {
    throw translateDatabaseError(error, 'checking the tables beside audit.events');
  } finally {
    await client?.end().catch(() => {});
  }
}

/** As `checkState`, in the transaction of `client`. */
export async function readStateFindings(
  client: Queryable,
  { organization, onCheck }: { organization: string | undefined; onCheck: () => void },
): Promise<StateFindings[]> {
  const findings: StateFindings[] = [];
  for (const check of CHECKS) {
    onCheck();
    findings.push(...(await check(client, organization ?? null)));
  }
  return findings;
}
