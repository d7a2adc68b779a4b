/** Several organizations, exported by one or several processes of the real program. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createOrganizations, type Organizations } from '../support/organizations.ts';
import { errorIn, type Program, runProgram, startProgram } from '../support/program.ts';

const EVENTS = 200;

let database: TestDatabase;
let pool: pg.Pool;
let organizations: Organizations;
let environment: Record<string, string>;
let opened = 0;
const programs: Program[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});
afterEach(async () => {
  for (const program of programs.splice(0)) {
    program.kill('SIGKILL');
    await program.ended;
  }
  await organizations.close();
});

/** Names that only this test uses: the tests share a database. */
async function open(count: number, options = {}): Promise<string[]> {
  opened++;
  const names = Array.from({ length: count }, (_, i) => `of${opened}-${i}`);
  organizations = await createOrganizations(names, { events: EVENTS, ...options });
  environment = {
    ...organizations.environment,
    DATABASE_URL: database.url,
    RETRY_LIMIT: '2',
    RETRY_MAX_DELAY: '10ms',
    STATUS_PORT: '0',
    EXPORT_RECHECK_SCHEDULE: 'off',
  };
  return names;
}

function start(given: Record<string, string> = {}): Program {
  const program = startProgram(['start'], { ...environment, EXPORT_SCHEDULE: '* * * * * *', ...given });
  programs.push(program);
  return program;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + 50_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) {
      const logs = programs.map((program) => program.stderr().slice(-4_000));
      throw new Error(`gave up waiting; the programs logged:\n${logs.join('\n---\n')}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function storedOf(names: readonly string[]): Promise<Record<string, number>> {
  const { rows } = await pool.query(
    `select name, (select count(*)::int from audit.events where organization = name) as count
     from unnest($1::text[]) as name`,
    [names],
  );
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
}

function all(names: readonly string[], count: number): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, count]));
}

async function succeeded(names: readonly string[]): Promise<{ organization: string; worker: string }[]> {
  const { rows } = await pool.query(
    `select organization, worker from audit.runs where organization = any ($1) and outcome = 'succeeded'`,
    [names],
  );
  return rows;
}

async function readyz(program: Program): Promise<[number, unknown]> {
  const address = /status page.* at (http:\/\/[\d.]+:\d+)/.exec(program.stderr())![1]!;
  const response = await fetch(`${address}/readyz`);
  return [response.status, await response.json()];
}

describe('start', () => {
  test('exports all; one refused and four silent organizations delay no other, and the process stays ready', async () => {
    const names = await open(8);
    const [refused] = names;
    const [silent, well] = [names.slice(1, 5), names.slice(5)];
    organizations.write({ [refused!]: { UIPATH_CLIENT_SECRET: 'wrong' } });
    for (const simulator of organizations.simulators.slice(1, 5))
      simulator.set({ faults: [{ fault: 'silence' }] });
    const program = start({ EXPORT_PARALLEL_ORGANIZATIONS: '4', HTTP_TIMEOUT: '10m' });
    await program.logged(/scheduled/);
    const wanted = { ...all(well, EVENTS), ...all(silent, 0), [refused!]: 0 };
    await until(async () => JSON.stringify(await storedOf(well)) === JSON.stringify(all(well, EVENTS)));
    expect(await storedOf(names)).toEqual(wanted);
    await until(
      async () => (await readyz(program))[1] !== undefined && /run \d+ failed/.test(program.stderr()),
    );
    const reason = new RegExp(`^${refused}: last run: .*UIPATH_CLIENT_SECRET`);
    expect(await readyz(program)).toEqual([
      200,
      { ready: true, reasons: [], failing: [expect.stringMatching(reason)] },
    ]);
    // The schedule continues, too.
    organizations.simulators[7]!.append(5);
    await until(async () => (await storedOf(names))[names[7]!] === EVENTS + 5);
    const lines = program
      .stderr()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const runs = lines.filter(({ msg }) => /^run \d+ (succeeded|failed)/.test(msg));
    expect(runs.length).toBeGreaterThan(0);
    expect(runs.every(({ organization }) => names.includes(organization))).toBe(true);
  });

  test('SIGTERM stops all its runs within 10 s, exit 0', async () => {
    const names = await open(6, { events: 2_000, latencyMs: 300 });
    const program = start({ EXPORT_PAGE_SIZE: '50', EXPORT_CONCURRENCY: '1' });
    await until(async () => Object.values(await storedOf(names)).filter((count) => count > 0).length >= 4);
    const signalledAt = performance.now();
    program.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
    expect(performance.now() - signalledAt).toBeLessThan(10_000);
    const { rows } = await pool.query(
      'select distinct outcome from audit.runs where organization = any ($1)',
      [names],
    );
    expect(rows).toEqual([{ outcome: 'interrupted' }]);
  });

  test('two processes divide them; when one is killed, the other completes them, each event once', async () => {
    const names = await open(8, { events: 600, latencyMs: 100 });
    const given = {
      EXPORT_PARALLEL_ORGANIZATIONS: '2',
      EXPORT_PAGE_SIZE: '50',
      EXPORT_CONCURRENCY: '1',
    };
    const [one, other] = [start(given), start(given)];
    await Promise.all([one.logged(/scheduled/), other.logged(/scheduled/)]);
    const workers = async () => new Set((await succeeded(names)).map(({ worker }) => worker));
    await until(async () => (await workers()).size === 2);
    one.kill('SIGKILL');
    await one.ended;
    await until(async () => new Set((await succeeded(names)).map((run) => run.organization)).size === 8);
    expect(await storedOf(names)).toEqual(all(names, 600));
    const { rows } = await pool.query(
      `select count(*)::int as overlaps from audit.runs a join audit.runs b on a.organization = b.organization
       and a.run_id < b.run_id and b.started_at < a.ended_at where a.organization = any ($1)`,
      [names],
    );
    expect(rows).toEqual([{ overlaps: 0 }]);
    expect(other.stderr()).not.toContain('standing by');
  });
});

describe('one-off commands', () => {
  test('run exports each, with a line of JSON each; a failure decides the exit code and stops no other', async () => {
    const names = await open(3);
    organizations.write({ [names[1]!]: { UIPATH_CLIENT_SECRET: 'secret-of-one-of-them' } });
    const { code, stdout, stderr } = await runProgram(['run', '--json'], {
      ...environment,
      LOG_LEVEL: 'debug',
    });
    for (const secret of ['secret-of-one-of-them', organizations.simulators[0]!.clientSecret, 'eyJ'])
      expect(stdout + stderr).not.toContain(secret);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    lines.sort((a, b) => a.organization.localeCompare(b.organization));
    expect(lines).toMatchObject([
      { organization: names[0], counters: { inserted: EVENTS } },
      { organization: names[1], code: 'configuration', error: expect.stringContaining('invalid_client') },
      { organization: names[2], counters: { inserted: EVENTS } },
    ]);
    expect(code).toBe(2);
    expect(errorIn(stderr)).toMatch(
      new RegExp(`^1 of 3 organizations failed:\n {2}${names[1]}: .*invalid_client`),
    );
    expect(await storedOf(names)).toEqual({ ...all(names, EVENTS), [names[1]!]: 0 });
  });

  test('--organization takes one of them; an unknown one is exit 2 with the nearest', async () => {
    const names = await open(3);
    for (const [command, said] of [
      ['run', /^Run \d+: 200 new events/],
      ['backfill', /^Run \d+: 0 new events, 200 unchanged/],
      ['verify', new RegExp(`${names[1]}`)],
      ['status', new RegExp(`${names[1]}  Complete and current`)],
      ['check', new RegExp(`configuration +organization ${names[1]}, list `)],
    ] as const) {
      const { code, stdout, stderr } = await runProgram([command, '--organization', names[1]!], environment);
      expect([command, code, stdout]).toEqual([command, 0, expect.stringMatching(said)]);
      expect(stdout + stderr).not.toContain(names[0]);
      const unknown = await runProgram([command, '--organization', `${names[1]}x`], environment);
      expect([command, unknown.code, unknown.stdout + errorIn(unknown.stderr)]).toEqual([
        command,
        2,
        expect.stringContaining(`"${names[1]}x" is not known. Did you mean ${names[1]}?`),
      ]);
    }
    expect(await storedOf(names)).toEqual({ ...all(names, 0), [names[1]!]: EVENTS });
  });

  test('backfill, verify and check process all in sequence, and verify exits with 3 if one differs', async () => {
    const names = await open(2);
    const backfill = await runProgram(['backfill'], environment);
    expect([backfill.code, backfill.stdout]).toEqual([
      0,
      expect.stringMatching(new RegExp(`^${names[0]}: Run .* 200 new.*\n${names[1]}: Run .* 200 new`)),
    ]);
    const check = await runProgram(['check'], environment);
    expect([check.code, check.stdout]).toEqual([
      0,
      expect.stringMatching(
        new RegExp(`2 organizations:\n.*✓ token +${names[0]}: .*✓ token +${names[1]}: `, 's'),
      ),
    ]);
    await pool.query('delete from audit.events where organization = $1', [names[1]]);
    organizations.simulators[0]!.set({ faults: [{ fault: 503 }] });
    const verify = await runProgram(['verify'], environment);
    expect([verify.code, verify.stderr]).toEqual([3, expect.stringContaining('2 of 2 organizations failed')]);
    organizations.simulators[0]!.set({ faults: [] });
    const one = await runProgram(['verify', '--json', '--organization', names[0]!], environment);
    expect([one.code, JSON.parse(one.stdout).organizations.length]).toEqual([0, 1]);
    const offline = await runProgram(['verify', '--offline', '--organization', names[1]!], environment);
    expect(offline.code).toBe(3);
  });

  test('a file with mistakes is exit 2 with all of them, for each command that reads a source', async () => {
    const names = await open(2);
    organizations.write({
      [names[0]!]: { UIPATH_BASE_URL: 'ftp://x' },
      [names[1]!]: { UIPATH_CLIENT_SECRET_FILE: '/nowhere' },
    });
    for (const command of ['start', 'run', 'backfill', 'verify', 'check']) {
      const { code, stdout, stderr } = await runProgram([command], environment);
      expect([command, code]).toEqual([command, 2]);
      expect(stdout + stderr).toMatch(new RegExp(`entry 1 \\(${names[0]}\\): UIPATH_BASE_URL: expected`));
      expect(stdout + stderr).toMatch(
        new RegExp(`entry 2 \\(${names[1]}\\): UIPATH_CLIENT_SECRET_FILE: exp`),
      );
    }
  });
});
