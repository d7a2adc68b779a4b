/** `audit.events` in partitions by month against one table: load, quiet run, size, drop of a month; and the move of an existing database. */
import pg from 'pg';
import { applyMigrations, migrationsBefore } from '../../test/support/migrations.ts';
import type { Database } from '../database.ts';
import { loadOrganization } from '../load-organization.ts';
import { backfill, type Load } from '../loads.ts';
import { measureWorker } from '../measure.ts';
import { formatNumber, formatSpread } from '../present.ts';
import { playRounds } from '../rounds.ts';
import { MAIN, roundsOf, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';
import { ratioOf } from '../statistics.ts';

const ONE = 'one table';
const MONTHS = 'partitions';
const QUIET_RUNS = 8;

interface Measured extends Load {
  bytesPerEvent: number;
  quietCpuSeconds: number;
  quietSeconds: number;
}

export const partitionsSection: Section = {
  name: 'partitions',
  async measure(scene) {
    const played = await playRounds(
      [
        {
          name: ONE,
          play: () =>
            scene.withEmptyDatabase((database) => unpartition(database).then(() => load(scene, database))),
        },
        { name: MONTHS, play: () => scene.withDatabase((database) => load(scene, database)) },
      ],
      roundsOf(scene),
    );
    const ratio = (figureOf: (each: Measured) => number) =>
      formatSpread(ratioOf(played[MONTHS]!.map(figureOf), played[ONE]!.map(figureOf)), 2);
    const moved = await scene.withEmptyDatabase((database) => measureMove(scene, database));
    return {
      views: [
        {
          title: `Partitions against one table, ${formatNumber(scene.options.events)} events`,
          head: ['', 'ratio'],
          rows: [
            ['seconds of a load', ratio(({ seconds }) => seconds)],
            [
              'CPU seconds of the database',
              ratio(({ databaseCpuSeconds }) => databaseCpuSeconds ?? Number.NaN),
            ],
            ['bytes an event', ratio(({ bytesPerEvent }) => bytesPerEvent)],
            ['seconds of a quiet run', ratio(({ quietSeconds }) => quietSeconds)],
            ['CPU seconds of the database in a quiet run', ratio(({ quietCpuSeconds }) => quietCpuSeconds)],
          ],
        },
        {
          title: `The move of ${formatNumber(moved.rows)} events into partitions, and a month of them`,
          head: ['', 'seconds'],
          rows: [
            ['migrate in all', formatNumber(moved.seconds, 1)],
            ['longest wait of a query on bi.export_health meanwhile', formatNumber(moved.longestRead, 2)],
            ['longest wait of an update meanwhile', formatNumber(moved.longestWrite, 2)],
            ['a month deleted by `delete`', formatNumber(moved.deleteSeconds, 3)],
            ['a month dropped', formatNumber(moved.dropSeconds, 3)],
          ],
        },
      ],
      targets: [],
      notes: ['One table is that of the version before with the indexes of this one.'],
      figures: { played, moved },
    };
  },
};

/** The tables before partitions. A row keeps the migration from changing the table; without its functions no move is pending. */
async function unpartition(database: Database): Promise<void> {
  await leaveInOneTable(database);
  // The indexes of the partitions, so that only the partitions differ.
  await database.query('select audit.begin_events_by_month()');
  const indexes = await database.query<{ definition: string }>(
    `select pg_get_indexdef(indexrelid) as definition from pg_index
     where indrelid = 'audit.events_by_month'::regclass and not indisprimary`,
  );
  await database.query('drop table audit.events_by_month, audit.events_to_copy');
  await database.query('drop function audit.note_event_to_copy cascade');
  for (const { definition } of indexes) {
    await database.query(
      definition
        .replace('CREATE INDEX moved_', 'CREATE INDEX IF NOT EXISTS ')
        .replace('ON ONLY audit.events_by_month', 'ON audit.events'),
    );
  }
  await database.query('drop function audit.begin_events_by_month()');
}

async function leaveInOneTable(database: Database): Promise<void> {
  await applyMigrations(database.url, migrationsBefore('0018_partitions').length);
  await database.query(`insert into audit.events (organization, created_on, event_id, created_on_ticks, created_on_raw, ordinal, run_id, batch)
    values ('none', '2026-01-01', gen_random_uuid(), 0, '', 0, 0, 0)`);
  await applyMigrations(database.url, 1);
  await database.query('delete from audit.events');
}

async function load(scene: Scene, database: Database): Promise<Measured> {
  const simulator = await scene.source();
  const loaded = await backfill(scene, { simulator, database });
  await database.query('vacuum analyze');
  const [size] = await database.query<{ bytes: number }>(
    // One of the two terms is null or 0.
    `select pg_total_relation_size('audit.events')
       + coalesce((select sum(pg_total_relation_size(relid)) from pg_partition_tree('audit.events')), 0)::float8 as bytes`,
  );
  let quietSeconds = 0;
  let quietCpuSeconds = 0;
  for (let i = 0; i < QUIET_RUNS; i++) {
    const { output, databaseCpuSeconds } = await measureWorker(scene, ['run'], { simulator, database });
    quietSeconds += (output as { durationMs: number }).durationMs / 1000;
    quietCpuSeconds += databaseCpuSeconds ?? Number.NaN;
  }
  return { ...loaded, bytesPerEvent: size!.bytes / loaded.rows, quietSeconds, quietCpuSeconds };
}

async function measureMove(scene: Scene, database: Database) {
  await leaveInOneTable(database);
  const { rows } = await loadOrganization(database.url, scene.options.biEvents);
  scene.report(`${formatNumber(rows)} events stored in one table`);
  await database.query('vacuum analyze');
  await database.checkpoint();
  let isDone = false;
  const longest = async (statement: string) => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    let seconds = 0;
    while (!isDone) {
      const startedAt = performance.now();
      await client.query(statement);
      seconds = Math.max(seconds, (performance.now() - startedAt) / 1000);
    }
    await client.end();
    return seconds;
  };
  const reading = longest('select last_run_at, gaps from bi.export_health');
  const writing =
    longest(`update audit.events set message = message where organization = 'acme' and log = 'classic'
    and created_on = (select min(created_on) from audit.events where organization = 'acme' and created_on >= '2025-06-01')`);
  const startedAt = performance.now();
  const { code, stderr } = await (await scene.start(MAIN, ['migrate'], { DATABASE_URL: database.url })).ended;
  const seconds = (performance.now() - startedAt) / 1000;
  isDone = true;
  if (code !== 0) throw new Error(`migrate ended with ${code}:\n${stderr}`);
  const [longestRead, longestWrite] = await Promise.all([reading, writing]);
  return {
    ...{ rows, seconds, longestRead, longestWrite },
    deleteSeconds: await timed(
      database,
      `delete from audit.events where created_on >= '2025-03-01' and created_on < '2025-04-01'`,
    ),
    dropSeconds: await timed(database, 'drop table audit.events_2025_04'),
  };
}

async function timed(database: Database, statement: string): Promise<number> {
  const startedAt = performance.now();
  await database.query(statement);
  return (performance.now() - startedAt) / 1000;
}
