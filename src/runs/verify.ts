/**
 * Verifies logs: compares them with the source, the ledger, and what can be recomputed; then stores the result.
 *
 * - Differences move nothing. Only a result without any extends `verified_at` in `audit.coverage`.
 * - Where events are missing, the claim of `audit.coverage` ends: the span is a gap until a run reads it again.
 */
import type { App, DatabaseApp } from '../app.ts';
import type { LedgerFinding } from '../core/ledger/check.ts';
import type { NotedHead } from '../core/ledger/tree-check.ts';
import { isSameLog, type LogKey } from '../core/log-key.ts';
import { createMissingSpans, type Span, spanOf } from '../core/missing-spans.ts';
import { formatTicks, parseTicks } from '../core/ticks.ts';
import type { Logger } from '../log.ts';
import { endClaims, recordVerified } from '../postgres/write/coverage.ts';
import {
  recordFailedVerification,
  recordVerification,
  type VerificationFacts,
  type VerificationScope,
} from '../postgres/write/verifications.ts';
import { build } from '../version.ts';
import { countDifferences, type SourceReport } from './source-report.ts';
import { countTamperings, type LedgerReport, type LedgerRequest, verifyLedgers } from './verify-ledger.ts';
import { type SourceEvidence, type VerifyRequest, verifyAgainstSource } from './verify-source.ts';
import { emptyState, type StateReport, verifyState } from './verify-state.ts';

/** A finding of the ledger with the user of the event; `null` if it is not known. */
export interface NamedFinding extends LedgerFinding {
  userName: string | null;
}

export interface Verification extends LogKey {
  /** `null` offline. */
  source: SourceReport | null;
  ledger: Omit<LedgerReport, 'examples'> & { examples: NamedFinding[] };
  state: StateReport;
}

export interface VerificationRequest {
  /** A half-open range in ticks; `undefined` is unbounded. */
  from: bigint | undefined;
  to: bigint | undefined;
  expected?: NotedHead | undefined;
  signal: AbortSignal;
  onLedgerRows: LedgerRequest['onRows'];
}

/** The kinds of differences, as `audit.verifications` and the metrics name them. */
export const DIFFERENCES = [
  'missing',
  'changed',
  'edited',
  'deleted',
  'inserted',
  'broken',
  'state',
] as const;

/** Verifies without the source: all logs in the database, those of an organization, or one. */
export async function verifyOffline(
  app: DatabaseApp,
  request: VerificationRequest & { of?: Partial<LogKey> | undefined },
): Promise<Verification[]> {
  const { of = {} } = request;
  return recordingFailure(app, 'offline', { request, of }, async (startedAt) => {
    const verified = await verifyStored(app, request, of);
    const verifications: Verification[] = [];
    for (const { ledger, state, deleted } of verified) {
      const { organization, log } = ledger;
      const verification = {
        organization,
        log,
        source: null,
        ledger: withUsers(ledger, null),
        state,
      };
      await conclude(app, verification, { request, scope: 'offline', startedAt, missing: deleted });
      verifications.push(verification);
    }
    return verifications;
  });
}

/** Verifies one log against its source, and then as `verifyOffline`. */
export async function verifyOnline(
  app: App,
  request: VerificationRequest & Pick<VerifyRequest, 'shouldRepair' | 'onProgress'>,
): Promise<Verification> {
  const { organization, log } = app.config.source;
  const of = { organization, log };
  return recordingFailure(app, 'online', { request, of }, async (startedAt) => {
    const { report: source, evidence } = await verifyAgainstSource(app, request);
    const [stored] = await verifyStored(app, request, of, evidence.deletedIds);
    const { ledger, state, deleted } = stored!;
    const verification = { ...of, source, ledger: withUsers(ledger, source), state };
    const missing = [...evidence.missing, ...deleted];
    await conclude(app, verification, { request, scope: 'online', startedAt, missing, read: evidence.read });
    return verification;
  });
}

/** The number of differences that make `verify` exit with 3. */
export function countFaults({ source, ledger, state }: Omit<Verification, keyof LogKey>): number {
  return (source ? countDifferences(source) : 0) + countTamperings(ledger) + state.count;
}

/** Numbers by kind, only those above 0. Repaired differences count as their kind no longer. */
export function differencesOf({ source, ledger, state }: Verification): Record<string, number> {
  const { missing = 0, changed = 0 } = source?.counts ?? {};
  const repaired = source?.repaired ?? 0;
  const { edited, deleted, inserted, broken } = ledger.counts;
  const counts = {
    missing: Math.max(0, missing - repaired),
    changed: changed - Math.max(0, repaired - missing),
    ...{ edited, deleted, inserted, broken, state: state.count },
  };
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
}

/** Logs a result with the head of the ledger: the log is out of reach of a user who could rewrite the tables. */
export function logVerification(log: Logger, verification: Verification): void {
  const { organization, ledger, source } = verification;
  const differences = differencesOf(verification);
  const facts = {
    organization,
    auditLog: verification.log,
    ...{ entries: ledger.entries, rows: ledger.rows, notDue: source?.notDue, differences },
    checkpoint: ledger.checkpoint,
  };
  if (countFaults(verification) === 0) log.info(facts, 'verify: no differences');
  else log.error(facts, 'verify: differences found. `node dist/main.js verify` lists them');
}

