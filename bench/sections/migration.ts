/** How long `migrate` takes in a database of version 0.1 with years of events, and what it locks meanwhile. */
import { pipeline } from 'node:stream/promises';
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
              head: ['', ''],
              rows: [
                ['seconds in all', formatNumber(migrated.seconds, 2)],
                ['longest wait of a query meanwhile, in seconds', formatNumber(migrated.longestWait, 2)],
                ['queries that failed as a deadlock', formatNumber(migrated.deadlocks)],
                ['log written (WAL)', formatBytes(migrated.walBytes)],
                ['tables rewritten', migrated.rewritten.join(', ') || 'none'],
              ],
            },
          ],
          targets: [],
          notes: [
            'A query meanwhile is `select … from bi.export_health`, again and again over a second connection.',
          ],
          figures: { rows, names, ...migrated },
        };
      }),
    ),
};

/** Applies what is pending, while somebody else reads. */
async function migrate(scene: Scene, old: Database) {
  const files = 'select oid::regclass::text as name, relfilenode::text as file from pg_class where ';
  const ofTables = `${files} relnamespace = 'audit'::regnamespace and relkind = 'r'`;
  const filesBefore = new Map((await old.query(ofTables)).map(({ name, file }) => [name, file]));
  const walBefore = await old.walBytes();
  let isDone = false;
  let longestWait = 0;
  let deadlocks = 0;
  const reader = new pg.Client({ connectionString: old.url });
  await reader.connect();
  const reading = (async () => {
    while (!isDone) {
      const startedAt = performance.now();
      await reader.query('select last_run_at, gaps from bi.export_health').catch((error) => {
        if (error.code !== DEADLOCK) throw error;
        deadlocks++;
      });
      longestWait = Math.max(longestWait, (performance.now() - startedAt) / 1000);
    }
  })();
  const startedAt = performance.now();
  await measureScript(scene, MAIN, ['migrate', '--json'], { database: old });
  const seconds = (performance.now() - startedAt) / 1000;
  isDone = true;
  await reading;
  await reader.end();
  const after = await old.query(ofTables);
  const rewritten = after
    .filter(({ name, file }) => filesBefore.has(name) && filesBefore.get(name) !== file)
    .map(({ name }) => String(name));
  return { seconds, longestWait, deadlocks, walBytes: (await old.walBytes()) - walBefore, rewritten };
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
