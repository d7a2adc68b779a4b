/** The state of completeness reads the same everywhere: status, status --json, page, metrics and bi.export_health. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createLog } from '../../src/log.ts';
import { createPool, type Pool } from '../../src/postgres/connection/pool.ts';
import { readActivity } from '../../src/postgres/read/activity.ts';
import { readStatus } from '../../src/postgres/read/status.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer, type StatusServer } from '../../src/status/server.ts';
import {
  createMigratedDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../support/database.ts';
import { runProgram } from '../support/program.ts';

/** What the core stores in audit.watermarks, and the state and reason that everybody reads. */
interface Case {
  completeness: string | null;
  reason?: string;
  missing?: number;
  hasGap?: boolean;
  /** By an earlier count. */
  isOnceProven?: boolean;
  expected: [state: string, reason: string | null];
}

const UNREAD = 'events may have been deleted at the source before they were read; see audit.gaps';
const CASES: Record<string, Case> = {
  'never-counted': { completeness: null, expected: ['not proven', 'no run has counted the events yet'] },
  proven: { completeness: 'complete', expected: ['complete', null] },
  moving: {
    ...{ completeness: 'not proven', reason: 'the list is moving' },
    expected: ['not proven', 'the list is moving'],
  },
  'not-stored': {
    ...{ completeness: 'incomplete', missing: 3, reason: 'a tie is larger than a page' },
    expected: ['complete but for 3', 'a tie is larger than a page'],
  },
  'not-listed': {
    ...{ completeness: 'incomplete', missing: -1200, isOnceProven: true },
    expected: ['complete but for 1200', null],
  },
  'without-number': {
    ...{ completeness: 'incomplete', reason: 'the search ended' },
    expected: ['not proven', 'the search ended'],
  },
  replaced: {
    ...{ completeness: 'source changed', missing: 3, reason: '83 of 90 events are not listed' },
    expected: ['source changed', '83 of 90 events are not listed'],
  },
  'with-gap': { completeness: 'complete', hasGap: true, expected: ['gap', UNREAD] },
  'moving-with-gap': {
    ...{ completeness: 'not proven', reason: 'budget used up', hasGap: true },
    expected: ['not proven', 'budget used up'],
  },
};
const STATES = ['complete', 'not proven', 'complete but for N', 'source changed', 'gap'];

let database: TestDatabase;
let login: TestLogin;
let pool: Pool;
let reader: pg.Pool;
let server: StatusServer;
let text: string;
let json: { organizations: Record<string, unknown>[] };
let metrics: string;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = createPool(database.url, () => {});
  for (const [organization, given] of Object.entries(CASES)) {
    const {
      completeness,
      reason,
      missing,
      hasGap = false,
      isOnceProven = completeness === 'complete',
    } = given;
    await pool.query(
      `insert into audit.watermarks (organization, created_on, completeness, completeness_reason, missing_events, proven_at, source_total)
       values ($1, '2026-01-01Z', $2, $3, $4, case when $5 then timestamptz '2026-01-02Z' end, 777)`,
      [organization, completeness, reason ?? null, missing ?? null, isOnceProven],
    );
    // Reads the clock: the time is written only, and compared with the clock that the program reads.
    await pool.query(
      `insert into audit.runs (organization, log, kind, started_at, ended_at, outcome) values ($1, 'classic', 'run', now(), now(), 'succeeded')`,
      [organization],
    );
    await pool.query(
      `insert into audit.coverage (organization, from_ticks, to_ticks, from_at, to_at)
       select $1, n * 100, n * 100 + 50, timestamptz '2026-01-01Z' + n * interval '1 hour', timestamptz '2026-01-01 00:30Z' + n * interval '1 hour'
       from generate_series(1, $2) n`,
      [organization, hasGap ? 2 : 1],
    );
  }
  login = await createTestLogin(database, 'audit_reader');
  reader = new pg.Pool({ connectionString: login.url });
  server = await createStatusServer({
    ...{ host: '127.0.0.1', port: 0, health: createHealth(Object.keys(CASES)), metrics: createMetrics() },
    ...{ log: createLog({ level: 'silent' }), nextRunAt: () => undefined },
    readStatus: () => readStatus(pool),
    readActivity: (key) => readActivity(pool, key),
  });
  const environment = { DATABASE_URL: database.url };
  text = (await runProgram(['status'], environment)).stdout;
  json = JSON.parse((await runProgram(['status', '--json'], environment)).stdout);
  metrics = await (await fetch(`${server.url}/metrics`)).text();
});

