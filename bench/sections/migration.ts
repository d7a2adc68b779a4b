/** How long `migrate` takes in a database of version 0.1 with years of events, and what it locks meanwhile. */
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import { applyMigrations, MIGRATIONS } from '../../test/support/migrations.ts';
import type { Database } from '../database.ts';
import { loadOrganization } from '../load-organization.ts';
import { measureScript } from '../measure.ts';
import { formatBytes, formatNumber } from '../present.ts';
import { MAIN, type Scene } from '../scene.ts';
import type { Section } from '../section.ts';

/** The first migration that is measured: version 0.1.0 has those before it. */
const MEASURED = '0008_lease';
const DEADLOCK = '40P01';
/** How often the applied migrations are counted. */
const POLL_MS = 20;

/** Columns that the old tables require and newer ones do not. */
const REQUIRED: Record<string, string> = { 'audit.coverage proven_at': 'coalesce(proven_at, now())' };

export const migrationSection: Section = {
  name: 'migration',
  measure: (scene) =>
    scene.withDatabase((filled) =>
      scene.withEmptyDatabase(async (old) => {
        const { rows } = await loadOrganization(filled.url, scene.options.biEvents);
        const before = MIGRATIONS.filter((name) => name < MEASURED);
        await applyMigrations(old.url, before.length);
        await copyTables(filled, old);
        scene.report(`${formatNumber(rows)} events stored in a database with ${before.at(-1)}`);
        await old.query('vacuum analyze');
        await old.checkpoint();
        const migrated = await migrate(scene, old);
        const names = `${MIGRATIONS[before.length]} to ${MIGRATIONS.at(-1)}`;
        return {
          views: [
            {
              title: `Migrations ${names}, with the move into partitions, in a database with ${formatNumber(rows)} events`,
              head: ['', 's', 'longest wait of a query, s', 'longest wait of an update, s'],
              rows: [...migrated.steps.map((step) => rowOf(step.name, step)), rowOf('in all', migrated)],
            },
            {
              title: 'Beside that',
              head: ['', ''],
              rows: [
                ['queries and updates that failed as a deadlock', formatNumber(migrated.deadlocks)],
                ['log written (WAL)', formatBytes(migrated.walBytes)],
                ['tables rewritten', migrated.rewritten.join(', ') || 'none'],
              ],
            },
          ],
          targets: [],
          notes: [
            'Meanwhile two connections repeat `select … from bi.export_health` and an update of one row of audit.events.',
          ],
          figures: { rows, names, ...migrated },
        };
      }),
    ),
};

/** One migration, or the move; all in seconds. */
interface Step {
  name: string;
  seconds: number;
  longestQuery: number;
  longestUpdate: number;
}

function rowOf(name: string, step: Omit<Step, 'name'>): string[] {
  return [
    name,
    ...[step.seconds, step.longestQuery, step.longestUpdate].map((seconds) => formatNumber(seconds, 2)),
  ];
}

/** Applies what is pending, while others read and write. */
async function migrate(scene: Scene, old: Database) {
  const files = 'select oid::regclass::text as name, relfilenode::text as file from pg_class where ';
  const ofTables = `${files} relnamespace = 'audit'::regnamespace and relkind = 'r'`;
  const filesBefore = new Map((await old.query(ofTables)).map(({ name, file }) => [name, file]));
  const walBefore = await old.walBytes();
  const [newest] = await old.query<{ organization: string; event_id: string; created_on: string }>(
    'select organization, event_id, created_on::text from audit.events order by created_on desc limit 1',
  );
  const pending = MIGRATIONS.filter((name) => name >= MEASURED);
  const steps = [...pending, 'the move'].map((name) => ({
    name,
    seconds: 0,
    longestQuery: 0,
    longestUpdate: 0,
  }));
  let done = 0;
  let deadlocks = 0;
  let isDone = false;
  const repeat = async (work: (client: pg.Client, step: Step, seconds: () => number) => Promise<void>) => {
    const client = new pg.Client({ connectionString: old.url });
    await client.connect();
    while (!isDone) {
      const startedAt = performance.now();
      await work(client, steps[done]!, () => (performance.now() - startedAt) / 1000).catch((error) => {
        if (error.code !== DEADLOCK) throw error;
        deadlocks++;
      });
    }
    await client.end();
  };
  const others = [
    repeat(async (client, step, seconds) => {
      const { rows } = await client.query<{ done: number }>(
        'select count(*)::int as done from audit.migrations where name >= $1',
        [MEASURED],
      );
      done = rows[0]!.done;
      await setTimeout(POLL_MS);
      step.seconds += seconds();
    }),
    repeat(async (client, step, seconds) => {
      await client
        .query('select last_run_at, gaps from bi.export_health')
        .finally(() => (step.longestQuery = Math.max(step.longestQuery, seconds())));
    }),
    repeat(async (client, step, seconds) => {
      await client
        .query(
          'update audit.events set message = message where organization = $1 and created_on = $2 and event_id = $3',
          [newest!.organization, newest!.created_on, newest!.event_id],
        )
        .finally(() => (step.longestUpdate = Math.max(step.longestUpdate, seconds())));
    }),
  ];
  const startedAt = performance.now();
  await measureScript(scene, MAIN, ['migrate', '--json'], { database: old });
  const seconds = (performance.now() - startedAt) / 1000;
  isDone = true;
  await Promise.all(others);
  const after = await old.query(ofTables);
  const rewritten = after
    .filter(({ name, file }) => filesBefore.has(name) && filesBefore.get(name) !== file)
    .map(({ name }) => String(name));
  return {
    ...{ steps, seconds, deadlocks, rewritten },
    longestQuery: Math.max(...steps.map(({ longestQuery }) => longestQuery)),
    longestUpdate: Math.max(...steps.map(({ longestUpdate }) => longestUpdate)),
    walBytes: (await old.walBytes()) - walBefore,
  };
}

/** All rows of the tables of schema audit, in the columns that both databases have. */
async function copyTables(from: Database, to: Database): Promise<void> {
  const columns = `select attrelid::regclass::text as name, attname from pg_attribute join pg_class c on c.oid = attrelid
    where relnamespace = 'audit'::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> 'migrations' and attnum > 0
      and not attisdropped order by attnum`;
  const known = new Set((await from.query(columns)).map(({ name, attname }) => `${name} ${attname}`));
  const shared = new Map<string, string[]>();
  for (const { name, attname } of await to.query<{ name: string; attname: string }>(columns))
    if (known.has(`${name} ${attname}`)) shared.set(name, [...(shared.get(name) ?? []), attname]);
  const [source, target] = [from, to].map(({ url }) => new pg.Client({ connectionString: url }));
  await source!.connect();
  await target!.connect();
  try {
    // The rows of the roll-ups are copied as well.
    await target!.query('alter table audit.events disable trigger user');
    for (const [name, names] of shared) {
      const list = names.join(', ');
      const values = names.map((column) => REQUIRED[`${name} ${column}`] ?? column).join(', ');
      await pipeline(
        source!.query(copyTo(`copy (select ${values} from ${name}) to stdout (format binary)`)),
        target!.query(copyFrom(`copy ${name} (${list}) from stdin (format binary)`)),
      );
    }
    await target!.query('alter table audit.events enable trigger user');
  } finally {
    await source!.end();
    await target!.end();
  }
}
