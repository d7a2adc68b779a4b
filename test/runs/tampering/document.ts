/** The table and the list in SECURITY.md, from the attempts. */
import type { Attempt, Found } from './attempt.ts';
import type { Counts } from './stage.ts';

/** One row for the attempts that share its title. */
export function renderTable(attempts: readonly Attempt[]): string {
  const lines = rowsOf(attempts).map(([row, same]) => {
    const cells = [row, whoOf(same), cellOf(same, false), cellOf(same, true)];
    return `| ${cells.join(' | ')} |`;
  });
  return ['| attempt | by | without a key | with a key |', '|---|---|---|---|', ...lines].join('\n');
}

/** What is not found, or not by this check alone, and why. */
export function renderRest(attempts: readonly Attempt[]): string {
  return rowsOf(attempts)
    .flatMap(([row, [first]]) => (first!.remains === undefined ? [] : `* ${row}. ${first!.remains}`))
    .join('\n');
}

function rowsOf(attempts: readonly Attempt[]): [row: string, same: Attempt[]][] {
  const rows = new Map<string, Attempt[]>();
  for (const attempt of attempts) rows.set(attempt.row, [...(rows.get(attempt.row) ?? []), attempt]);
  return [...rows];
}

function whoOf(same: readonly Attempt[]): string {
  const logins = new Set(same.flatMap(({ by }) => by));
  return logins.has('audit_writer') ? '`audit_writer`' : 'owner';
}

function cellOf(same: readonly Attempt[], isSigned: boolean): string {
  const found = same.map((attempt) => foundOf(attempt, isSigned));
  if (found.every((each) => each === null)) return '';
  const { expected, signedExpected = expected, online, byState } = same[0]!;
  const withHead = isSigned ? signedExpected : expected;
  const said = describeFound(found, byState === true);
  const more = [
    withHead && describeKinds(found) === '' ? `\`--expect\`: ${describeKinds([withHead])}` : '',
    online && describeKinds(found) === '' ? `source: ${Object.keys(online).join(', ')}` : '',
  ].filter((each) => each !== '');
  return [said, ...more].join('; ');
}

function foundOf({ found, signed = found ?? undefined }: Attempt, isSigned: boolean): Found | null {
  return isSigned ? (signed ?? null) : found;
}

function describeFound(found: readonly (Found | null)[], isByState: boolean): string {
  if (found.includes('exit code 2')) return 'exit code 2';
  const kinds = describeKinds(found);
  if (kinds !== '') return kinds;
  return isByState ? 'state' : '**nothing**';
}

/** The kinds that all of them have. */
function describeKinds(found: readonly (Found | Counts | null)[]): string {
  const [first, ...rest] = found.map((each) => (typeof each === 'object' && each ? Object.keys(each) : []));
  return first!.filter((kind) => rest.every((kinds) => kinds.includes(kind))).join(', ');
}