afterAll(async () => {
  await server.close();
  await reader.end();
  await pool.end();
  await login.drop();
  await database.drop();
});

const describeCase = ([state, reason]: Case['expected']) => state + (reason === null ? '' : `: ${reason}`);

async function pageOf(organization: string): Promise<string> {
  const html = await (await fetch(`${server.url}/?organization=${organization}`)).text();
  return html.slice(html.indexOf('<main>'), html.indexOf('</main>'));
}

/** The part of `status` on an organization. */
function textOf(organization: string): string {
  const parts = text.split(/^(?=[✓!✗] )/m);
  return parts.find((part) => part.slice(2).startsWith(`${organization}  `)) ?? '';
}

function sampleOf(name: string, labels: string): number | undefined {
  const line = metrics
    .split('\n')
    .find((candidate) => candidate.startsWith(`uipath_audit_export_${name}{${labels}} `));
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

describe.each(Object.entries(CASES))('%s', (organization, { expected, missing, isOnceProven = false }) => {
  const [state, reason] = expected;

  test('is read in bi.export_health by a dashboard', async () => {
    const { rows } = await reader.query(
      'select completeness, completeness_reason from bi.export_health where organization = $1',
      [organization],
    );
    expect(rows).toEqual([{ completeness: state, completeness_reason: reason }]);
  });

  test('is read in status', () => {
    const line =
      /^ {2}Completeness {6}(.*?)(?: {2}\((.*) \d+ days ago\))?$/m.exec(textOf(organization)) ?? [];
    const [, shown, proven] = line;
    expect(shown).toBe(describeCase(expected));
    const isProven = ['complete', 'gap'].includes(state);
    expect(proven).toBe(isProven ? 'proven' : isOnceProven ? 'last proven' : undefined);
  });

  test('is read in status --json', () => {
    const found = json.organizations.find((one) => one.organization === organization);
    expect(found?.completeness).toMatchObject({ state, reason, missing: missing ?? null });
  });

  test('is read on the page', async () => {
    const [, shown] = /<p class="state">(.*?)<\/p>/.exec(await pageOf(organization)) ?? [];
    expect(shown?.replace(/<.*?>/g, '')).toBe(describeCase(expected));
  });

  test('is read in the metrics', () => {
    const label = state.replace(/\d+$/, 'N');
    const of = `organization="${organization}"`;
    const values = STATES.map((name) => sampleOf('completeness', `${of},state="${name}"`));
    expect(values).toEqual(STATES.map((name) => Number(name === label)));
    const counted = ['complete', 'gap'].includes(state) ? 0 : undefined;
    expect(sampleOf('missing_events', of)).toBe(label.endsWith('N') ? missing : counted);
  });

  test('is called complete nowhere else', async () => {
    if (state.startsWith('complete')) return;
    expect(textOf(organization)).not.toMatch(/\bcomplete\b/i);
    expect((await pageOf(organization)).replace(/<[^>]*>/g, ' ')).not.toMatch(/\bcomplete\b/i);
  });
});

test('only a proven copy is good', () => {
  const marks = Object.keys(CASES).map((organization) => [organization, textOf(organization)[0]]);
  expect(Object.fromEntries(marks)).toEqual({
    ...Object.fromEntries(Object.keys(CASES).map((organization) => [organization, '!'])),
    ...{ proven: '✓', replaced: '✗' },
  });
});
