/** The output of `verify`. */
import { findSeveralLogs, nameLog } from '../core/log-key.ts';
import { formatTicks } from '../core/ticks.ts';
import type { Columns, StateFinding } from '../postgres/read/state/finding.ts';
import type { SourceExample, SourceReport } from '../runs/source-report.ts';
import { countFaults, type NamedFinding, type Verification } from '../runs/verify.ts';
import type { StateReport } from '../runs/verify-state.ts';
import { count, formatNumber } from '../text/format.ts';
import { type Colours, hang, printable } from './screen.ts';

/** The report has more; --json prints them. */
const EXAMPLES_PER_KIND = 5;

const NAME_WIDTH = 'no longer at the source'.length;
/** Aligns the numbers of both parts in most reports. */
const MIN_NUMBER = 9;

type Line = [name: string, count: number, meaning: string, isFault?: boolean];

export function describeVerification(verifications: readonly Verification[], colours: Colours): string[] {
  if (verifications.length === 0) return ['Nothing is stored yet.'];
  const several = findSeveralLogs(verifications);
  const parts = verifications.map((verification) => [
    ...describeLog(nameLog(verification, several), verification, colours),
    ...(verification.source ? [...describeSource(verification.source, colours), ''] : []),
    ...describeLedger(verification.ledger, colours),
    '',
    ...describeState(verification.state, colours),
    ...describeHead(verification.ledger, colours),
  ]);
  return parts.flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]));
}

function describeLog(title: string, verification: Verification, colours: Colours): string[] {
  const { source } = verification;
  const name = colours.bold(printable(title));
  const line = (mark: string, text: string) => hang(`${mark} `, `${name}  ${text}`);
  if (countFaults(verification) > 0) return line(colours.red('✗'), 'Differences found');
  if (source && source.events + source.rejected + source.stored === 0) {
    return line(colours.yellow('!'), 'No events in this range, neither at the source nor stored');
  }
  const what = source ? 'No differences from the source and the ledger' : 'No differences from the ledger';
  return line(colours.green('✓'), what);
}

function describeSource(source: SourceReport, colours: Colours): string[] {
  const { events, rejected, stored, same, counts, repaired, requests, runId, examples, notDue } = source;
  const { deletedByHand, insertedByHand, superseded, rerendered } = source;
  const lines: Line[] = [
    ['same', same, ''],
    ['missing', counts.missing, 'at the source, not stored', true],
    ...ofThese('deleted by hand', deletedByHand, 'the ledger lists them: a run had stored them'),
    ['changed', counts.changed, 'stored with other content than at the source', true],
    ...ofThese('inserted by hand', insertedByHand, 'the ledger does not list them: no run has stored them'),
    ['not due yet', notDue, describeNotDue(source)],
    ['no longer at the source', counts.gone, 'deleted by the source; expected'],
  ];
  if (rerendered > 0)
    lines.push(['written differently', rerendered, 'same event; a run or --repair replaces the row']);
  if (superseded > 0) lines.push(['superseded', superseded, 'older forms of events; kept']);
  if (runId !== null) lines.push(['repaired', repaired, `by run ${runId}`]);
  const aside = rejected > 0 ? ` and ${count(rejected, 'rejected row')}` : '';
  const read = `${count(events, 'event')}${aside} read again in ${count(requests, 'request')}, ${formatNumber(stored)} stored`;
  return [
    ...describeTitle('Against the source', read, colours),
    ...describeLines(lines, colours),
    ...firstOfEach(examples.filter(({ kind }) => kind !== 'gone')).flatMap((example) =>
      hang('      ', describeExample(example)).map(colours.dim),
    ),
  ];
}

function ofThese(name: string, number: number, meaning: string): Line[] {
  return number === 0 ? [] : [[`  ${name}`, number, meaning, true]];
}

function describeNotDue({ provenAt, notDue }: SourceReport): string {
  if (provenAt === null && notDue === 0) return 'the last run did not prove the history';
  const since = provenAt === null ? '' : `, at ${provenAt.toISOString()}`;
  return `came after the last proof${since}: the next run stores them`;
}

function describeExample({ kind, cause, createdOnTicks, eventId, fields, userName }: SourceExample): string {
  const by = kind === 'changed' && cause === null ? [] : [userName ?? 'no user'];
  const parts = [kind, formatTicks(createdOnTicks), eventId, ...by, ...(cause === null ? [] : [cause])];
  return printable([...parts, ...(fields.length > 0 ? [fields.join(', ')] : [])].join('  '));
}

