import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { parseRecording } from '../../src/recording/format.ts';
import { createReplay } from '../../src/simulator/replay.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { createOrganizations } from '../support/organizations.ts';
import { environmentFor, errorIn, runProgram } from '../support/program.ts';

const PERSON = { userName: 'Zoë Quartz', email: 'zoe.quartz@volcano.example' };
const row = (minute: number) => ({
  createdOn: `2026-01-02T03:0${minute}:05.1234567Z`,
  category: 'User',
  action: 'Created',
  source: 'Cis',
  message: `${PERSON.userName} created robot-${minute}`,
  ...PERSON,
  detailsVersion: '1.0',
  auditLogDetails: JSON.stringify({
    by: PERSON,
    robot: { id: `7d0c1f7e-5a55-4b0e-9b1f-2f6f6f1c9a1${minute}` },
  }),
});
const PLANTED = ['volcano', 'Quartz', 'Zoë', 'zoe', 'robot-', '7d0c1f7e', 'the-client-id', 'the-s3cret'];

let database: TestDatabase;
let directory: string;
let simulator: Simulator;
let environment: Record<string, string>;
const open: Simulator[] = [];

beforeAll(async () => {
  database = await createMigratedDatabase();
  directory = await mkdtemp(join(tmpdir(), 'audit-record-'));
  simulator = await createSimulator({
    organization: 'volcano',
    clientId: 'the-client-id',
    clientSecret: 'the-s3cret',
    rows: [0, 1, 2, 3, 4, 5, 6].map(row),
  });
  environment = environmentFor(simulator, database.url);
});

afterEach(async () => {
  simulator.set({ faults: [] });
  for (const replay of open.splice(0)) await replay.close();
});

afterAll(async () => {
  await simulator.close();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

const record = (file: string, given: Record<string, string> = {}, args: string[] = []) =>
  runProgram(['check', '--record', file, ...args], { ...environment, ...given });

/** Serves the recording, and returns the variables for it. */
async function replay(file: string): Promise<Record<string, string>> {
  const served = createReplay(parseRecording(await readFile(file, 'utf8'), file));
  const replaying = await createSimulator({ replay: served });
  open.push(replaying);
  return environmentFor(replaying, database.url);
}

test('a recording names nobody, only its owner can read it, and check and run work against its replay', async () => {
  const file = join(directory, 'good.json');
  const { code, stdout, stderr } = await record(file);
  expect([code, stderr]).toEqual([0, '']);
  expect(stdout).toContain(`Recorded 3 responses in ${file}`);
  const text = await readFile(file, 'utf8');
  for (const value of PLANTED) expect(text.toLowerCase()).not.toContain(value.toLowerCase());
  expect((await stat(file)).mode & 0o777).toBe(0o600);

  const replayed = await replay(file);
  const checked = await runProgram(['check', '--json'], replayed);
  expect(checked.code).toBe(0);
  expect(checked.stdout).toContain('7 events at ');
  const run = await runProgram(['run', '--json'], replayed);
  expect([run.code, JSON.parse(run.stdout).counters.inserted]).toEqual([0, 7]);
});

test.each([
  ['a refusal', { fault: 403 as const, on: 'list' as const }, 'list'],
  ['an HTML page', { fault: 'html' as const, on: 'list' as const }, 'list'],
  ['a refused token', { fault: 401 as const, on: 'token' as const }, 'token'],
])('%s is recorded, and its replay fails the same check', async (name, fault, failed) => {
  const file = join(directory, `${name}.json`);
  simulator.set({ faults: [fault] });
  const outcomes = ({ stdout }: { stdout: string }) =>
    JSON.parse(stdout).checks.map(({ name, outcome }: Record<string, string>) => [name, outcome]);
  const recorded = await record(file, {}, ['--json']);
  expect([recorded.code, JSON.parse(recorded.stdout).recorded]).toEqual([2, expect.stringContaining(file)]);
  expect(outcomes(recorded)).toContainEqual([failed, 'failed']);
  const replayed = await runProgram(['check', '--json'], await replay(file));
  expect([replayed.code, outcomes(replayed)]).toEqual([2, outcomes(recorded)]);
});

test('a response that is retried is recorded, and replayed once', async () => {
  const file = join(directory, 'retried.json');
  simulator.set({ faults: [{ fault: 503, on: 'list', next: 1 }] });
  expect((await record(file)).code).toBe(0);
  const { exchanges } = parseRecording(await readFile(file, 'utf8'), file);
  expect(exchanges.map(({ response }) => response.status)).toEqual([200, 503, 200, 200]);
  expect((await runProgram(['check'], await replay(file))).code).toBe(0);
});

test('a file that exists or cannot be created is refused before the first request', async () => {
  simulator.clearRequests();
  const existing = join(directory, 'existing.json');
  await writeFile(existing, 'mine');
  await symlink('/nowhere', join(directory, 'link.json'));
  for (const [file, reason] of [
    [existing, 'it exists, and is not overwritten'],
    [join(directory, 'link.json'), 'it exists, and is not overwritten'],
    [join(directory, 'none', 'x.json'), 'its directory does not exist'],
    [join(existing, 'x.json'), 'ENOTDIR'],
    [directory, 'it exists, and is not overwritten'],
  ] as const) {
    const { code, stderr } = await record(file);
    expect([code, errorIn(stderr)]).toEqual([
      2,
      expect.stringContaining(`Cannot write the recording to ${file}: ${reason}`),
    ]);
  }
  expect(await readFile(existing, 'utf8')).toBe('mine');
  expect(simulator.requests).toEqual([]);
});

test('nothing is left where nothing was recorded', async () => {
  const file = join(directory, 'away.json');
  const before = await readdir(directory);
  const { code, stdout } = await record(file, { UIPATH_BASE_URL: 'http://127.0.0.1:1' });
  expect([code, stdout]).toEqual([75, expect.stringContaining('Nothing was recorded')]);
  expect(await readdir(directory)).toEqual(before);
});

test('one organization at a time is recorded', async () => {
  const organizations = await createOrganizations(['alpha', 'beta'], { events: 3 });
  const given = { ...organizations.environment, DATABASE_URL: database.url };
  try {
    const both = await runProgram(['check', '--record', join(directory, 'both.json')], given);
    expect([both.code, both.stdout]).toEqual([2, expect.stringContaining('add --organization NAME')]);
    const file = join(directory, 'beta.json');
    const args = ['check', '--record', file, '--organization', 'beta'];
    expect((await runProgram(args, given)).code).toBe(0);
    expect(await readFile(file, 'utf8')).not.toMatch(/alpha|beta/);
  } finally {
    await organizations.close();
  }
});
