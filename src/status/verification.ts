/** The last results of `verify` in words, the same for `status`, the page and the verdict. */
import type { OrganizationStatus, VerificationStatus } from '../postgres/read/status.ts';
import { DIFFERENCES } from '../runs/verify.ts';
import { count, describeWhen, formatNumber } from '../text/format.ts';

/** Every kind with its number; nothing if the log was never verified. */
export function differencesByKind({
  last,
  differences,
}: VerificationStatus): [kind: string, number: number][] {
  return last === null ? [] : DIFFERENCES.map((kind) => [kind, differences[kind] ?? 0]);
}

/** Whether differences are known that no later verify has cleared. */
export function hasDifferences({ differences }: VerificationStatus): boolean {
  return Object.keys(differences).length > 0;
}

/** `no differences (offline)`, `2 missing, 1 state (online)`, `failed (online): no response`, or `never`. */
export function describeVerification(verification: VerificationStatus): string {
  const { last, differencesScope } = verification;
  if (last === null) return 'never';
  if (last.outcome === 'failed') return `failed (${last.scope}): ${last.error ?? 'no reason was recorded'}`;
  if (!hasDifferences(verification)) return `no differences (${last.scope})`;
  return `${describeDifferences(verification)} (${differencesScope ?? last.scope})`;
}

/** When the result that `describeVerification` describes was found; `null`: never verified. */
export function verifiedAt(verification: VerificationStatus): Date | null {
  const { last, differencesAt } = verification;
  const isOfDifferences = hasDifferences(verification) && last?.outcome !== 'failed';
  return (isOfDifferences ? differencesAt : last?.endedAt) ?? null;
}

/** What verify found and what to do about it; `undefined` without differences. */
export function explainVerification({ verification }: OrganizationStatus, now: Date): string | undefined {
  if (!hasDifferences(verification)) return undefined;
  const { differences, differencesAt, differencesScope } = verification;
  const total = Object.values(differences).reduce((sum, number) => sum + number, 0);
  const when = differencesAt === null ? '' : ` ${describeWhen(differencesAt, now)}`;
  return (
    `verify (${differencesScope}) found ${count(total, 'difference')}${when}: ${describeDifferences(verification)}. ` +
    '`node dist/main.js verify` lists them; docs/proof.md says what to do.'
  );
}

function describeDifferences({ differences }: VerificationStatus): string {
  const known: readonly string[] = DIFFERENCES;
  const kinds = [...known, ...Object.keys(differences).filter((kind) => !known.includes(kind))];
  return kinds
    .filter((kind) => (differences[kind] ?? 0) > 0)
    .map((kind) => `${formatNumber(differences[kind]!)} ${kind}`)
    .join(', ');
}
