/** The questions of docs/bi.md, asked by a reader of years of events; and the room that events take. */
import { type Question, readQuestions } from '../../test/support/questions.ts';
import type { Database } from '../database.ts';
import { formatBytes, formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Section } from '../section.ts';
import { READER, type Timed, timeQueries, years } from '../years.ts';

const WANTED_MS = { dashboard: 50, 'drill-down': 300 };

type Answered = Question & Timed;

export const biSection: Section = {
  name: 'bi',
  async measure(scene) {
    const { database, loaded } = await years(scene);
    const { timed, plansFile } = await timeQueries(scene, database, {
      queries: readQuestions(),
      plansName: 'bi-plans.txt',
    });
    const sizes = await readSizes(database);
    return {
      views: [viewOfAnswers(timed), viewOfSizes(sizes, loaded.rows)],
      targets: targetsOf(timed),
      notes: [`The plans are in ${plansFile}. Times are of the query and its rows, as its client sees them.`],
      figures: { loaded, answered: timed, sizes },
    };
  },
};

function viewOfAnswers(answered: readonly Answered[]): View {
  return {
    title: `The questions of docs/bi.md, asked by ${READER}`,
    head: ['', 'ms', 'wanted', 'CPU ms', 'rows'],
    rows: answered.map(({ title, kind, milliseconds, cpuMilliseconds, rows }) => [
      title,
      formatSpread(milliseconds, 1),
      `under ${WANTED_MS[kind]}`,
      cpuMilliseconds === undefined ? undefined : formatNumber(cpuMilliseconds, 1),
      formatNumber(rows),
    ]),
  };
}

function targetsOf(answered: readonly Answered[]): Target[] {
  return Object.entries(WANTED_MS).map(([kind, wanted]) => {
    const medians = answered
      .filter((one) => one.kind === kind)
      .map(({ milliseconds }) => milliseconds.median);
    const slow = medians.filter((median) => median >= wanted).length;
    return {
      what: `${kind} queries of docs/bi.md`,
      wanted: `under ${wanted} ms`,
      found: `${formatNumber(Math.max(...medians), 1)} ms at most; ${slow} of ${medians.length} slower`,
      isMet: slow === 0,
    };
  });
}

interface Size {
  name: string;
  rows: number;
  tableBytes: number;
  indexBytes: number;
}

async function readSizes({ query }: Database): Promise<Size[]> {
  const rows = await query<{ name: string; rows: string; table_bytes: string; index_bytes: string }>(
    `select table_name::regclass::text as name, sum(greatest(reltuples, 0)) as rows, sum(pg_table_size(oid)) as table_bytes,
       sum(pg_indexes_size(oid)) as index_bytes
     from pg_class cross join lateral (select coalesce(pg_partition_root(oid), oid) as table_name) root
     where relnamespace = 'audit'::regnamespace and relkind = 'r'
     group by table_name having sum(greatest(reltuples, 0)) > 0 order by sum(pg_total_relation_size(oid)) desc`,
  );
  return rows.map((row) => ({
    name: row.name,
    rows: Number(row.rows),
    tableBytes: Number(row.table_bytes),
    indexBytes: Number(row.index_bytes),
  }));
}

function viewOfSizes(sizes: readonly Size[], events: number): View {
  const sum = (what: 'tableBytes' | 'indexBytes') => sizes.reduce((total, size) => total + size[what], 0);
  const all = { name: 'all', rows: Number.NaN, tableBytes: sum('tableBytes'), indexBytes: sum('indexBytes') };
  return {
    title: `Room for ${formatNumber(events)} events`,
    head: ['', 'rows', 'table', 'indexes', 'bytes an event'],
    rows: [...sizes, all].map(({ name, rows, tableBytes, indexBytes }) => [
      name,
      Number.isNaN(rows) ? undefined : formatNumber(rows),
      formatBytes(tableBytes),
      formatBytes(indexBytes),
      formatNumber((tableBytes + indexBytes) / events, 1),
    ]),
  };
}
