/** What it costs to change or delete rows: the roll-ups follow. Runs last, because it changes the years of events. */
import type { Database } from '../database.ts';
import { formatNumber } from '../present.ts';
import type { Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { years } from '../years.ts';

const OF = `organization = 'acme' and log = 'classic'`;
/** The name of a user who logs in on most days. */
const BUSIEST = `(select user_name from audit.user_totals where ${OF} order by events desc limit 1)`;

const CHANGES: readonly { what: string; sql: string }[] = [
  {
    what: 'A re-read of the last two days renames a user',
    sql: `update audit.events set user_name = 'Renamed' where ${OF} and created_on >= '2026-12-30' and user_name = ${BUSIEST}`,
  },
  {
    what: 'One page of old events (1,000 rows) has another name in each row',
    sql: `update audit.events e set user_name = user_name || ' ' from (
            select created_on, event_id from audit.events where ${OF} and created_on >= '2025-03-04' order by created_on, event_id limit 1000
          ) page where e.organization = 'acme' and e.log = 'classic' and (e.created_on, e.event_id) = (page.created_on, page.event_id)`,
  },
  {
    what: 'A user is pseudonymised, over all years',
    sql: `update audit.events set user_name = 'user-1', email = '' where left(user_name, 500) = left(${BUSIEST}, 500) and ${OF} and superseded_by is null`,
  },
  {
    what: 'One page of old events is superseded',
    sql: `update audit.events e set superseded_by = e.event_id from (
            select created_on, event_id from audit.events where ${OF} and created_on >= '2025-05-06' order by created_on, event_id limit 1000
          ) page where e.organization = 'acme' and e.log = 'classic' and (e.created_on, e.event_id) = (page.created_on, page.event_id)`,
  },
  {
    what: 'One event is deleted',
    sql: `delete from audit.events where (organization, created_on, event_id) = (
            select organization, created_on, event_id from audit.events where ${OF} and created_on >= '2025-07-08' order by created_on limit 1)`,
  },
  { what: 'A month in the middle is deleted', sql: deleteMonth('2025-09') },
  { what: 'The first month is deleted', sql: deleteMonth('2024-01') },
];

function deleteMonth(month: string): string {
  const from = `timestamptz '${month}-01 00:00Z'`;
  return `delete from audit.events where ${OF} and created_on >= ${from} and created_on < ${from} + interval '1 month'`;
}

interface Changed {
  what: string;
  rows: number;
  milliseconds: number;
  cpuMilliseconds: number | undefined;
  /** Rows of audit.events and daily_activity that were read, for each row that was changed. */
  readPerRow: number;
}

export const changesSection: Section = {
  name: 'changes',
  async measure(scene) {
    const { database } = await years(scene);
    const changed: Changed[] = [];
    for (const change of CHANGES) changed.push(await play(scene, database, change));
    return {
      views: [
        {
          title: `Changes by hand or by a re-read, of ${formatNumber(scene.options.biEvents)} events`,
          head: ['', 'rows', 'ms', 'CPU ms', 'rows read for each'],
          rows: changed.map(({ what, rows, milliseconds, cpuMilliseconds, readPerRow }) => [
            what,
            formatNumber(rows),
            formatNumber(milliseconds),
            cpuMilliseconds === undefined ? undefined : formatNumber(cpuMilliseconds),
            formatNumber(readPerRow, 1),
          ]),
        },
      ],
      targets: [],
      notes: ['Each statement runs once, with its triggers, in the session of an owner.'],
      figures: { changed },
    };
  },
};

async function play(
  scene: Scene,
  { query, checkpoint }: Database,
  { what, sql }: (typeof CHANGES)[number],
): Promise<Changed> {
  await checkpoint();
  await query('begin');
  await query('set local jit = off');
  const readBefore = await rowsRead(query);
  const cpuBefore = await scene.server.cpuSeconds();
  const startedAt = performance.now();
  const [row] = await query<{ rows: number }>(
    `with changed as (${sql} returning 1) select count(*)::int as rows from changed`,
  );
  const milliseconds = performance.now() - startedAt;
  const cpuAfter = await scene.server.cpuSeconds();
  const read = (await rowsRead(query)) - readBefore;
  await query('commit');
  const rows = row!.rows;
  scene.report(`${what}: ${milliseconds.toFixed(0)} ms`);
  return {
    ...{ what, rows, milliseconds, readPerRow: read / Math.max(rows, 1) },
    cpuMilliseconds:
      cpuBefore === undefined || cpuAfter === undefined ? undefined : 1000 * (cpuAfter - cpuBefore),
  };
}

async function rowsRead(query: Database['query']): Promise<number> {
  const [row] = await query<{ read: string }>(
    `select coalesce(sum(seq_tup_read + idx_tup_fetch), 0) as read from pg_stat_xact_user_tables
     where relid = 'audit.daily_activity'::regclass or relid in (select relid from pg_partition_tree('audit.events'))`,
  );
  return Number(row!.read);
}