function describeLedger(
  { entries, rows, counts, examples }: Verification['ledger'],
  colours: Colours,
): string[] {
  const lines: Line[] = [
    ['edited by hand', counts.edited, 'differ from what the worker last wrote', true],
    ['deleted by hand', counts.deleted, 'listed by the ledger, not stored', true],
    ['inserted by hand', counts.inserted, 'stored, not listed by the ledger', true],
    ['broken entries', counts.broken, 'entries of the ledger that do not fit', true],
    ['repaired since', counts.repaired, 'edited or deleted by hand, then restored by a later run'],
  ];
  return [
    ...describeTitle(
      'Against the ledger',
      `${count(entries, 'entry', 'entries')}, ${count(rows, 'row')} listed`,
      colours,
    ),
    ...describeLines(lines, colours),
    ...firstOfEach(examples).flatMap((finding) => hang('      ', describeFinding(finding)).map(colours.dim)),
  ];
}

/** The first examples of each kind; repaired ones, which are no fault, last. */
function firstOfEach<T extends { kind: string }>(examples: readonly T[]): T[] {
  const kinds = [...new Set(examples.map(({ kind }) => kind))];
  return kinds
    .sort((a, b) => Number(a === 'repaired') - Number(b === 'repaired'))
    .flatMap((kind) => examples.filter((example) => example.kind === kind).slice(0, EXAMPLES_PER_KIND));
}

function describeFinding({ kind, batch, eventId, createdOn, userName, reason }: NamedFinding): string {
  const what = [createdOn, eventId, userName].filter((part) => part !== null).join('  ');
  return printable(`${kind}  entry ${batch}  ${what && `${what}  `}${reason}`);
}

function describeTitle(title: string, facts: string, colours: Colours): string[] {
  return hang('  ', `${colours.bold(title)}  ${colours.dim(facts)}`);
}

function describeLines(lines: readonly Line[], colours: Colours): string[] {
  const widest = Math.max(MIN_NUMBER, ...lines.map(([, number]) => formatNumber(number).length));
  return lines.flatMap(([name, number, meaning, isFault]) => {
    const shown = formatNumber(number).padStart(widest);
    const coloured = isFault && number > 0 ? colours.red(shown) : shown;
    const prefix = `    ${name.padEnd(NAME_WIDTH)}  ${coloured}`;
    return meaning === '' ? [prefix] : hang(`${prefix}  `, colours.dim(meaning));
  });
}

/** One line per table with differences, and the first rows of each. */
function describeState({ tables, examples, count: total }: StateReport, colours: Colours): string[] {
  const names = Object.keys(tables);
  const lines: Line[] =
    total === 0
      ? [['differing rows', 0, '']]
      : names.map((name) => [name, tables[name]!, 'not as recomputed from the rows', true]);
  return [
    ...describeTitle('Recomputed', 'roll-ups, watermarks, runs, coverage, gone and rejected rows', colours),
    ...describeLines(lines, colours),
    ...names.flatMap((name) =>
      examples
        .filter(({ table }) => table === name)
        .slice(0, EXAMPLES_PER_KIND)
        .flatMap((finding) => hang('      ', describeRow(finding)).map(colours.dim)),
    ),
  ];
}

/** `audit.daily_totals  day 2026-03-01, category User  events: expected 5, found 6`. */
function describeRow({ table, key, expected, found }: StateFinding): string {
  const name = Object.entries(key)
    .map(([column, value]) => `${column} ${value ?? 'null'}`)
    .join(', ');
  return printable([table, ...(name === '' ? [] : [name]), describeColumns(expected, found)].join('  '));
}

function describeColumns(expected: Columns | null, found: Columns | null): string {
  if (expected === null) return 'inserted by hand: no such row is expected';
  if (found === null) return 'deleted by hand: the row is missing';
  const columns = [...new Set([...Object.keys(expected), ...Object.keys(found)])];
  return columns
    .map((column) => {
      const parts = [
        ...(column in expected ? [`expected ${expected[column] ?? 'null'}`] : []),
        ...(column in found ? [`found ${found[column] ?? 'null'}`] : []),
      ];
      return `${column}: ${parts.join(', ')}`;
    })
    .join('; ');
}

function describeHead({ checkpoint, signedBy }: Verification['ledger'], colours: Colours): string[] {
  if (checkpoint === null) return [];
  const signed = signedBy.length > 0 ? `signed by ${signedBy.join(', ')}` : 'not signed';
  return [
    '',
    ...hang(
      '  ',
      `Head of the ledger, ${signed}. A copy stored where the database administrators cannot write proves later that the ` +
        'ledger was only appended to (verify --expect "$(cat FILE)"):',
    ),
    ...checkpoint
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${colours.bold(printable(line))}`)),
  ];
}
