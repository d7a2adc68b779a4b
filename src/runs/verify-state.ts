/** Compares the tables beside `audit.events` with what can be recomputed. Sends no request to the source. */
import { isSameLog, type LogKey } from '../core/log-key.ts';
import { throwIfInterrupted } from '../core/source.ts';
import type { Pool } from '../postgres/connection/pool.ts';
import type { StateFinding, StateFindings } from '../postgres/read/state/finding.ts';
import { checkState } from '../postgres/read/state/state.ts';

export interface StateReport extends LogKey {
  /** Differing rows. */
  count: number;
  /** The same by table, for the tables that have any. */
  tables: Record<string, number>;
  /** The first of each table. */
  examples: StateFinding[];
}

/** Returns a report for each log that has findings. */
export async function verifyState(
  pool: Pool,
  { organization, signal }: { organization: string | undefined; signal: AbortSignal },
): Promise<StateReport[]> {
  const findings = await checkState(pool, { organization, onCheck: () => throwIfInterrupted(signal) });
  const reports: StateReport[] = [];
  for (const finding of findings) {
    const report = reports.find((one) => isSameLog(one, finding)) ?? emptyState(finding);
    if (!reports.includes(report)) reports.push(report);
    addTo(report, finding);
  }
  return reports;
}

export function emptyState({ organization, log }: LogKey): StateReport {
  return { organization, log, count: 0, tables: {}, examples: [] };
}

function addTo(report: StateReport, { table, count, examples }: StateFindings): void {
  report.count += count;
  report.tables[table] = (report.tables[table] ?? 0) + count;
  report.examples.push(...examples);
}
