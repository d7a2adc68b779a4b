/** The output of `status`. */
import { countLogs, findSeveralLogs, nameLog } from '../core/log-key.ts';
import type { OrganizationStatus, RunRecord, StatusReport } from '../postgres/read/status.ts';
import { nameRuns, noteRuns } from '../status/page/run-notes.ts';
import { describeState, kindOf } from '../status/state.ts';
import { assessDatabase, assessOrganization, type Verdict } from '../status/verdict.ts';
import { describeVerification, verifiedAt } from '../status/verification.ts';
import { describeDuration, describeInstant, describeWhen, formatNumber } from '../text/format.ts';
import { type Colours, hang, pad, printable } from './screen.ts';
import { type Column, layTable } from './table.ts';

/** With more organizations, an overview comes first. */
const MAX_WITHOUT_OVERVIEW = 3;
/** Gone events that are listed; the view has all. */
const MAX_GONE = 5;

interface Assessed {
  name: string;
  status: OrganizationStatus;
  verdict: Verdict;
}

export function describeStatus(report: StatusReport, colours: Colours): string[] {
  const { organizations, migrations, readAt } = report;
  const database = assessDatabase(report);
  const several = findSeveralLogs(organizations);
  const assessed = organizations.map((status) => ({
    name: nameLog(status, several),
    status,
    verdict: assessOrganization(status, readAt),
  }));
  const parts = assessed.map((one) => describeOrganization(one, readAt, colours));
  if (assessed.length > MAX_WITHOUT_OVERVIEW) parts.unshift(describeOverview(assessed, readAt, colours));
  if (database) parts.unshift(describeVerdict('Database', database, colours));
  else parts.push([colours.dim(`Migrations: ${migrations.applied.length} applied, none pending.`)]);
  return parts.flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]));
}

const LEVELS = {
  good: { mark: '✓', colour: 'green', text: 'in order' },
  attention: { mark: '!', colour: 'yellow', text: 'need attention' },
  bad: { mark: '✗', colour: 'red', text: 'failing' },
} as const;

const OVERVIEW: Column[] = [
  { title: '' },
  { title: 'Organization', mayCut: true },
  { title: 'State' },
  { title: 'Newest event', keep: 3 },
  { title: 'Last success', keep: 4 },
  { title: 'Stored', isNumber: true, keep: 2 },
  { title: 'Gaps', isNumber: true, keep: 5 },
  { title: 'Rejected', isNumber: true, keep: 1 },
];

function describeOverview(assessed: readonly Assessed[], now: Date, colours: Colours): string[] {
  const levels = (['good', 'attention', 'bad'] as const).flatMap((level) => {
    const number = assessed.filter(({ verdict }) => verdict.level === level).length;
    return number === 0 ? [] : [`${formatNumber(number)} ${LEVELS[level].text}`];
  });
  const rows = assessed.map(({ name, status, verdict }) => {
    const { newestEventAt, lastSuccessAt, stored, gapCount, rejected } = status;
    const { mark, colour } = LEVELS[verdict.level];
    return [
      colours[colour](mark),
      printable(name),
      // The details below show the part after the colon.
      verdict.headline.split(':')[0]!,
      newestEventAt ? describeWhen(newestEventAt, now) : 'none yet',
      lastSuccessAt ? describeWhen(lastSuccessAt, now) : 'none yet',
      ...[stored, gapCount, rejected].map(formatNumber),
    ];
  });
  const summary = `${countLogs(assessed.map(({ status }) => status))}: ${levels.join(', ')}`;
  return [colours.bold(summary), ...layTable(OVERVIEW, rows, colours)];
}

function describeOrganization({ name, status, verdict }: Assessed, now: Date, colours: Colours): string[] {
  return [
    ...describeVerdict(name, verdict, colours),
    '',
    ...describeFacts(status, now, colours),
    '',
    ...describeRuns(status.runs, verdict, now, colours),
  ];
}

function describeVerdict(subject: string, { level, headline, reasons }: Verdict, colours: Colours): string[] {
  const { mark, colour } = LEVELS[level];
  return [
    ...hang(`${colours[colour](mark)} `, `${colours.bold(printable(subject))}  ${headline}`),
    ...reasons.flatMap((reason) => hang('  ', printable(reason))),
  ];
}

type Fact = [string, string, (string | undefined)?];

