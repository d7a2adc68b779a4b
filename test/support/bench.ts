/** The whole export over real HTTP and a real PostgreSQL: one database a test file, one organization a test. */
import pg from 'pg';
import type { App } from '../../src/app.ts';
import { parseConfig, secretsOf } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { createPool, type Pool } from '../../src/postgres/connection/pool.ts';
import { type RunRequest, runExport } from '../../src/runs/export.ts';
import type { RunSummary } from '../../src/runs/run.ts';
import type { SourceReport } from '../../src/runs/source-report.ts';
import { type Verification, type VerificationRequest, verifyOnline } from '../../src/runs/verify.ts';
import { type LedgerReport, type LedgerRequest, verifyLedgers } from '../../src/runs/verify-ledger.ts';
import { type VerifyRequest, verifyAgainstSource } from '../../src/runs/verify-source.ts';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts';
import { createRedactor } from '../../src/text/redaction.ts';
import { createUipathSource } from '../../src/uipath/classic/source.ts';
import type { Row } from './compare.ts';
import { createMigratedDatabase, type TestDatabase } from './database.ts';

export type { Row } from './compare.ts';

export interface Bench {
  database: TestDatabase;
  /** The worker's own pool. */
  pool: Pool;
  /** A pool of the tests' own, so that looking does not change what is looked at. */
  sql: pg.Pool;
  /** The rows of a query; bigints and times come as text. */
  query(text: string, values?: unknown[]): Promise<Row[]>;
  /** An organization with its simulator; closed by `close`. */
  open(simulator?: SimulatorOptions, environment?: Record<string, string>): Promise<Scene>;
  close(): Promise<void>;
}

export interface Scene {
  organization: string;
  simulator: Simulator;
  app: App;
  /** Every line logged, parsed. */
  lines: Row[];
  run(request?: Partial<RunRequest>): Promise<RunSummary>;
  /** Compares the table with the source, over everything unless a range is given. */
  verify(request?: Partial<VerifyRequest>): Promise<SourceReport>;
  /** Compares the log with everything, and stores the result. */
  verifyAll(request?: Partial<VerificationRequest & VerifyRequest>): Promise<Verification>;
  /** Compares the table with its ledger. */
  verifyLedger(request?: Partial<LedgerRequest>): Promise<LedgerReport>;
  /** Requests for pages that the server saw while `work` ran. */
  countRequests(work: () => Promise<unknown>): Promise<number>;
  /** The rows of a query; `$1` is the organization. */
  query(text: string, ...values: unknown[]): Promise<Row[]>;
  watermark(): Promise<Row | undefined>;
  /** Newest first. */
  runs(): Promise<Row[]>;
  /** Ends the connection of the run under way, as an administrator or a failing server would. */
  endSession(): Promise<void>;
  /** Closes simulator and source; the bench does so at its end too. */
  close(): Promise<void>;
}

export async function createBench(): Promise<Bench> {
  const database = await createMigratedDatabase();
  // Of a process with several organizations.
  const pool = createPool(database.url, () => {}, { sessions: 8 });
  const sql = new pg.Pool({ connectionString: database.url, types: { getTypeParser: asText } });
  sql.on('error', () => {});
  const closers: (() => Promise<void> | void)[] = [() => database.drop(), () => sql.end(), () => pool.end()];
  const query = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows;
  let opened = 0;
  return {
    database,
    pool,
    sql,
    query,
    async open(simulatorOptions = {}, environment = {}) {
      const organization = `org-${++opened}`;
      const simulator = await createSimulator({ organization, ...simulatorOptions });
      const { app, lines } = createApp(simulator, { url: database.url, pool, environment });
      const close = async () => {
        app.source.close();
        await simulator.close();
      };
      closers.push(close);
      return { ...createScene({ simulator, app, lines, query }), close };
    },
    async close() {
      for (const close of closers.reverse()) await close();
    },
  };
}

/** The app that `withApp` would open, but for waits before a retry, which take no time, and the log, which is kept. */
export function createApp(
  simulator: Simulator,
  given: { url: string; pool: Pool; environment?: Record<string, string> },
): { app: App; lines: Row[] } {
  const { config } = parseConfig(
    {
      UIPATH_BASE_URL: simulator.url,
      UIPATH_ORGANIZATION: simulator.organization,
      UIPATH_CLIENT_ID: simulator.clientId,
      UIPATH_CLIENT_SECRET: simulator.clientSecret,
      DATABASE_URL: given.url,
      EXPORT_PAGE_SIZE: '100',
      EXPORT_CONCURRENCY: '2',
      RETRY_LIMIT: '4',
      ...given.environment,
    },
    'source',
  );
  const lines: Row[] = [];
  const redactor = createRedactor(secretsOf(config));
  const destination = { write: (line: string) => lines.push(JSON.parse(line)) };
  const { organization, log: _log, baseUrl: _baseUrl, ...settings } = config.source;
  const log = createLog({ level: 'debug', redactor, destination }).child({ organization });
  const source = createUipathSource({ ...settings, log, environment: {}, sleep: async () => {} });
  return { app: { config, log, redactor, pool: given.pool, source }, lines };
}

function createScene(
  parts: Pick<Scene, 'simulator' | 'app' | 'lines'> & Pick<Bench, 'query'>,
): Omit<Scene, 'close'> {
  const { simulator, app } = parts;
  const { organization } = simulator;
  const query = (text: string, ...values: unknown[]) => parts.query(text, [organization, ...values]);
  return {
    ...parts,
    organization,
    query,
    run: (request) => runExport(app, { kind: 'run', signal: new AbortController().signal, ...request }),
    verify: async (request) => {
      const { report } = await verifyAgainstSource(app, {
        ...{ from: undefined, to: undefined, shouldRepair: false, onProgress: () => {} },
        signal: new AbortController().signal,
        ...request,
      });
      return report;
    },
    verifyAll: (request) =>
      verifyOnline(app, {
        ...{
          from: undefined,
          to: undefined,
          shouldRepair: false,
          onProgress: () => {},
          onLedgerRows: () => {},
        },
        signal: new AbortController().signal,
        ...request,
      }),
    async verifyLedger(request) {
      const reports = await verifyLedgers(app.pool, {
        ...{ of: { organization }, from: undefined, to: undefined, expected: undefined, onRows: () => {} },
        signal: new AbortController().signal,
        ...request,
      });
      return reports[0]!;
    },
    async countRequests(work) {
      const before = simulator.counts.list;
      await work();
      return simulator.counts.list - before;
    },
    watermark: async () =>
      (await query('select * from audit.watermarks where organization = $1 and created_on is not null'))[0],
    runs: () => query('select * from audit.runs where organization = $1 order by run_id desc'),
    async endSession() {
      await query('select pg_terminate_backend(lease_pid) from audit.watermarks where organization = $1');
    },
  };
}

/** Numbers of 32 bits, booleans, JSON and arrays as pg gives them; the rest as PostgreSQL writes it, to the last digit. */
function asText(oid: number, format?: string): (text: string) => unknown {
  const exact = [20, 114, 1114, 1184, 1700, 3802];
  if (exact.includes(oid)) return (text) => text;
  return pg.types.getTypeParser(oid, format as 'text');
}
