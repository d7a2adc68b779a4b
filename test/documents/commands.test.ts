import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { OrganizationStatus, RunRecord } from '../../src/postgres/read/status.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { coloursFor } from '../../src/terminal/screen.ts';
import { describeStatus } from '../../src/terminal/status-report.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, errorIn, runProgram } from '../support/program.ts';

/** The first block of docs/terminal.md that shows this command, without its first line. */
async function readShown(command: string): Promise<string> {
  const text = await readFile(new URL('../../docs/terminal.md', import.meta.url), 'utf8');
  // Node 20 takes --env-file for its own without the dashes.
  const program = command.includes('--env-file') ? 'node -- dist/main.js' : 'node dist/main.js';
  const start = `\`\`\`console\n$ ${program} ${command}\n`;
  const from = text.indexOf(start);
  expect([command, from]).not.toEqual([command, -1]);
  return text.slice(from + start.length, text.indexOf('```', from + start.length));
}

let database: TestDatabase;
let simulator: Simulator;

beforeAll(async () => {
  database = await createMigratedDatabase();
  simulator = await createSimulator({ events: 60_000 });
});

afterAll(async () => {
  await simulator.close();
  await database.drop();
});

/** What differs from one machine and moment to the next. */
function steady(text: string): string {
  return (
    text
      .replace(/http:\/\/127\.0\.0\.1:\d+|https:\/\/cloud\.uipath\.com/g, 'URL')
      // The tests' server has no TLS and may lose commits, which is a warning.
      .replace(/^[✓!] database {7}PostgreSQL [\s\S]*?(?=\n. migrations)/gm, '✓ database       PostgreSQL')
      .replace(/[\d,.]+ (ms|s|minutes|hours|days)\b|\d{4}-\d\d-\d\d [\d:]{8} UTC/g, 'TIME')
      .trim()
  );
}

test('docs/terminal.md shows check as it is, where all is well and where the secret is wrong', async () => {
  const environment = environmentFor(simulator, database.url);
  const { stdout } = await runProgram(['check'], environment);
  expect(steady(stdout)).toBe(steady(await readShown('check')));
  const wrong = { ...environment, UIPATH_CLIENT_SECRET: 'not-the-right-one' };
  const failed = await runProgram(['check', '--env-file', '/dev/null'], wrong);
  expect(steady(`${failed.stdout}error: ${errorIn(failed.stderr)}\n`)).toBe(
    steady(await readShown('check --env-file /dev/null')),
  );
});

const NOW = new Date('2026-03-01T12:00:00Z');
const at = (minutesAgo: number) => new Date(NOW.getTime() - minutesAgo * 60_000);

function run(runId: string, minutesAgo: number, rest: Partial<RunRecord>, inserted = 0): RunRecord {
  const startedAt = at(minutesAgo);
  const endedAt = new Date(startedAt.getTime() + 400);
  const counters = { pages: 2, requests: 2, retries: 0, rowsRead: inserted, inserted, updated: 0 };
  return {
    runId,
    kind: 'run',
    startedAt,
    endedAt,
    outcome: 'succeeded',
    error: null,
    warnings: [],
    counters: { ...counters, unchanged: 120, rejected: 0, late: 0, superseded: 0 },
    from: null,
    to: null,
    worker: 'worker-1',
    ...rest,
  };
}

function organization(name: string, runs: RunRecord[], lastSuccess: number): OrganizationStatus {
  return {
    organization: name,
    log: 'classic',
    watermark: { ticks: 0n, raw: '2026-03-01T11:58:12.1234567Z' },
    newestEventAt: new Date('2026-03-01T11:58:12Z'),
    newestEventAgeMs: 108_000,
    lastSuccessAt: at(lastSuccess),
    sourceTotal: 60_412,
    stored: 60_412,
    rejected: 0,
    lastRejectedAt: null,
    gapCount: 0,
    gaps: [],
    completeness: {
      ...{
        state: 'complete',
        reason: null,
        missing: null,
        provenAt: at(lastSuccess),
        assessedAt: at(lastSuccess),
      },
      ...{ suspected: 0, gone: 0, recentlyGone: 0, lastGoneAt: null },
    },
    verification: {
      ...{ last: null, lastCleanAt: null },
      ...{ differences: {}, differencesAt: null, differencesScope: null },
    },
    goneEvents: [],
    coverage: [
      { from: new Date('2024-01-01T00:00:00Z'), to: at(2), provenAt: at(lastSuccess), verifiedAt: null },
    ],
    runs,
  };
}

test('docs/terminal.md shows status as it is', async () => {
  const refused = {
    outcome: 'failed',
    error:
      'No token: https://cloud.uipath.com/beta/identity_/connect/token responded with HTTP 400 "invalid_client". Check ' +
      'UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET (the secret may have expired), and UIPATH_TOKEN_URL.',
  } as const;
  const names = ['acme', 'beta', 'gamma', '株式会社テスト'];
  const report = {
    readAt: NOW,
    migrations: { applied: ['a', 'b', 'c'], pending: [] },
    organizations: names.map((name) =>
      name === 'beta'
        ? organization(name, [run('41', 4, refused), run('37', 9, {}, 8)], 9)
        : organization(name, [run('40', 4, {}, 12)], 4),
    ),
  };
  const { isTTY, columns } = process.stdout;
  Object.assign(process.stdout, { isTTY: true, columns: 90 });
  try {
    const lines = describeStatus(
      report as Parameters<typeof describeStatus>[0],
      coloursFor({ NO_COLOR: '1' }),
    );
    const [overview, , beta] = lines.join('\n').split(/\n\n(?=[✓!✗])/);
    expect(`${overview}\n\n…\n\n${beta}\n`).toBe(await readShown('status'));
  } finally {
    Object.assign(process.stdout, { isTTY, columns });
  }
});
