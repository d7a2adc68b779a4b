import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../src/postgres/connection/pool.ts';
import { runExport } from '../../src/runs/export.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createApp } from '../support/bench.ts';
import { createMigratedDatabase, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, runProgram } from '../support/program.ts';

let database: TestDatabase;
let pool: pg.Pool;
let workerPool: Pool;
let simulator: Simulator;
let environment: Record<string, string>;
let organizations = 0;
/** What belongs to an organization, without its runs. */
const WORKER_TABLES =
  'audit.events, audit.ledger, audit.ledger_changes, audit.watermarks, audit.coverage, audit.gone_events, audit.rejected_places';

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  workerPool = createPool(database.url, () => {});
});
afterAll(async () => {
  await workerPool.end();
  await pool.end();
  await database.drop();
});
beforeEach(async () => {
  simulator = await createSimulator({ organization: `verify${organizations++}`, events: 250 });
  environment = environmentFor(simulator, database.url);
  await exportAll();
});
afterEach(async () => {
  await simulator.close();
  // Offline every organization of the database is verified.
  await pool.query(`truncate ${WORKER_TABLES}, audit.runs, audit.verifications`);
});

/** The program's `run`, in this process: a process for each test would take half of the time. */
async function exportAll(): Promise<void> {
  const { app } = createApp(simulator, {
    url: database.url,
    pool: workerPool,
    environment: { EXPORT_PAGE_SIZE: '1000' },
  });
  await runExport(app, { kind: 'run', signal: new AbortController().signal });
  app.source.close();
}

const verify = (...options: string[]) => runProgram(['verify', ...options], environment);
const tamper = (sql: string) => pool.query(sql.replace('$org', `'${simulator.organization}'`));

async function verifyJson(...options: string[]) {
  const { stdout, code } = await verify('--json', ...options);
  const { organizations } = JSON.parse(stdout);
  return { code, organization: organizations[0], organizations };
}

async function damage(): Promise<void> {
  await tamper(`delete from audit.events where organization = $org and ctid in
    (select ctid from audit.events limit 2)`);
  await tamper(
    `update audit.events set user_name = 'Nobody' where ctid = (select ctid from audit.events order by created_on desc limit 1)`,
  );
}

