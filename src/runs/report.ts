/** The evidence of one month, for an auditor: what is stored, what was proven, and the state of the ledger. */
import type { KeyObject } from 'node:crypto';
import { ExportError } from '../core/errors.ts';
import { entryLeaf } from '../core/ledger/entry.ts';
import { checkpointOf } from '../core/ledger/sign.ts';
import { checkReportSignature, signReport } from '../core/ledger/sign-report.ts';
import type { LogKey } from '../core/log-key.ts';
import { formatMicroseconds, parseTicks } from '../core/ticks.ts';
import { originOf, parseCheckpoint, type TrustedKey, vkeyOf } from '../core/transparency-log/checkpoint.ts';
import { fingerprintOf } from '../core/transparency-log/keys.ts';
import { rootOf } from '../core/transparency-log/merkle.ts';
import type { Pool } from '../postgres/connection/pool.ts';
import { type LedgerReader, withLedger } from '../postgres/read/ledger.ts';
import { type MonthOfLog, type Period, readDaysAt, readMonth, readVersions } from '../postgres/read/month.ts';
import { build } from '../version.ts';

export interface MonthReport {
  format: 'uipath-audit-export/report@1';
  /** As in `2026-03`. Months and days are UTC. */
  month: string;
  period: Period;
  /** When the report was made, and whether the month had ended. */
  madeAt: string;
  isEnded: boolean;
  logs: LogReport[];
  versions: { program: string; commit: string; postgresql: string; migration: string | null };
}

export interface LogReport extends LogKey, MonthOfLog {
  /** Whether every event of the month that the source showed at `provenAt` is stored. */
  isComplete: boolean;
  /** The same as a sentence. */
  verdict: string;
  events: number;
  /** The head of the ledger when the report was made, without signatures; `null` without an entry. */
  head: string | null;
  /** The newest signed head. */
  signedHead: string | null;
  keys: { verifierKey: string; fingerprint: string }[];
}

/** A report as a file: the note signs `JSON.stringify(report)`. */
export interface SignedReport {
  report: MonthReport;
  signature: string | null;
}

/** Parses `2026-03`. Throws `configuration`. */
export function parseMonth(text: string): Period {
  const match = /^(\d{4})-(0[1-9]|1[0-2])$/.exec(text);
  if (!match || match[1] === '0000')
    throw new ExportError('configuration', `--month: expected a month such as 2026-03, found ${text}.`);
  const [year, month] = [Number(match[1]), Number(match[2])];
  const next =
    month === 12
      ? `${String(year + 1).padStart(4, '0')}-01`
      : `${match[1]}-${String(month + 1).padStart(2, '0')}`;
  return {
    from: startOf(text),
    to: year === 9999 && month === 12 ? '9999-12-31T23:59:59.999999Z' : startOf(next),
  };
}

function startOf(month: string): string {
  return formatMicroseconds(parseTicks(`${month}-01T00:00:00Z`)!);
}

export async function makeReport(
  pool: Pool,
  {
    month,
    organization,
    now,
    privateKeys,
    trusted,
  }: {
    month: string;
    organization: string | undefined;
    now: Date;
    privateKeys: readonly KeyObject[];
    trusted: readonly TrustedKey[];
  },
): Promise<SignedReport> {
  const period = parseMonth(month);
  const madeAt = `${now.toISOString().slice(0, -1)}000Z`;
  const isEnded = madeAt >= period.to;
  const report = await withLedger(pool, async (ledger): Promise<MonthReport> => {
    const keys = (await ledger.logs()).filter(
      (key) => organization === undefined || key.organization === organization,
    );
    if (keys.length === 0)
      throw new ExportError('configuration', 'Nothing is stored that a report could be about.');
    const logs: LogReport[] = [];
    for (const key of keys) logs.push(await reportLog(ledger, key, { period, isEnded, trusted }));
    const versions = { program: build.version, commit: build.commit, ...(await readVersions(ledger.client)) };
    return { format: 'uipath-audit-export/report@1', month, period, madeAt, isEnded, logs, versions };
  });
  const json = JSON.stringify(report);
  const signature = privateKeys.length === 0 ? null : signReport(json, { period: month, privateKeys });
  return { report, signature };
}

async function reportLog(
  ledger: LedgerReader,
  key: LogKey,
  { period, isEnded, trusted }: { period: Period; isEnded: boolean; trusted: readonly TrustedKey[] },
): Promise<LogReport> {
  const month = await ledger.inSnapshot(() => readMonth(ledger.client, key, period));
  const head = await ledger.readHead(key);
  const signed = await ledger.readSigned(key);
  const { isComplete, verdict } = judge(month, period, isEnded);
  return {
    ...{ organization: key.organization, log: key.log, isComplete, verdict },
    events: month.days.reduce((sum, { events }) => sum + events, 0),
    ...month,
    head: head ? checkpointOf(key, head) : null,
    signedHead: signed?.checkpoint ?? null,
    keys: trusted.map(({ publicKey }) => ({
      verifierKey: vkeyOf(originOf(key), publicKey),
      fingerprint: fingerprintOf(publicKey),
    })),
  };
}