function describeFacts(status: OrganizationStatus, now: Date, colours: Colours): string[] {
  const { newestEventAt, lastSuccessAt, sourceTotal, gapCount, watermark } = status;
  const checkedAt = verifiedAt(status.verification);
  const facts: Fact[] = [
    ...describeCompleteness(status, now),
    [
      'Newest event',
      newestEventAt ? describeInstant(newestEventAt) : 'none yet',
      newestEventAt ? describeWhen(newestEventAt, now) : undefined,
    ],
    ['Watermark', watermark?.raw ?? 'none yet'],
    [
      'Last success',
      lastSuccessAt ? describeInstant(lastSuccessAt) : 'none yet',
      lastSuccessAt ? describeWhen(lastSuccessAt, now) : undefined,
    ],
    ['Events stored', formatNumber(status.stored)],
    [
      'Events at source',
      sourceTotal === null ? 'not known' : formatNumber(sourceTotal),
      sourceTotal === null ? undefined : 'by its last response',
    ],
    [
      'Last verify',
      describeVerification(status.verification),
      checkedAt ? describeWhen(checkedAt, now) : undefined,
    ],
    ...describeCoverage(status, now),
    ['Rejected rows', formatNumber(status.rejected)],
    ['Gaps', formatNumber(gapCount)],
    ...describeGone(status, now),
  ];
  return facts.flatMap(([name, value, note]) => {
    const shown = note === undefined ? printable(value) : `${printable(value)}  ${colours.dim(`(${note})`)}`;
    return hang(`  ${colours.dim(pad(name, 16))}  `, shown);
  });
}

function describeCompleteness({ completeness }: OrganizationStatus, now: Date): Fact[] {
  const { provenAt, suspected } = completeness;
  const proven = ['complete', 'gap'].includes(kindOf(completeness)) ? 'proven' : 'last proven';
  const facts: Fact[] = [
    [
      'Completeness',
      describeState(completeness),
      provenAt ? `${proven} ${describeWhen(provenAt, now)}` : undefined,
    ],
  ];
  if (suspected > 0) {
    facts.push(['Suspected', formatNumber(suspected), 'not found at the source; the next run decides']);
  }
  return facts;
}

function describeCoverage({ coverage }: OrganizationStatus, now: Date): Fact[] {
  return coverage.map(
    ({ from, to, provenAt }): Fact => [
      provenAt ? 'Proven' : 'Read',
      `${describeInstant(from)} to ${describeInstant(to)}`,
      provenAt ? `counted ${describeWhen(provenAt, now)}` : 'not counted yet',
    ],
  );
}

/** How many events are gone, and the newest of them. */
function describeGone({ completeness, goneEvents }: OrganizationStatus, now: Date): Fact[] {
  const shown = goneEvents
    .slice(0, MAX_GONE)
    .map(
      ({ createdOn, category, action, userName, noticedAt }): Fact => [
        '',
        [describeInstant(createdOn), ...[category, action, userName].filter(Boolean)].join('  '),
        `noticed ${describeWhen(noticedAt, now)}`,
      ],
    );
  const rest = completeness.gone > shown.length ? 'bi.gone_events has all' : undefined;
  return [['Gone events', formatNumber(completeness.gone), rest], ...shown];
}

/** A column only where a run has some. */
const SUPERSEDED = 'Superseded';

const RUNS: Column[] = [
  { title: 'Run' },
  { title: 'Kind' },
  { title: 'Started' },
  { title: 'At', keep: 1 },
  { title: 'Took', isNumber: true, keep: 10 },
  { title: 'Outcome' },
  { title: 'New', isNumber: true },
  { title: 'Updated', isNumber: true, keep: 7 },
  { title: SUPERSEDED, isNumber: true, keep: 5 },
  { title: 'Same', isNumber: true, keep: 4 },
  { title: 'Rejected', isNumber: true, keep: 9 },
  { title: 'Late', isNumber: true, keep: 8 },
  { title: 'Pages', isNumber: true, keep: 2 },
  { title: 'Requests', isNumber: true, keep: 3 },
  { title: 'Retries', isNumber: true, keep: 6 },
];

function describeRuns(
  runs: readonly RunRecord[],
  { reasons }: Verdict,
  now: Date,
  colours: Colours,
): string[] {
  if (runs.length === 0) return [colours.dim('  No run is recorded.')];
  const hasSuperseded = runs.some(({ counters }) => counters.superseded > 0);
  const columns = RUNS.filter(({ title }) => hasSuperseded || title !== SUPERSEDED);
  const rows = runs.map((run) => {
    const { inserted, updated, superseded, unchanged, rejected, late, pages, requests, retries } =
      run.counters;
    const replaced = hasSuperseded ? [superseded] : [];
    const numbers = [inserted, updated, ...replaced, unchanged, rejected, late, pages, requests, retries];
    return [
      run.runId,
      run.kind,
      describeWhen(run.startedAt, now),
      describeInstant(run.startedAt),
      describeDuration((run.endedAt ?? now).getTime() - run.startedAt.getTime()),
      describeOutcome(run.outcome, colours),
      ...numbers.map(formatNumber),
    ];
  });
  const notes = noteRuns(runs, reasons).flatMap((note) => {
    const mark = note.isError ? colours.red('✗') : colours.yellow('!');
    return hang(`  ${mark} `, printable(`${nameRuns(note)}: ${note.text}`));
  });
  const title = runs.length === 1 ? 'Last run' : `Last ${runs.length} runs`;
  return [`  ${colours.bold(title)}`, ...layTable(columns, rows, colours), ...notes];
}

function describeOutcome(outcome: RunRecord['outcome'], colours: Colours): string {
  if (outcome === null) return 'in progress';
  return outcome === 'failed' || outcome === 'abandoned' ? colours.red(outcome) : outcome;
}