describe('verify, as a process', () => {
  test('exits with 0 without differences, and prints the head of the ledger', async () => {
    const { code, stdout } = await verify();
    expect(code).toBe(0);
    expect(stdout).toMatch(/^✓ verify\d+ {2}No differences from the source and the ledger$/m);
    expect(stdout).toMatch(/^ {4}same +250$/m);
    // The head: origin, number of entries, root.
    expect(stdout).toMatch(
      new RegExp(
        `^ {4}uipath-audit-export/${simulator.organization}/classic\n {4}5\n {4}[A-Za-z0-9+/]{43}=$`,
        'm',
      ),
    );
    expect(stdout).not.toContain('\u001b');
  });

  test('exits with 3 for missing or changed rows, counts and lists them, and prints the remedy', async () => {
    await damage();
    const { code, stdout, stderr } = await verify();
    expect([code, stderr]).toEqual([3, expect.stringContaining('`verify --repair` stores what is missing')]);
    expect(stdout).toMatch(/^ {4}missing +2 {2}at the source, not stored$/m);
    expect(stdout).toMatch(/^ {4}changed +1 {2}stored with other content than at the source$/m);
    expect(stdout).toMatch(/^ {6}changed {2}2023-01-01T02:04:38\.4375633Z {2}[0-9a-f-]{36} {2}userName$/m);
    expect(stdout).not.toContain('Nobody');
    const { organization } = await verifyJson();
    expect(organization.source).toMatchObject({ counts: { missing: 2, changed: 1, gone: 0 }, same: 247 });
    expect(organization.ledger.counts).toMatchObject({ edited: 1, deleted: 2, inserted: 0 });
    expect(organization.source.examples).toHaveLength(3);
  });

  test('--repair repairs them as a separate run, and exits with 0', async () => {
    await damage();
    const repaired = await verifyJson('--repair');
    expect([repaired.code, repaired.organization.source.repaired]).toEqual([0, 3]);
    const { rows } = await pool.query(
      'select kind, outcome, rows_inserted from audit.runs where run_id = $1',
      [repaired.organization.source.runId],
    );
    expect(rows).toEqual([{ kind: 'verify', outcome: 'succeeded', rows_inserted: '2' }]);
    expect((await verify()).code).toBe(0);
  });

  test('--offline needs no source and no credentials, and finds changes by hand', async () => {
    const offline = { DATABASE_URL: database.url };
    await simulator.close();
    const clean = await runProgram(['verify', '--offline'], offline);
    expect([clean.code, clean.stdout]).toEqual([
      0,
      expect.stringContaining('No differences from the ledger'),
    ]);
    await damage();
    const { code, stdout } = await runProgram(['verify', '--offline'], offline);
    expect(code).toBe(3);
    expect(stdout).toMatch(/^ {4}edited by hand +1 /m);
    expect(stdout).toMatch(/^ {4}deleted by hand +2 /m);
  });

  test('--expect reports a ledger that no longer contains the entry', async () => {
    const { organization } = await verifyJson();
    const { head } = organization.ledger;
    const entry = `${head.organization}/${head.batch}/${head.digest}`;
    expect((await verify('--offline', '--expect', entry)).code).toBe(0);
    const other = entry.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
    const { code, stdout } = await verify('--offline', '--expect', other);
    expect([code, stdout]).toEqual([3, expect.stringContaining('it is not the noted entry')]);
  });

  test('--expect takes an entry with the name of its log, too', async () => {
    const { organization } = await verifyJson();
    const { head } = organization.ledger;
    expect([organization.log, head.log]).toEqual(['classic', 'classic']);
    expect((await verify('--offline')).stdout).toContain(`uipath-audit-export/${head.organization}/classic`);
    const named = (log: string) => `${head.organization}/${log}/${head.batch}/${head.digest}`;
    expect((await verify('--offline', '--expect', named('classic'))).code).toBe(0);
    const other = await verify('--offline', '--expect', named('tenant:A/B'));
    expect([other.code, other.stdout]).toEqual([
      3,
      expect.stringContaining('the end of the chain was cut off'),
    ]);
    expect(other.stdout).toContain(`${head.organization} (tenant:A/B)`);
    const online = await verify('--expect', named('tenant:A/B'));
    expect([online.code, online.stderr]).toEqual([
      2,
      expect.stringContaining(`log tenant:A/B of ${head.organization}`),
    ]);
  });

  test('--expect reports an organization whose rows were all deleted, and refuses one that is not verified', async () => {
    const { organization } = await verifyJson();
    const { head } = organization.ledger;
    const entry = `${head.organization}/${head.batch}/${head.digest}`;
    await pool.query('truncate audit.events, audit.ledger, audit.watermarks, audit.coverage');
    const wiped = await verify('--offline', '--expect', entry);
    expect([wiped.code, wiped.stdout]).toEqual([
      3,
      expect.stringContaining('the end of the chain was cut off'),
    ]);
    const foreign = await verify('--expect', entry.replace('verify', 'other'));
    expect([foreign.code, foreign.stderr]).toEqual([2, expect.stringContaining('UIPATH_ORGANIZATION is')]);
  });

  test('reports an empty range, and the remedy when nothing was exported', async () => {
    const range = await verify('--from', '2001-01-01', '--to', '2001-02-01');
    expect([range.code, range.stdout]).toEqual([
      0,
      expect.stringContaining('No events in this range, neither at the source nor stored'),
    ]);
    await pool.query('truncate audit.events, audit.ledger, audit.watermarks, audit.coverage');
    const { code, stderr } = await verify();
    expect([code, stderr]).toEqual([3, expect.stringContaining('`node dist/main.js backfill` exports it')]);
  });

  test('--from and --to limit the comparison', async () => {
    await damage();
    const { organization } = await verifyJson(
      '--from',
      '2023-01-01T01:00:00Z',
      '--to',
      '2023-01-01T01:30:00Z',
    );
    expect(organization.source.counts).toEqual({ missing: 0, changed: 0, gone: 0 });
    expect(organization.source.events).toBeGreaterThan(40);
  });

  test('the log of a run contains the newest entry of the ledger', async () => {
    simulator.append(3);
    const { stderr } = await runProgram(['run'], environment);
    const line = JSON.parse(stderr.trim().split('\n').at(-1)!);
    const { organization } = await verifyJson();
    const { batch, digest } = organization.ledger.head;
    expect(line.ledger).toEqual({ batch, digest });
    expect(Number(batch)).toBeGreaterThan(5);
  });

  test('exit 2 for contradictory options, and for an invalid entry', async () => {
    expect(await verify('--offline', '--repair')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('leave out --offline'),
    });
    expect(await verify('--expect', 'acme')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('ORGANIZATION/NUMBER/DIGEST'),
    });
    expect(await verify('--from', '2023-01-02', '--to', '2023-01-02')).toMatchObject({ code: 2 });
  });

  test('exit 2 and the remedy when there are no tables', async () => {
    const empty = await createTestDatabase();
    try {
      const { code, stderr } = await runProgram(['verify', '--offline'], { DATABASE_URL: empty.url });
      expect([code, stderr]).toEqual([2, expect.stringContaining('node dist/main.js migrate')]);
    } finally {
      await empty.drop();
    }
  });

  test('exit 75 when the source is away', async () => {
    simulator.set({ faults: [{ fault: 503 }] });
    expect((await verify()).code).toBe(75);
  });
});