/** Complete: one range covers the month, and a count after its end agreed. */
function judge(
  { coverage, gaps, completeness }: MonthOfLog,
  { from, to }: Period,
  isEnded: boolean,
): { isComplete: boolean; verdict: string } {
  const range = coverage.find((each) => each.from < to && each.to >= to);
  if (!isEnded)
    return {
      isComplete: false,
      verdict: 'The month has not ended: the report covers what is stored so far.',
    };
  if (gaps.length > 0) {
    const [gap] = gaps;
    return {
      isComplete: false,
      verdict: `Not complete: between ${gap!.from} and ${gap!.to} events may have been deleted at the source before they were read.`,
    };
  }
  if (completeness.state === 'source changed')
    return { isComplete: false, verdict: `Not proven: the source has changed (${completeness.reason}).` };
  if (!range) return { isComplete: false, verdict: 'Not proven: the month was not read to its end.' };
  if (range.provenAt === null || range.provenAt < to)
    return { isComplete: false, verdict: 'Not proven: no count after the end of the month has agreed yet.' };
  const start = range.from > from ? `, from the oldest event of the source (${range.from}) on` : '';
  return {
    isComplete: true,
    verdict: `Complete: every event of the month that the source showed on ${range.provenAt} is stored${start}.`,
  };
}

export interface ReportCheck {
  signedBy: string[];
  /** What the database contradicts. */
  differences: string[];
  /** What was stored for the month since the report was made. */
  since: string[];
}

/** Parses a report file. Throws `configuration`. */
export function parseReport(text: string, name: string): SignedReport {
  try {
    const { report, signature } = JSON.parse(text) as SignedReport;
    if (
      report?.format === 'uipath-audit-export/report@1' &&
      Array.isArray(report.logs) &&
      (signature === null || typeof signature === 'string')
    )
      return { report, signature };
  } catch {
    // Reported below.
  }
  throw new ExportError(
    'configuration',
    `${name} is not a report of this program: expected the JSON file that \`report\` writes.`,
  );
}

/** Checks the signature, and compares the report with the database. Throws `configuration` if there is no key for a signature. */
export async function checkReport(
  pool: Pool,
  { report, signature }: SignedReport,
  trusted: readonly TrustedKey[],
): Promise<ReportCheck> {
  const check: ReportCheck = { signedBy: [], differences: [], since: [] };
  const json = JSON.stringify(report);
  if (signature === null && trusted.length > 0)
    check.differences.push('The report is not signed, and a public key is configured.');
  if (signature !== null) {
    if (trusted.length === 0) {
      throw new ExportError(
        'configuration',
        'The report is signed. Set EXPORT_LEDGER_PUBLIC_KEY_FILE to the public key, from somebody you trust.',
      );
    }
    const found = checkReportSignature(signature, { json, period: report.month, keys: trusted });
    check.signedBy = found.signedBy;
    if (!found.isOfReport)
      check.differences.push('The signature is of another report: this one was changed.');
  }
  await withLedger(pool, async (ledger) => {
    for (const log of report.logs) await compareLog(ledger, log, report.period, check);
  });
  return check;
}

async function compareLog(
  ledger: LedgerReader,
  log: LogReport,
  period: Period,
  check: ReportCheck,
): Promise<void> {
  const { organization } = log;
  const differs = (what: string) => check.differences.push(`${organization}: ${what}`);
  const { size, root } = log.head === null ? { size: 0, root: undefined } : parseCheckpoint(log.head);
  const digests = await ledger.readDigests(log, BigInt(size));
  if (digests.length < size)
    differs(`the ledger has ${digests.length} of the ${size} entries of the report: its end was cut off.`);
  else if (root && !Buffer.from(rootOf(digests.map(entryLeaf))).equals(Buffer.from(root)))
    differs(`the first ${size} entries of the ledger are not those of the report: the ledger was rewritten.`);
  const days = new Map(
    (await readDaysAt(ledger.client, log, period, BigInt(size))).map(({ day, events }) => [day, events]),
  );
  for (const { day, events } of log.days) {
    const found = days.get(day) ?? 0;
    if (found !== events)
      differs(`${day}: the report has ${events} events, the database ${found} of the same entries.`);
    days.delete(day);
  }
  for (const [day, events] of days)
    differs(
      `${day}: the database has ${events} events of entries that the report includes, the report none.`,
    );
  const now = await ledger.inSnapshot(() => readMonth(ledger.client, log, period));
  const later = now.days.reduce((sum, { events }) => sum + events, 0) - log.events;
  if (later !== 0) check.since.push(`${organization}: ${later} events of the month were stored later.`);
  const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const { first } = log.entries;
  if (!isSame(first, now.entries.first)) differs('the first entry of the month is not that of the report.');
  for (const verification of log.verifications) {
    if (!now.verifications.some((each) => isSame(each, verification)))
      differs(`the result of verify of ${verification.endedAt} (${verification.outcome}) is missing.`);
  }
  for (const run of log.runs.failed) {
    if (!now.runs.failed.some((each) => isSame(each, run)))
      differs(`the failed run ${run.runId} is missing, or has another outcome.`);
  }
  for (const event of log.gone.listed) {
    if (!now.gone.listed.some(({ eventId }) => eventId === event.eventId))
      check.since.push(`${organization}: event ${event.eventId} is no longer gone at the source.`);
  }
}
