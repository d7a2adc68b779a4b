import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { coloursFor } from '../../src/terminal/screen.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, errorIn, runProgram } from '../support/program.ts';

let database: TestDatabase;
let simulator: Simulator;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createTestDatabase();
  simulator = await createSimulator({ events: 250 });
  environment = environmentFor(simulator, database.url);
});

afterAll(async () => {
  await simulator.close();
  await database.drop();
});

// The order matters: each test finds the database as the one before left it.

test('a database without tables is reported, and not changed', async () => {
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = await runProgram(['status'], { DATABASE_URL: database.url });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^✗ Database {2}The tables do not exist yet\n/);
    expect(stdout).toContain('node dist/main.js migrate');
  }
});

test('tables without a run are reported', async () => {
  await runProgram(['migrate'], environment);
  const { code, stdout } = await runProgram(['status'], environment);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^! Database {2}Nothing has been exported yet\n/);
});

test('a complete copy is shown as such, in aligned columns and without colour in a pipe', async () => {
  await runProgram(['run'], environment);
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  // Reads the clock: the time is written only, and compared with the clock that the program reads.
  await client.query(
    `update audit.watermarks set completeness = 'complete', completeness_reason = null, proven_at = now(), assessed_at = now()`,
  );
  // Reads the clock: the time is written only, and compared with the clock that the program reads.
  await client.query('update audit.coverage set proven_at = now()');
  await client.end();
  const { code, stdout, stderr } = await runProgram(['status'], environment);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(
    /^✓ acme {2}Complete and current\n {2}Every event that the source showed (just now|\d+ s ago) is stored\.\n/,
  );
  expect(stdout).toMatch(/^ {2}Completeness {6}complete {2}\(proven (just now|\d+ s ago)\)$/m);
  expect(stdout).toMatch(/^ {2}Events stored {5}250$/m);
  expect(stdout).toMatch(
    /^ {2}Proven {12}2023-01-01 00:00:\d\d UTC to .* UTC {2}\(counted (just now|\d+ s ago)\)$/m,
  );
  expect(stdout).toMatch(/^ {2}Events at source {2}250 /m);
  expect(stdout).toMatch(/^Migrations: \d+ applied, none pending\.$/m);
  expect(stdout).not.toContain('\u001b');
  const [head, row] = stdout.split('\n').filter((line) => /^ {2}(Run |1 )/.test(line));
  for (const title of ['New', 'Same', 'Requests', 'Retries']) {
    const end = head!.indexOf(title) + title.length;
    expect(row!.slice(0, end)).toMatch(/ \d+$/);
    expect(row!.slice(end)).toMatch(/^( |$)/);
  }
});

test('a failed run is shown with its error', async () => {
  simulator.set({ faults: [{ fault: 403 }] });
  await runProgram(['run'], environment);
  simulator.set({ faults: [] });
  const { code, stdout } = await runProgram(['status'], environment);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /^✗ acme {2}Not current: the last run did not succeed\n {2}Run 2 \(run\) failed .*HTTP 403/,
  );
});

test('--json prints the report, bigints as strings', async () => {
  const { code, stdout } = await runProgram(['status', '--json'], environment);
  expect(code).toBe(0);
  const { organizations, migrations } = JSON.parse(stdout);
  expect(migrations.pending).toEqual([]);
  expect(organizations).toHaveLength(1);
  const newest = simulator.rows.at(-1)!;
  expect(organizations[0]).toMatchObject({
    organization: 'acme',
    stored: 250,
    sourceTotal: 250,
    watermark: { raw: JSON.parse(newest.text).createdOn },
    runs: [{ outcome: 'failed' }, { outcome: 'succeeded', counters: { inserted: 250 } }],
  });
  expect(organizations[0].watermark.ticks).toMatch(/^\d{17}$/);
});

test('control characters are removed from an error', async () => {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('update audit.runs set error = $1 where run_id = 2', [
    'HTTP 403 \u001b]0;title\u0007 \u009b2J',
  ]);
  await client.end();
  const { stdout } = await runProgram(['status'], environment);
  expect(stdout).toContain('HTTP 403 \uFFFD]0;title\uFFFD \uFFFD2J');
});

test('more than three organizations have an overview before the details', async () => {
  const names = ['株式会社テスト', '🏢 Büro', 'beta'];
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('insert into audit.watermarks (organization) select unnest($1::text[])', [names]);
  await client.end();
  const { code, stdout } = await runProgram(['status'], environment);
  expect(code).toBe(0);
  const [summary, head, ...rows] = stdout.split('\n\n')[0]!.split('\n');
  expect(summary).toBe('4 organizations: 4 failing');
  expect(head).toMatch(/^ {5}Organization {4}State {8}Newest event +Last success +Stored +Gaps +Rejected$/);
  expect(rows).toHaveLength(4);
  expect(rows).toContainEqual(expect.stringMatching(/^ {2}✗ {2}acme {12}Not current {2}.* 250 +0 +0$/));
  expect(rows).toContainEqual(
    expect.stringMatching(/^ {2}✗ {2}株式会社テスト {2}Not proven {3}none yet .* 0 +0 +0$/),
  );
  for (const name of ['acme', ...names]) expect(stdout).toMatch(new RegExp(`^✗ ${name}  Not `, 'm'));
  expect(stdout).toMatch(/^ {2}No run is recorded\.$/m);
});

describe('colours', () => {
  const { isTTY } = process.stdout;
  afterEach(() => {
    process.stdout.isTTY = isTTY;
  });

  test.each([
    ['come on a terminal', true, {}, true],
    ['do not come in a pipe', false, { CI: '1', TERM: 'xterm-256color' }, false],
    ['come in a pipe with FORCE_COLOR', false, { FORCE_COLOR: '1' }, true],
    ['do not come with FORCE_COLOR=0', true, { FORCE_COLOR: '0' }, false],
    ['do not come with NO_COLOR', true, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    ['do not come on a dumb terminal', true, { TERM: 'dumb' }, false],
  ])('%s', (_, isTerminal, given, expected) => {
    process.stdout.isTTY = isTerminal;
    expect(coloursFor(given).red('x') !== 'x').toBe(expected);
  });
});

test('a database that is away is a temporary failure', async () => {
  const { code, stderr } = await runProgram(['status'], { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/x' });
  expect(code).toBe(75);
  expect(errorIn(stderr)).toMatch(/^PostgreSQL failed while /);
});
