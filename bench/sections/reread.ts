/** A stored range read again, in which nothing changed: it should cost the source's reading and little else. */
import type { Database } from '../database.ts';
import { reportLoad } from '../limits.ts';
import { backfill, type Load, rates } from '../loads.ts';
import { formatBytes, formatNumber, formatSpread, type View } from '../present.ts';
import { playRounds } from '../rounds.ts';
import { roundsOf } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf, spreadOf } from '../statistics.ts';

const WANTED_RATIO = 2;

interface Tuples {
  /** Of audit.events, since the database was made. */
  updated: number;
  dead: number;
}

interface Pair {
  first: Load;
  again: Load;
  tuples: Tuples;
}

export const rereadSection: Section = {
  name: 'reread',
  async measure(scene) {
    const report = reportLoad(scene);
    const simulator = await scene.source();
    const play = () =>
      scene.withDatabase(async (database): Promise<Pair> => {
        const first = await backfill(scene, { simulator, database });
        await database.checkpoint();
        const again = await backfill(scene, { simulator, database }, ['--restart']);
        return { first, again, tuples: await readTuples(database) };
      });
    const played = await playRounds([{ name: 'both', play }], {
      ...roundsOf(scene),
      onPlayed(_name, round, { first, again }) {
        report('first load', round, first);
        report('re-read', round, again);
      },
    });
    const pairs = played.both!;
    const ratio = ratioOf(rates(pairs.map(({ again }) => again)), rates(pairs.map(({ first }) => first)));
    const dead = Math.max(...pairs.map(({ tuples }) => tuples.dead));
    const updated = Math.max(...pairs.map(({ tuples }) => tuples.updated));
    return {
      views: [viewOf(pairs)],
      targets: [
        {
          what: 're-read / first load',
          wanted: `at least ${WANTED_RATIO}`,
          found: formatSpread(ratio, 2),
          isMet: ratio.median >= WANTED_RATIO,
        },
        {
          what: 're-read, dead and updated tuples',
          wanted: '0',
          found: `${dead} and ${updated}`,
          isMet: dead + updated === 0,
        },
      ],
      notes: ['Log (WAL) is of the whole server while the worker ran; tuples are of audit.events.'],
      figures: { pairs, ratio },
    };
  },
};

/** The worker's own sessions have told the statistics by now: they tell them when they end. */
async function readTuples({ query }: Database): Promise<Tuples> {
  const [row] = await query<{ updated: string; dead: string }>(
    `select sum(n_tup_upd) as updated, sum(n_dead_tup) as dead from pg_stat_user_tables
     where relid in (select relid from pg_partition_tree('audit.events'))`,
  );
  return { updated: Number(row!.updated), dead: Number(row!.dead) };
}

function viewOf(pairs: readonly Pair[]): View {
  const rowOf = (name: string, loads: readonly Load[], tuples: Tuples[] | undefined) => [
    name,
    formatSpread(spreadOf(rates(loads))),
    formatBytes(spreadOf(loads.map(({ walBytes }) => walBytes!)).median),
    formatNumber(spreadOf(loads.map(({ walBytes, rows }) => walBytes! / rows)).median, 1),
    tuples && formatNumber(Math.max(...tuples.map(({ updated }) => updated))),
    tuples && formatNumber(Math.max(...tuples.map(({ dead }) => dead))),
  ];
  return {
    title: `Re-read of ${formatNumber(pairs[0]!.first.rows)} stored events, nothing changed`,
    head: ['', 'rows/s', 'log written', 'bytes of log a row', 'tuples updated', 'dead'],
    rows: [
      rowOf(
        'first load',
        pairs.map(({ first }) => first),
        undefined,
      ),
      rowOf(
        're-read',
        pairs.map(({ again }) => again),
        pairs.map(({ tuples }) => tuples),
      ),
    ],
  };
}
