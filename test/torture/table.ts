import Table from 'cli-table3';
import type { Fault, Played } from './play.ts';

interface FaultSummary {
  fault: string;
  rounds: number;
  missed: number;
  rows: number;
  lost: number;
  doubled: number;
  altered: number;
  falselyComplete: number;
  falselyGone: number;
  /** Promises about watermark, history, exit codes and time that did not hold. */
  broken: number;
  recoveryMs: { median: number; longest: number } | undefined;
  /** How often what happened in which way. */
  notes: Record<string, number>;
}

/** One summary a fault, in the order of the list, and one of them all. */
export function summarize(
  faults: readonly Fault[],
  played: readonly Played[],
): { faults: FaultSummary[]; total: FaultSummary } {
  const of = (name: string, rounds: readonly Played[]): FaultSummary => {
    const counted = rounds.filter(({ isMissed }) => !isMissed);
    const sum = (count: (round: Played) => number) =>
      counted.reduce((total, round) => total + count(round), 0);
    return {
      fault: name,
      rounds: counted.length,
      missed: rounds.length - counted.length,
      rows: sum(({ rows }) => rows),
      lost: sum(({ lost }) => lost.length),
      doubled: sum(({ doubled }) => doubled.length),
      altered: sum(({ altered }) => altered.length),
      falselyComplete: sum(({ falselyComplete }) => falselyComplete.length),
      falselyGone: sum(({ falselyGone }) => falselyGone.length),
      broken: sum(({ broken }) => broken.length),
      recoveryMs: spread(counted.flatMap(({ recoveryMs }) => recoveryMs ?? [])),
      notes: countEach(counted.flatMap(({ notes }) => notes)),
    };
  };
  const each = faults.map(({ name }) =>
    of(
      name,
      played.filter(({ fault }) => fault === name),
    ),
  );
  return { faults: each, total: of('all', played) };
}

function spread(times: readonly number[]): FaultSummary['recoveryMs'] {
  if (times.length === 0) return undefined;
  const sorted = [...times].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  return { median: Math.round(median), longest: Math.round(sorted.at(-1)!) };
}

function countEach(texts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1;
  return counts;
}

const HEAD = [
  'fault',
  'rounds',
  'missed',
  'rows',
  'lost',
  'doubled',
  'altered',
  'falsely complete',
  'falsely gone',
  'broken',
  'recovery, median',
  'longest',
];

/** As Markdown, so that it can be put into a document as it is. */
export function renderTable({ faults, total }: ReturnType<typeof summarize>): string {
  const none = '';
  const table = new Table({
    head: HEAD,
    colAligns: ['left', ...HEAD.slice(1).map(() => 'right' as const)],
    style: { head: [], border: [] },
    chars: {
      ...{ top: none, 'top-mid': none, 'top-left': none, 'top-right': none },
      ...{ bottom: none, 'bottom-mid': none, 'bottom-left': none, 'bottom-right': none },
      ...{ mid: none, 'left-mid': none, 'mid-mid': none, 'right-mid': none },
      ...{ left: '|', right: '|', middle: '|' },
    },
  });
  for (const summary of [...faults, total]) {
    const { recoveryMs } = summary;
    table.push([
      ...[summary.fault, summary.rounds, summary.missed, summary.rows],
      ...[summary.lost, summary.doubled, summary.altered],
      ...[summary.falselyComplete, summary.falselyGone, summary.broken],
      ...(recoveryMs ? [`${recoveryMs.median} ms`, `${recoveryMs.longest} ms`] : ['', '']),
    ]);
  }
  const [head, ...rows] = table.toString().split('\n');
  const rule = head!
    .split('|')
    .slice(1, -1)
    .map((cell, column) => (column === 0 ? '-'.repeat(cell.length) : `${'-'.repeat(cell.length - 1)}:`));
  return [head, `|${rule.join('|')}|`, ...rows].join('\n');
}
