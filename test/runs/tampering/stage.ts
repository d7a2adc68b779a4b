/** A database that was exported to, with three logins of different privileges, and the way back after each attempt. */
import type { KeyObject } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { App } from '../../../src/app.ts';
import type { Tampering } from '../../../src/core/ledger/check.ts';
import type { NotedHead } from '../../../src/core/ledger/tree-check.ts';
import { formatPrivateKey, generatePrivateKey } from '../../../src/core/transparency-log/keys.ts';
import { createPool, type Pool } from '../../../src/postgres/connection/pool.ts';
import type { StateFinding } from '../../../src/postgres/read/state/finding.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { type RunRequest, runExport } from '../../../src/runs/export.ts';
import type { RunSummary } from '../../../src/runs/run.ts';
import { type LedgerReport, verifyLedgers } from '../../../src/runs/verify-ledger.ts';
import { verifyAgainstSource } from '../../../src/runs/verify-source.ts';
import { verifyState } from '../../../src/runs/verify-state.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../../src/simulator/simulator.ts';
import { createApp } from '../../support/bench.ts';
import { createTestDatabase, createTestLogin } from '../../support/database.ts';

export const LOGINS = ['audit_writer', 'owner', 'superuser'] as const;
export type Login = (typeof LOGINS)[number];

/** The organization that is tampered with, and one beside it. */
export const TARGET = { organization: 'acme', log: 'classic' };
export const BYSTANDER = { organization: 'other', log: 'classic' };

export type Counts = Partial<Record<Tampering, number>>;
export type SourceCounts = Partial<Record<'missing' | 'changed' | 'gone', number>>;

export interface Exported {
  simulator: Simulator;
  run(request?: Partial<RunRequest>): Promise<RunSummary>;
}

