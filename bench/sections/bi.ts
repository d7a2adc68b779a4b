/** The questions of docs/bi.md, asked by a reader of years of events; and the room that events take. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Question, readQuestions } from '../../test/support/questions.ts';
import type { Database } from '../database.ts';
import { loadOrganization } from '../load-organization.ts';
import { formatBytes, formatNumber, formatSpread, type Target, type View } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { type Spread, spreadOf } from '../statistics.ts';

const WANTED_MS = { dashboard: 50, 'drill-down': 300 };
const TIMES_ASKED = { full: 15, short: 1 };
const READER = 'audit_reader';

interface Answered extends Question {
  milliseconds: Spread;
  /** Of the server, each time; `undefined` where it is not on this machine. */
  cpuMilliseconds: number | undefined;
  rows: number;
}

export const biSection: Section = {
  name: 'bi',
  measure: (scene) =>
    scene.withDatabase(async (database) => {
      const loaded = await loadOrganization(database.url, scene.options.biEvents);
      scene.report(`${formatNumber(loaded.rows)} events stored in ${loaded.seconds.toFixed(1)} s`);
      // As autovacuum leaves the tables some minutes after a load.
      await database.query('vacuum analyze');
      await database.checkpoint();
      const answered = await askAll(scene, database);
      const sizes = await readSizes(database);
      return {
        views: [viewOfAnswers(answered), viewOfSizes(sizes, loaded.rows)],
        targets: targetsOf(answered),
        notes: [
          `The plans are in ${plansFile(scene)}. Times are of the query and its rows, as its client sees them.`,
        ],
        figures: { loaded, answered, sizes },
      };
    }),
};

/** Each some times as people ask it, then once for its plan. */
async function askAll(scene: Scene, { query }: Database): Promise<Answered[]> {
  const answered: Answered[] = [];
  const plans: string[] = [];
  await query(`set role ${READER}`);
  for (const question of readQuestions()) {
    // Fills the caches.
    const rows = (await query(question.sql)).length;
    const milliseconds: number[] = [];
    const cpuBefore = await scene.server.cpuSeconds();
    for (let time = 0; time < TIMES_ASKED[scene.options.isShort ? 'short' : 'full']; time++) {
      const startedAt = performance.now();
      await query(question.sql);
      milliseconds.push(performance.now() - startedAt);
    }
    const cpuAfter = await scene.server.cpuSeconds();
    const cpuMilliseconds =
      cpuBefore === undefined || cpuAfter === undefined
        ? undefined
        : (1000 * (cpuAfter - cpuBefore)) / milliseconds.length;
    answered.push({ ...question, milliseconds: spreadOf(milliseconds), cpuMilliseconds, rows });
    const plan = await query<{ 'QUERY PLAN': string }>(`explain (analyze, buffers) ${question.sql}`);
    plans.push(`${question.title}\n\n${plan.map((line) => line['QUERY PLAN']).join('\n')}\n`);
  }
  await query('reset role');
  await mkdir(dirname(plansFile(scene)), { recursive: true });
  await writeFile(plansFile(scene), plans.join('\n'));
  return answered;
}

function plansFile({ options }: Scene): string {
  return join(dirname(options.json), 'bi-plans.txt');
}

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
    `select relname as name, reltuples as rows, pg_table_size(oid) as table_bytes, pg_indexes_size(oid) as index_bytes
     from pg_class where relnamespace = 'audit'::regnamespace and relkind = 'r' and reltuples > 0
     order by pg_total_relation_size(oid) desc`,
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
