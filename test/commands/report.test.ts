/** The evidence of a month: as files, checked against the database, and after both were changed. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { parseMonth, type SignedReport } from '../../src/runs/report.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, runProgram } from '../support/program.ts';

const HOSTILE = '<script>alert(1)</script>&"\'';
const rowAt = (createdOn: string, userName = 'Ana') =>
  JSON.stringify({ createdOn, category: 'User', action: 'Login', userName, auditLogDetails: '{}' });

let database: TestDatabase;
let simulator: Simulator;
let directory: string;
let client: pg.Client;
let environment: Record<string, string>;

beforeAll(async () => {
  database = await createMigratedDatabase();
  simulator = await createSimulator({
    events: 0,
    rows: [
      rowAt('2024-01-31T23:59:59.9999999Z'),
      rowAt('2024-02-01T00:00:00Z'),
      rowAt('2024-02-10T10:00:00Z', HOSTILE),
      rowAt('2024-02-29T23:59:59.9999999Z'),
      rowAt('2024-03-01T00:00:00Z'),
      rowAt('2024-03-02T00:00:00Z'),
      '{"createdOn":5,"note":"not an event"}',
    ],
  });
  directory = await mkdtemp(join(tmpdir(), 'audit-report-'));
  environment = environmentFor(simulator, database.url);
  await runProgram(['ledger', 'keygen', '--out', join(directory, 'key')], {});
  environment.EXPORT_LEDGER_KEY_FILE = join(directory, 'key');
  expect(await runProgram(['run'], environment)).toMatchObject({ code: 0 });
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await simulator.close();
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

const call = (...args: string[]) => runProgram(['report', ...args], environment, directory);

async function writeReport(name: string, month = '2024-02'): Promise<SignedReport> {
  expect(await call('--month', month, '--out', name)).toMatchObject({ code: 0 });
  return JSON.parse(await readFile(join(directory, `${name}.json`), 'utf8'));
}

async function checkChanged(report: SignedReport, edit: (report: SignedReport) => void) {
  const changed = structuredClone(report);
  edit(changed);
  await writeFile(join(directory, 'changed.json'), JSON.stringify(changed));
  return call('--check', 'changed.json');
}

describe('a month', () => {
  test.each([
    ['2024-02', '2024-02-01T00:00:00.000000Z', '2024-03-01T00:00:00.000000Z'],
    ['2024-12', '2024-12-01T00:00:00.000000Z', '2025-01-01T00:00:00.000000Z'],
    ['0001-01', '0001-01-01T00:00:00.000000Z', '0001-02-01T00:00:00.000000Z'],
  ])('%s is half-open in UTC', (month, from, to) => {
    expect(parseMonth(month)).toEqual({ from, to });
  });

  test.each(['2024-13', '2024-00', '2024-2', '0000-01', '2024', 'February'])('%s is refused', (month) => {
    expect(() => parseMonth(month)).toThrow(`found ${month}`);
  });
});

describe('a report', () => {
  test('has the events of the month alone, is complete and signed, and the database agrees', async () => {
    const { report, signature } = await writeReport('february');
    expect(report.logs).toHaveLength(1);
    expect(report.logs[0]).toMatchObject({
      ...{ events: 3, isComplete: true, rejected: [], gaps: [] },
      days: [
        { day: '2024-02-01', events: 1 },
        { day: '2024-02-10', events: 1 },
        { day: '2024-02-29', events: 1 },
      ],
    });
    expect(report.logs[0]!.verdict).toMatch(/^Complete: every event of the month that the source showed on /);
    expect(signature).toContain('uipath-audit-export/report');
    const { code, stdout } = await call('--check', 'february.json');
    expect([code, stdout]).toEqual([0, expect.stringContaining('signed by uipath-audit-export/report+')]);
  });

  test('as a page has no script and no text of a user as markup', async () => {
    await writeReport('page');
    const html = await readFile(join(directory, 'page.html'), 'utf8');
    expect(html).not.toMatch(/<script|https?:\/\/(?!c2sp)|src=/);
    expect(html).toContain('Complete: every event');
  });

  test('of a month that has not ended, or lies before the first event, says so', async () => {
    const { report } = await writeReport('future', '2999-01');
    expect(report.logs[0]!.verdict).toMatch(/^The month has not ended/);
    const early = await writeReport('early', '2020-01');
    expect(early.report.logs[0]).toMatchObject({ events: 0, isComplete: false });
  });

  test('is not overwritten without --force, and the mistakes have a remedy', async () => {
    await writeReport('once');
    expect(await call('--month', '2024-02', '--out', 'once')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--force'),
    });
    expect(await call('--month', '2024-02', '--out', 'once', '--force')).toMatchObject({ code: 0 });
    expect(await call()).toMatchObject({ code: 2, stderr: expect.stringContaining('--month') });
    await writeFile(join(directory, 'other.json'), '{"a":1}');
    expect(await call('--check', 'other.json')).toMatchObject({ code: 2 });
    expect(await call('--check', 'absent.json')).toMatchObject({ code: 2 });
  });

  const EDITS: [string, (report: SignedReport) => void][] = [
    [
      'number of events',
      ({ report }) => {
        report.logs[0]!.days[0]!.events = 2;
      },
    ],
    [
      'verdict',
      ({ report }) => {
        report.logs[0]!.verdict = 'Complete';
      },
    ],
    [
      'month',
      ({ report }) => {
        report.month = '2024-03';
      },
    ],
    [
      'head',
      ({ report }) => {
        report.logs[0]!.head = report.logs[0]!.head!.replace(/\n\w/, '\nA');
      },
    ],
    [
      'number of late events',
      ({ report }) => {
        report.logs[0]!.runs.late += 1;
      },
    ],
    [
      'signature',
      (signed) => {
        signed.signature = null;
      },
    ],
  ];
  test.each(EDITS)('with another %s is found', async (_name, edit) => {
    const report = await writeReport('edited', '2024-02').catch(async () =>
      JSON.parse(await readFile(join(directory, 'edited.json'), 'utf8')),
    );
    const { code } = await checkChanged(report, edit);
    expect([2, 3]).toContain(code);
  });

  test('without a key is not signed, and the same data that are changed are found', async () => {
    const key = environment.EXPORT_LEDGER_KEY_FILE!;
    await writeReport('signed');
    delete environment.EXPORT_LEDGER_KEY_FILE;
    expect(await call('--check', 'signed.json')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('PUBLIC_KEY'),
    });
    environment.EXPORT_LEDGER_KEY_FILE = key;
  });

  test('shows what was stored since, and finds an event that was deleted since', async () => {
    await writeReport('before');
    simulator.insertLate([rowAt('2024-02-20T00:00:00Z', 'late')]);
    expect(await runProgram(['run'], environment)).toMatchObject({ code: 0 });
    const since = await call('--check', 'before.json');
    expect([since.code, since.stdout]).toEqual([
      0,
      expect.stringContaining('1 events of the month were stored later'),
    ]);
    await client.query(`delete from audit.events where created_on = '2024-02-10T10:00:00Z'`);
    const { code, stdout } = await call('--check', 'before.json');
    expect([code, stdout]).toEqual([
      3,
      expect.stringContaining('2024-02-10: the report has 1 events, the database 0'),
    ]);
  });
});
