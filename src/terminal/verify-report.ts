/** What `verify` found, in lines for a terminal. */
import type { LedgerFinding } from '../core/ledger.ts';
import { CLASSIC_LOG, findSeveralLogs, type LogKey, nameLog } from '../core/log-key.ts';
import { formatTicks } from '../core/ticks.ts';
import { countTamperings, type LedgerReport } from '../runs/verify-ledger.ts';
import { countDifferences, type SourceReport } from '../runs/verify-source.ts';
import { count, formatNumber } from '../text/format.ts';
import { type Colours, hang, printable } from './screen.ts';

export interface Verification extends LogKey {
  /** `null` where no source was asked. */
  source: SourceReport | null;
  ledger: LedgerReport;
}

/** The report has more, and --json shows them. */
const EXAMPLES_A_KIND = 5;

const NAME_WIDTH = 'no longer at the source'.length;
/** So that the numbers of both parts stand below each other as a rule. */
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

/** Whatever needs a person. */
export function countFaults({ source, ledger }: Pick<Verification, 'source' | 'ledger'>): number {
  return (source ? countDifferences(source) : 0) + countTamperings(ledger);
}

function describeLog(
  title: string,
  { source, ledger }: Pick<Verification, 'source' | 'ledger'>,
  colours: Colours,
): string[] {
  const name = colours.bold(printable(title));
  const tell = (mark: string, words: string) => hang(`${mark} `, `${name}  ${words}`);
  if (countFaults({ source, ledger }) > 0) return tell(colours.red('✗'), 'Differences found');
  if (source && source.events + source.rejected + source.stored === 0) {
    return tell(colours.yellow('!'), 'Nothing of this range is at the source or stored');
  }
  const what = source ? 'The table has what the source has' : 'The table is as the worker wrote it';
  return tell(colours.green('✓'), what);
}

function describeSource(source: SourceReport, colours: Colours): string[] {
  const { events, rejected, stored, same, counts, repaired, requests, runId, examples } = source;
  const lines: Line[] = [
    ['same', same, ''],
    ['missing', counts.missing, 'at the source, not stored', true],
    ['changed', counts.changed, 'stored otherwise than the source has it', true],
    ['no longer at the source', counts.gone, 'deleted there since; expected'],
  ];
  if (runId !== null) lines.push(['repaired', repaired, `by run ${runId}`]);
  const aside = rejected > 0 ? ` and ${count(rejected, 'row')} that are rejected` : '';
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
    ['edited by hand', counts.edited, 'not as the worker last wrote them', true],
    ['deleted by hand', counts.deleted, 'listed by the ledger, not there', true],
    ['inserted by hand', counts.inserted, 'there, not listed by the ledger', true],
    ['broken entries', counts.broken, 'of the ledger itself', true],
    ['repaired since', counts.repaired, 'edited or deleted by hand once, and put right by a later run'],
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

/** Some of each kind, what is no fault last. */
function firstOfEach<T extends { kind: string }>(examples: readonly T[]): T[] {
  const kinds = [...new Set(examples.map(({ kind }) => kind))];
  return kinds
    .sort((a, b) => Number(a === 'repaired') - Number(b === 'repaired'))
    .flatMap((kind) => examples.filter((example) => example.kind === kind).slice(0, EXAMPLES_A_KIND));
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

function describeHead({ head }: LedgerReport, colours: Colours): string[] {
  if (!head) return [];
  const log = head.log === CLASSIC_LOG ? '' : `${head.log}/`;
  const entry = `${head.organization}/${log}${head.batch}/${head.digest}`;
  return [
    '',
    ...hang(
      '  ',
      'Newest entry of the ledger; noted where the database administrators cannot write, it proves later that the chain was ' +
        'not rewritten (verify --expect ENTRY):',
    ),
    `    ${colours.bold(printable(entry))}`,
  ];
}
