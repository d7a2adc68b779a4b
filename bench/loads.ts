/** Those who fill the table, and the limits they are held against. Each checks that every row is there. */
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Database } from './database.ts';
import { type Measured, measureScript, measureWorker, type Parties } from './measure.ts';
import type { Scene } from './scene.ts';
import type { SimulatorProcess } from './simulator.ts';

export interface Load extends Measured {
  rows: number;
  /** Of the work itself, as its process measured it: without the start of Node.js. */
  seconds: number;
}

/** Of each contestant, by name, in the order of the rounds. */
export type Loads = Record<string, Load[]>;

interface Worked {
  rows: number;
  seconds: number;
}

export const FORMATS = ['text', 'binary'] as const;
export type Format = (typeof FORMATS)[number];

interface Stored extends Parties {
  simulator: SimulatorProcess;
  database: Database;
}

/** The worker's backfill. */
export async function backfill(scene: Scene, parties: Stored, args: readonly string[] = []): Promise<Load> {
  const measured = await measureWorker(scene, ['backfill', ...args], parties);
  const { counters, durationMs } = measured.output as { counters: { rowsRead: number }; durationMs: number };
  const { length } = await parties.simulator.look();
  if (counters.rowsRead !== length)
    throw new Error(`the backfill read ${counters.rowsRead} of ${length} rows`);
  await assertStored(parties.database, length);
  return { ...measured, rows: length, seconds: durationMs / 1000 };
}

/** A plain program: page after page, one statement a row. Loads the first `events` rows. */
export async function loadNaively(scene: Scene, parties: Stored, events: number): Promise<Load> {
  const measured = await measureScript(scene, scriptOf('naive'), [String(events)], parties);
  await assertStored(parties.database, events);
  return { ...measured, ...(measured.output as Worked) };
}

/** Limit 1: `COPY` of the rows that a backfill of the scene's source stores, from memory, into the same table. */
export async function copyRows(scene: Scene, database: Database, format: Format): Promise<Load> {
  const { files, columns, months } = await storedRows(scene);
  await database.query('select audit.create_event_months($1::date[])', [months]);
  const args = [files[format], format, columns];
  const measured = await measureScript(scene, scriptOf('copy-rows'), args, { database });
  await assertStored(database, scene.options.events);
  return { ...measured, ...(measured.output as Worked) };
}

/** Limit 2: the pages of the source, as many at once as the worker asks for, fetched, parsed and forgotten. */
export async function fetchPages(scene: Scene, simulator: SimulatorProcess): Promise<Load> {
  const measured = await measureScript(scene, scriptOf('fetch-pages'), [], { simulator });
  const worked = measured.output as Worked;
  const { length } = await simulator.look();
  if (worked.rows !== length) throw new Error(`limit 2 read ${worked.rows} of ${length} rows`);
  return { ...measured, ...worked };
}

/** A plain pipeline: the pages of the source through `COPY` in text format into a table without key, index and trigger. */
export async function copyKeyless(scene: Scene, parties: Stored): Promise<Load> {
  const measured = await measureScript(scene, scriptOf('copy-keyless'), [], parties);
  const worked = measured.output as Worked;
  const { length } = await parties.simulator.look();
  if (worked.rows !== length) throw new Error(`the keyless copy stored ${worked.rows} of ${length} rows`);
  return { ...measured, ...worked };
}

export function rates(loads: readonly Load[]): number[] {
  return loads.map(({ rows, seconds }) => rows / seconds);
}

export function peakMegabytes({ client }: Load): number {
  return client.peakBytes / 1e6;
}

async function countEvents({ query }: Database): Promise<number> {
  const [row] = await query<{ count: number }>('select count(*)::int as count from audit.events');
  return row!.count;
}

export async function assertStored(database: Database, expected: number): Promise<void> {
  const found = await countEvents(database);
  if (found !== expected) throw new Error(`${found} rows are stored of the ${expected} the source shows`);
}

/** The rows a backfill stores, in the order it stored them, as `COPY` writes them. */
function storedRows(
  scene: Scene,
): Promise<{ files: Record<Format, string>; columns: string; months: string[] }> {
  return scene.once('stored rows', () =>
    scene.withDatabase(async (database) => {
      scene.report('taking the rows for limit 1 out of a backfill');
      await backfill(scene, { simulator: await scene.source(), database });
      const [row] = await database.query<{ columns: string }>(
        `select string_agg(quote_ident(attname), ', ' order by attnum) as columns from pg_attribute
         where attrelid = 'audit.events'::regclass and attnum > 0 and not attisdropped and attgenerated = ''`,
      );
      const columns = row!.columns;
      const found = await database.query<{ month: string }>(
        `select distinct date_trunc('month', created_on at time zone 'UTC')::date::text as month from audit.events`,
      );
      const files = {} as Record<Format, string>;
      for (const format of FORMATS) {
        files[format] = join(scene.directory, `rows.${format}`);
        await copyOut(
          database.url,
          `copy (select ${columns} from audit.events order by created_on) to stdout (format ${format})`,
          files[format],
        );
      }
      return { files, columns, months: found.map(({ month }) => month) };
    }),
  );
}

async function copyOut(url: string, statement: string, file: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await pipeline(client.query(copyTo(statement)), createWriteStream(file));
  } finally {
    await client.end();
  }
}

function scriptOf(contestant: string): string {
  return fileURLToPath(new URL(`./contestants/${contestant}.js`, import.meta.url));
}
