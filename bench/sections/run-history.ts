/** What a million rows of audit.runs cost a run and `status`, without and with the indexes of migration 0016, and what removing them takes. */
import type { Pool } from '../../src/postgres/connection/pool.ts';
import { createPool } from '../../src/postgres/connection/pool.ts';
import { readStatus } from '../../src/postgres/read/status.ts';
import { readUnfinishedBackfill } from '../../src/postgres/read/unfinished-backfill.ts';
import { pruneRuns } from '../../src/postgres/write/prune-runs.ts';
import { openSession } from '../../src/postgres/write/store.ts';
import type { Database } from '../database.ts';
import { formatNumber } from '../present.ts';
import type { Section } from '../section.ts';

const RUNS = { full: 1_000_000, short: 20_000 };
const ORGANIZATIONS = 10;
const TIMES = 5;
const DAY_MS = 86_400_000;
const KEY = { organization: 'org3', log: 'classic' };
const INDEXES = ['runs_open', 'runs_succeeded', 'runs_backfills'];

/** The statement of `status` until version 0.2. */
const LAST_SUCCESS_BEFORE = `select max(ended_at) from audit.runs
  where organization = 'org3' and log = 'classic' and outcome = 'succeeded'`;
const LAST_SUCCESS = `select ended_at from audit.runs
  where organization = 'org3' and log = 'classic' and outcome = 'succeeded' order by started_at desc limit 1`;

export const runHistorySection: Section = {
  name: 'run-history',
  measure: (scene) =>
    scene.withDatabase(async (database) => {
      const runs = RUNS[scene.options.isShort ? 'short' : 'full'];
      await fill(database, runs);
      scene.report(`${formatNumber(runs)} runs of ${ORGANIZATIONS} organizations`);
      const pool = createPool(database.url, () => {});
      try {
        const after = await measureAll(pool, LAST_SUCCESS);
        const definitions = await database.query<{ indexdef: string }>(
          `select indexdef from pg_indexes where indexname = any ($1)`,
          [INDEXES],
        );
        for (const name of INDEXES) await database.query(`drop index audit.${name}`);
        const before = await measureAll(pool, LAST_SUCCESS_BEFORE);
        for (const { indexdef } of definitions) await database.query(indexdef);
        const pruned = await timed(() => pruneRuns(pool, KEY, 100 * DAY_MS), 1);
        const idle = await timed(() => pruneRuns(pool, KEY, 100 * DAY_MS));
        const row = (name: keyof typeof after, label: string) => [
          label,
          formatNumber(before[name], 1),
          formatNumber(after[name], 1),
        ];
        return {
          views: [
            {
              title: `${formatNumber(runs)} runs of ${ORGANIZATIONS} organizations, in milliseconds`,
              head: ['', 'without the indexes', 'with them'],
              rows: [
                row('begin', 'begin a run'),
                row('lastSuccess', 'last success of one log, in status'),
                row('backfill', 'search for a backfill to resume'),
                row('status', 'status of all logs'),
                ['remove the old runs of one log, once', undefined, formatNumber(pruned, 1)],
                ['the same with nothing to remove', undefined, formatNumber(idle, 1)],
              ],
            },
          ],
          targets: [],
          notes: [
            `The median of ${TIMES}. "Last success" without the indexes is the statement of version 0.2.`,
          ],
          figures: { runs, before, after, pruned, idle },
        };
      } finally {
        await pool.end();
      }
    }),
};

async function fill(database: Database, runs: number): Promise<void> {
  await database.query(
    `insert into audit.watermarks (organization, log) select 'org' || n, 'classic' from generate_series(1, $1::int) n`,
    [ORGANIZATIONS],
  );
  await database.query(
    `insert into audit.runs (organization, log, kind, started_at, ended_at, outcome, requests, rows_read)
     select 'org' || (n % $2 + 1), 'classic', case when n % 2880 < 10 then 'recheck' else 'run' end, at, at + interval '2 s',
       case when n % 997 = 0 then 'failed' else 'succeeded' end, 2, 1000
     from generate_series(1, $1::int) n, lateral (select now() - ($1::int - n) / $2 * interval '5 min' as at) t`,
    [runs, ORGANIZATIONS],
  );
  await database.query('vacuum analyze audit.runs');
}

async function measureAll(pool: Pool, lastSuccess: string) {
  return {
    begin: await timed(() => beginAndEnd(pool)),
    lastSuccess: await timed(() => pool.query(lastSuccess)),
    backfill: await timed(() => readUnfinishedBackfill(pool, KEY, { from: undefined, to: undefined })),
    status: await timed(() => readStatus(pool)),
  };
}

async function beginAndEnd(pool: Pool): Promise<void> {
  const session = await openSession(pool, { ...KEY, kind: 'run' });
  await session.release();
}

/** The median, in milliseconds. */
async function timed(work: () => Promise<unknown>, times = TIMES): Promise<number> {
  const all: number[] = [];
  for (let time = 0; time < times; time++) {
    const startedAt = performance.now();
    await work();
    all.push(performance.now() - startedAt);
  }
  return all.sort((a, b) => a - b)[Math.floor(times / 2)]!;
}
