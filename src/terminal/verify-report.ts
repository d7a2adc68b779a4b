/** The output of `verify`. */
import type { LedgerFinding } from '../core/ledger/check.ts';
import { findSeveralLogs, type LogKey, nameLog } from '../core/log-key.ts';
import { formatTicks } from '../core/ticks.ts';
import { countTamperings, type LedgerReport } from '../runs/verify-ledger.ts';
import { countDifferences, type SourceReport } from '../runs/verify-source.ts';
import { count, formatNumber } from '../text/format.ts';
import { type Colours, hang, printable } from './screen.ts';

export interface Verification extends LogKey {
  /** `null` with --offline. */
  source: SourceReport | null;
  ledger: LedgerReport;
}

/** The report has more; --json prints them. */
const EXAMPLES_PER_KIND = 5;

const NAME_WIDTH = 'no longer at the source'.length;
/** Aligns the numbers of both parts in most reports. */
const MIN_NUMBER = 9;

type Line = [name: string, count: number, meaning: string, isFault?: boolean];

export function describeVerification(verifications: readonly Verification[], colours: Colours): string[] {
  if (verifications.length === 0) return ['Nothing is stored yet.'];
  const several = findSeveralLogs(verifications);
  const parts = verifications.map(({ source, ledger, ...key }) => [
    ...describeLog(nameLog(key, several), { source, ledger }, colours),
    ...(source ? [...describeSource(source, colours), ''] : []),
    ...describeLedger(ledger, colours),
    ...describeHead(ledger, colours),
  ]);
  return parts.flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]));
}

/** The number of differences from source and ledger that make `verify` exit with 3. */
export function countFaults({ source, ledger }: Pick<Verification, 'source' | 'ledger'>): number {
  return (source ? countDifferences(source) : 0) + countTamperings(ledger);
}

function describeLog(
  title: string,
  { source, ledger }: Pick<Verification, 'source' | 'ledger'>,
  colours: Colours,
): string[] {
  const name = colours.bold(printable(title));
  const line = (mark: string, text: string) => hang(`${mark} `, `${name}  ${text}`);
  if (countFaults({ source, ledger }) > 0) return line(colours.red('✗'), 'Differences found');
  if (source && source.events + source.rejected + source.stored === 0) {
    return line(colours.yellow('!'), 'No events in this range, neither at the source nor stored');
  }
  const what = source ? 'No differences from the source and the ledger' : 'No differences from the ledger';
  return line(colours.green('✓'), what);
}

function describeSource(source: SourceReport, colours: Colours): string[] {
  const {
    events,
    rejected,
    stored,
    same,
    superseded,
    rerendered,
    counts,
    repaired,
    requests,
    runId,
    examples,
  } = source;
  const lines: Line[] = [
    ['same', same, ''],
    ['missing', counts.missing, 'at the source, not stored', true],
    ['changed', counts.changed, 'stored with other content than at the source', true],
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
    ...firstOfEach(examples)
      .filter(({ kind }) => kind !== 'gone')
      .flatMap(({ kind, createdOnTicks, eventId, fields }) => {
        const differing = fields.length > 0 ? `  ${fields.join(', ')}` : '';
        return hang('      ', `${kind}  ${formatTicks(createdOnTicks)}  ${eventId}${differing}`).map(
          colours.dim,
        );
      }),
  ];
}

function describeLedger({ entries, rows, counts, examples }: LedgerReport, colours: Colours): string[] {
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

function describeFinding({ kind, batch, eventId, createdOn, reason }: LedgerFinding): string {
  const what = [createdOn, eventId].filter((part) => part !== null).join('  ');
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

function describeHead({ checkpoint, signedBy }: LedgerReport, colours: Colours): string[] {
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
