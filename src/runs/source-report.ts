/** What `verify` reports about the comparison with the source. */
import type { Difference, SourceFinding } from '../core/compare.ts';

/** At most this many findings of each kind are listed; all are counted. */
export const MAX_EXAMPLES = 10;

export type Cause = 'deleted by hand' | 'inserted by hand' | 'never stored';

export interface SourceExample extends Omit<SourceFinding, 'expected' | 'isStored' | 'kind'> {
  kind: Exclude<Difference, 'rerendered'> | 'not due';
  /** `null` where it does not apply or is not known. */
  cause: Cause | null;
  /** Who caused the event, by the source; `null` if the source does not show the event or its user. */
  userName: string | null;
}

export interface SourceReport {
  /** Numbers of events at the source, of rows at the source that are not events, and of stored rows compared with them. */
  events: number;
  rejected: number;
  stored: number;
  same: number;
  /** Stored rows that another form of the event has replaced. They are not among `stored`. */
  superseded: number;
  /** Stored events of which the source shows another form: a run that reads them supersedes the rows. No differences. */
  rerendered: number;
  counts: Record<Exclude<Difference, 'rerendered'>, number>;
  /** How many of the missing and changed ones have this cause. The other missing ones were never stored. */
  deletedByHand: number;
  insertedByHand: number;
  /** Rows that came to the source after the last proof: the next run stores them. They are no differences. */
  notDue: number;
  /** When the last run proved that every event is stored; `null` if it did not. */
  provenAt: Date | null;
  /** How many of the missing and changed ones `--repair` stored or restored. */
  repaired: number;
  examples: SourceExample[];
  requests: number;
  /** The repairing run in audit.runs. */
  runId: string | null;
}

/** Counts the differences that need attention: those not repaired. Events that are gone at the source do not count. */
export function countDifferences({ counts, repaired }: SourceReport): number {
  return counts.missing + counts.changed - repaired;
}

export function newReport(runId: string | null, proof: { provenAt: Date | null } | undefined): SourceReport {
  return {
    events: 0,
    rejected: 0,
    stored: 0,
    same: 0,
    superseded: 0,
    rerendered: 0,
    counts: { missing: 0, changed: 0, gone: 0 },
    deletedByHand: 0,
    insertedByHand: 0,
    notDue: 0,
    provenAt: proof?.provenAt ?? null,
    repaired: 0,
    examples: [],
    requests: 0,
    runId,
  };
}

/** Counts a difference, or a rerendered event, and keeps the first of each kind. */
export function addFinding(report: SourceReport, finding: SourceFinding, cause: Cause | null): void {
  const { kind } = finding;
  if (kind === 'rerendered') {
    report.rerendered += 1;
    return;
  }
  report.counts[kind] += 1;
  if (report.counts[kind] <= MAX_EXAMPLES) report.examples.push(toExample(finding, kind, cause));
}

export function addNotDue(report: SourceReport, finding: SourceFinding): void {
  report.notDue += 1;
  if (report.notDue <= MAX_EXAMPLES) report.examples.push(toExample(finding, 'not due', null));
}

function toExample(
  { expected, eventId, createdOnTicks, fields }: SourceFinding,
  kind: SourceExample['kind'],
  cause: Cause | null,
): SourceExample {
  return { kind, cause, eventId, createdOnTicks, fields, userName: expected?.event.userName ?? null };
}