interface Stored {
  ledger: LedgerReport;
  state: StateReport;
  /** Spans of events that the ledger lists and that are not stored. */
  deleted: Span[];
}

/** Compares with the ledger and recomputes, on two connections at once. `known`: deleted events whose time is known. */
async function verifyStored(
  app: DatabaseApp,
  { from, to, expected, signal, onLedgerRows }: VerificationRequest,
  of: Partial<LogKey>,
  known: ReadonlySet<string> = new Set(),
): Promise<Stored[]> {
  const spans = createSpansByLog();
  const [ledgers, states] = await Promise.all([
    verifyLedgers(app.pool, {
      ...{ from, to, expected, signal, onRows: onLedgerRows },
      trusted: app.config.ledger.trusted,
      of:
        of.organization === undefined
          ? undefined
          : { organization: of.organization, ...(of.log && { log: of.log }) },
      onDeleted: (entry, eventIds) => {
        if (eventIds.every((id) => known.has(id))) return;
        // The entry says no more about their time.
        const [first, last] = [parseTicks(entry.fromAt!)!, parseTicks(entry.toAt!)!];
        spans.of(entry).addSpan({ from: spanOf(first).from, to: spanOf(last).to });
      },
    }),
    verifyState(app.pool, { organization: of.organization, signal }),
  ]);
  return ledgers.map((ledger) => ({
    ledger,
    state: states.find((state) => isSameLog(state, ledger)) ?? emptyState(ledger),
    deleted: spans.of(ledger).read(),
  }));
}

function createSpansByLog() {
  const byLog = new Map<string, ReturnType<typeof createMissingSpans>>();
  return {
    of({ organization, log }: LogKey) {
      const name = JSON.stringify([organization, log]);
      const spans = byLog.get(name) ?? createMissingSpans();
      byLog.set(name, spans);
      return spans;
    },
  };
}

interface Conclusion {
  request: VerificationRequest;
  scope: VerificationScope;
  startedAt: Date;
  missing: readonly Span[];
  read?: SourceEvidence['read'];
}

/** A failure only logs a warning: the result is valid even if it cannot be recorded, on a standby or for a read-only user. */
async function conclude(
  app: DatabaseApp,
  verification: Verification,
  { request, scope, startedAt, missing, read }: Conclusion,
): Promise<void> {
  const { ledger, source } = verification;
  const isClean = countFaults(verification) === 0;
  const key = { organization: verification.organization, log: verification.log };
  await unlessReadOnly(app, async () => {
    await recordVerification(app.pool, {
      ...key,
      ...factsOf(scope, request, startedAt),
      outcome: isClean ? 'clean' : 'differences',
      ...{ entries: ledger.entries, rows: ledger.rows, differences: differencesOf(verification) },
      ...{ notDue: source?.notDue ?? 0, repaired: source?.repaired ?? 0 },
      ledgerHead: ledger.checkpoint,
    });
    // After the result, which verify compares verified_at with.
    if (isClean && read) await recordVerified(app.pool, key, { ...read, verifiedAt: startedAt });
    if (missing.length > 0) await endClaims(app.pool, key, sorted(missing));
  });
}

function sorted(spans: readonly Span[]): Span[] {
  const joined = createMissingSpans();
  for (const span of spans) joined.addSpan(span);
  return joined.read();
}

async function recordingFailure<T>(
  app: DatabaseApp,
  scope: VerificationScope,
  { request, of }: { request: VerificationRequest; of: Partial<LogKey> },
  work: (startedAt: Date) => Promise<T>,
): Promise<T> {
  const startedAt = new Date();
  try {
    return await work(startedAt);
  } catch (error) {
    const message = app.redactor(error instanceof Error ? error.message : String(error));
    await unlessReadOnly(app, () =>
      recordFailedVerification(app.pool, of, { ...factsOf(scope, request, startedAt), error: message }),
    );
    throw error;
  }
}

async function unlessReadOnly(app: DatabaseApp, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    app.log.warn(`the result is not recorded: ${error instanceof Error ? error.message : error}`);
  }
}

function factsOf(
  scope: VerificationScope,
  { from, to }: VerificationRequest,
  startedAt: Date,
): VerificationFacts {
  return { scope, from, to, startedAt, endedAt: new Date(), version: build.version };
}

/** Names times and users of deleted events, which the source shows. An edited row shows the user that someone may have written there. */
function withUsers(ledger: LedgerReport, source: SourceReport | null): Verification['ledger'] {
  const shown = new Map(source?.examples.map((example) => [example.eventId, example]));
  const examples = ledger.examples.map((finding): NamedFinding => {
    const { kind, eventId, userName = null } = finding;
    if (kind === 'inserted') return { ...finding, userName };
    const deleted = kind === 'deleted' && eventId !== null ? shown.get(eventId) : undefined;
    if (!deleted) return { ...finding, userName: null };
    return { ...finding, createdOn: formatTicks(deleted.createdOnTicks), userName: deleted.userName };
  });
  return { ...ledger, examples };
}