export interface Stage {
  isSigned: boolean;
  /** The private key of the worker, if it has one. */
  key: KeyObject;
  clients: Record<Login, pg.Client>;
  /** The heads that were noted: the newest, and of some runs before. */
  noted: { newest: NotedHead; earlier: NotedHead };
  /** What verify says of all logs. */
  verify(expected?: NotedHead): Promise<{ counts: Counts; reports: LedgerReport[] }>;
  /** What the recomputation of the tables beside the events finds. */
  verifyState(): Promise<StateFinding[]>;
  /** What the comparison of TARGET with the source says, beyond what it says without an attempt. */
  verifyOnline(): Promise<SourceCounts>;
  /** Another organization, which no run has read yet. */
  open(options: SimulatorOptions): Promise<Exported>;
  /** Sets the tables back to what they are without an attempt. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

const BASE = { EXPORT_PAGE_SIZE: '10', EXPORT_SETTLE: '0s', UIPATH_LANGUAGE: 'de' };
const REJECTED = '{"createdOn":5}';

export async function openStage({ isSigned }: { isSigned: boolean }): Promise<Stage> {
  const closers: (() => unknown)[] = [];
  const directory = await mkdtemp(join(tmpdir(), 'audit-tampering-'));
  closers.push(() => rm(directory, { recursive: true }));
  const key = generatePrivateKey();
  const keyFile = join(directory, 'ledger.key');
  writeFileSync(keyFile, formatPrivateKey(key), { mode: 0o600 });
  const database = await createTestDatabase();
  closers.push(() => database.drop());
  const name = new URL(database.url).pathname.slice(1);

  const superuser = await connect(database.url, closers);
  const owner = await createTestLogin(database);
  await superuser.query(`alter database ${name} owner to ${owner.name}`);
  await migrateAs(owner.url);
  const writer = await createTestLogin(database, 'audit_writer');
  const clients: Stage['clients'] = {
    superuser,
    owner: await connect(owner.url, closers),
    audit_writer: await connect(writer.url, closers),
  };
  // The roles go before the database, and what the owner owns goes with it.
  closers.push(() => superuser.query(`reassign owned by ${owner.name} to current_user`));

  const pool = createPool(writer.url, () => {}, { sessions: 4 });
  closers.push(() => pool.end());
  const exporting = { pool, url: writer.url, keyFile: isSigned ? keyFile : undefined };
  const target = await openExported(exporting, { ...TARGET, events: 30, rows: [REJECTED] }, closers);
  const bystander = await openExported(exporting, { ...BYSTANDER, events: 10, seed: 2 }, closers);
  const trusted = target.app.config.ledger.trusted;

  const verifyAll = async (expected?: NotedHead) =>
    verifyLedgers(pool, {
      ...{ of: undefined, from: undefined, to: undefined, expected, trusted, onRows: () => {} },
      signal: new AbortController().signal,
    });
  const head = async () =>
    (await verifyAll()).find(({ organization }) => organization === TARGET.organization)!.head!;

  await target.runIn('en');
  await bystander.run();
  target.simulator.deleteAt(10, 1);
  for (let runs = 0; runs < 3; runs++) await target.run();
  await target.run({ kind: 'backfill' });
  await save(superuser, 'earlier');
  const earlier = await head();
  // Retention deletes what is stored, and events that no run has read: a gap. Then a quiet run.
  target.simulator.append(40);
  target.simulator.deleteHead(target.simulator.length - 20);
  await target.run();
  await target.run();
  await save(superuser, 'newest');
  const newest = await head();
  const compare = async () => {
    const { report } = await verifyAgainstSource(target.app, {
      ...{ from: undefined, to: undefined, shouldRepair: false, onProgress: () => {} },
      signal: new AbortController().signal,
    });
    return report.counts;
  };
  const untouched = await compare();
  const restore = async () => {
    await superuser.query('begin');
    await setBack(superuser, 'newest');
    await superuser.query('commit');
  };
  await restore();
  return {
    isSigned,
    key,
    clients,
    noted: { newest, earlier },
    async verify(expected) {
      const reports = await verifyAll(expected);
      return { counts: sumOf(reports), reports };
    },
    async verifyState() {
      const reports = await verifyState(pool, {
        organization: undefined,
        signal: new AbortController().signal,
      });
      return reports.flatMap(({ examples }) => examples);
    },
    async verifyOnline() {
      const counts = Object.entries(await compare()).map(([kind, count]) => [
        kind,
        count - untouched[kind as keyof typeof untouched],
      ]);
      return Object.fromEntries(counts.filter(([, count]) => count !== 0));
    },
    open: (options) => openExported(exporting, options, closers),
    restore,
    async close() {
      for (const close of closers.reverse()) await close();
      for (const login of [writer, owner]) await login.drop().catch(() => {});
    },
  };
}

function sumOf(reports: readonly LedgerReport[]): Counts {
  const sum: Counts = {};
  for (const { counts } of reports) {
    for (const [kind, count] of Object.entries(counts) as [Tampering, number][])
      if (count > 0) sum[kind] = (sum[kind] ?? 0) + count;
  }
  return sum;
}

async function connect(url: string, closers: (() => unknown)[]): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  closers.push(() => client.end());
  return client;
}

async function migrateAs(url: string): Promise<void> {
  const pool = createPool(url, () => {});
  await migrate(pool);
  await pool.end();
}

async function openExported(
  { pool, url, keyFile }: { pool: Pool; url: string; keyFile: string | undefined },
  options: SimulatorOptions,
  closers: (() => unknown)[],
): Promise<Exported & { app: App; runIn(language: string): Promise<RunSummary> }> {
  const simulator = await createSimulator(options);
  const appIn = (language: string) => {
    const key: Record<string, string> = keyFile === undefined ? {} : { EXPORT_LEDGER_KEY_FILE: keyFile };
    const environment = { ...BASE, ...key, UIPATH_LANGUAGE: language };
    return createApp(simulator, { url, pool, environment }).app;
  };
  const app = appIn(BASE.UIPATH_LANGUAGE);
  closers.push(() => simulator.close());
  const runOf = (of: App, request?: Partial<RunRequest>) =>
    runExport(of, { kind: 'run', signal: new AbortController().signal, ...request });
  return {
    simulator,
    app,
    run: (request) => runOf(app, request),
    runIn: (language) => runOf(appIn(language)),
  };
}

const TABLES = `
  select relname as name from pg_class where relnamespace = 'audit'::regnamespace and relkind = 'r' and relname <> 'migrations' order by 1`;

async function save(client: pg.Client, name: string): Promise<void> {
  await client.query(
    [
      `create schema ${name}; grant usage on schema ${name} to public`,
      ...(await tablesOf(client)).map(
        ({ name: table }) => `create table ${name}.${table} as table audit.${table}`,
      ),
      `grant select on all tables in schema ${name} to public`,
    ].join(';'),
  );
}

/** Sets all tables back, as the owner can: without the triggers. */
export async function setBack(
  client: pg.Client,
  name: 'newest' | 'earlier',
  tables?: readonly string[],
): Promise<void> {
  for (const { name: table } of await tablesOf(client)) {
    if (tables && !tables.includes(table)) continue;
    await client.query(
      [
        `alter table audit.${table} disable trigger user`,
        `delete from audit.${table}`,
        `insert into audit.${table} overriding system value select * from ${name}.${table}`,
        `alter table audit.${table} enable trigger user`,
      ].join(';'),
    );
  }
}

/** The tables that the program writes to. */
export async function tablesOf(client: pg.Client): Promise<{ name: string }[]> {
  const { rows } = await client.query<{ name: string }>(TABLES);
  return rows;
}
