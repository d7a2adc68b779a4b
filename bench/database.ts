/** A real PostgreSQL, and databases of it that begin alike: each is a copy of one that was migrated once. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { acquireEmbeddedPostgres } from '../src/embedded-postgres/embedded-postgres.ts';
import { cpuSecondsOfFamily, parentOf } from './processes.ts';

/** Those that decide about the speed of writing, or about what a commit is worth. */
const SETTINGS = [
  'shared_buffers',
  'fsync',
  'synchronous_commit',
  'wal_level',
  'full_page_writes',
  'max_wal_size',
];
const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

export interface Server {
  version: string;
  isEmbedded: boolean;
  settings: Record<string, string>;
  /** A copy of the template, with everything before it written to disk. */
  createDatabase(): Promise<Database>;
  /** One without tables. */
  createEmptyDatabase(): Promise<Database>;
  /** What all of the server has used of the processors; `undefined` where it is not on this machine. */
  cpuSeconds(): Promise<number | undefined>;
  close(): Promise<void>;
}

export interface Database {
  /** Connects as who made it. Holds the password. */
  url: string;
  query<Row extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Writes everything to disk, so that what is measured next begins with nothing to do. */
  checkpoint(): Promise<void>;
  /** Bytes of log the whole server has written. */
  walBytes(): Promise<number>;
  drop(): Promise<void>;
}

/** `given` is the address of a server, or the embedded one runs in `directory`. `migrate` makes the tables. */
export async function openServer(options: {
  given: string | undefined;
  directory: string;
  /** More settings for the embedded one. */
  settings: Record<string, string>;
  migrate: (url: string) => Promise<void>;
}): Promise<Server> {
  const { given, directory, settings } = options;
  const embedded =
    given === undefined ? await acquireEmbeddedPostgres({ directory, port: 0, settings }) : undefined;
  const url = given ?? embedded!.connectionString;
  const admin = await connect(url).catch(async (error) => {
    await embedded?.release();
    throw error;
  });
  const prefix = `audit_bench_${process.pid}_${Date.now().toString(36)}`;
  const template = `${prefix}_template`;
  const made = new Set<string>();
  const create = async (name: string, from: string) => {
    await admin.query(`create database ${name} encoding 'UTF8' template ${from}`);
    made.add(name);
    return withDatabase(url, name);
  };
  const drop = async (name: string) => {
    await admin.query(`drop database if exists ${name} with (force)`);
    made.delete(name);
  };
  const close = async () => {
    for (const name of made) await drop(name);
    await admin.end();
    await embedded?.release();
  };
  let number = 0;
  const createFrom = async (from: string) => {
    const name = `${prefix}_${++number}`;
    const database = await openDatabase(await create(name, from), () => drop(name));
    await database.checkpoint();
    return database;
  };
  try {
    await options.migrate(await create(template, 'template0'));
    const postmaster = await findPostmaster(admin, url);
    return {
      version: (await admin.query('show server_version')).rows[0].server_version,
      isEmbedded: embedded !== undefined,
      settings: await readSettings(admin),
      createDatabase: () => createFrom(template),
      createEmptyDatabase: () => createFrom('template0'),
      cpuSeconds: async () => (postmaster === undefined ? undefined : cpuSecondsOfFamily(postmaster)),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openDatabase(url: string, drop: () => Promise<void>): Promise<Database> {
  const client = await connect(url);
  const query: Database['query'] = async (text, values) => (await client.query(text, values)).rows;
  return {
    url,
    query,
    async checkpoint() {
      // Not everybody may; then the server does it when it likes.
      await client.query('checkpoint').catch((error) => {
        if (error.code !== '42501') throw error;
      });
    },
    async walBytes() {
      const [row] = await query<{ bytes: string }>(
        `select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as bytes`,
      );
      return Number(row!.bytes);
    },
    async drop() {
      await client.end();
      await drop();
    },
  };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'audit bench' });
  // One that breaks fails its next query; unheard, it would end the process.
  client.on('error', () => {});
  await client.connect();
  return client;
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

async function readSettings(client: pg.Client): Promise<Record<string, string>> {
  const { rows } = await client.query(
    'select name, current_setting(name) as value from unnest($1::text[]) as name',
    [SETTINGS],
  );
  return Object.fromEntries(rows.map(({ name, value }) => [name, value]));
}

/** The parent of our own session's process, if that number means a session of PostgreSQL on this machine. */
async function findPostmaster(client: pg.Client, url: string): Promise<number | undefined> {
  if (!LOOPBACK.includes(new URL(url).hostname)) return undefined;
  const { rows } = await client.query('select pg_backend_pid() as pid, current_database() as name');
  const title = await readFile(join('/proc', String(rows[0].pid), 'cmdline'), 'utf8').catch(() => '');
  return title.startsWith('postgres:') && title.includes(rows[0].name) ? parentOf(rows[0].pid) : undefined;
}
