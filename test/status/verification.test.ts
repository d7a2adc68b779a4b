/** The last verify reads the same everywhere: status, status --json, page, metrics and bi.export_health. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { createPool, type Pool } from '../../src/postgres/connection/pool.ts';
import { readStatus } from '../../src/postgres/read/status.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { renderPage } from '../../src/status/page/page.ts';
import { coloursFor } from '../../src/terminal/screen.ts';
import { describeStatus } from '../../src/terminal/status-report.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { activity } from './support.ts';

const NOW = new Date('2026-03-01T12:00:00Z');

let database: TestDatabase;
let pool: Pool;
let sql: pg.Pool;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = createPool(database.url, () => {});
  sql = new pg.Pool({ connectionString: database.url });
});
afterAll(async () => {
  await pool.end();
  await sql.end();
  await database.drop();
});

interface Result {
  scope?: 'offline' | 'online';
  outcome: 'clean' | 'differences' | 'failed';
  differences?: Record<string, number>;
  error?: string;
  /** A half-open range of days of January. */
  range?: [from: number, to: number];
  hoursAgo: number;
}

const january = (day: number) => `2026-01-${String(day).padStart(2, '0')}T00:00:00Z`;

interface Case {
  results: Result[];
  /** What is shown, when verify last ended and was last clean, in hours before now. */
  shown: string;
  last: number | null;
  clean: number | null;
  differences: Record<string, number>;
}

const found = { outcome: 'differences', differences: { missing: 2, state: 1 } } as const;
const CASES: Record<string, Case> = {
  never: { results: [], shown: 'never', last: null, clean: null, differences: {} },
  clean: {
    results: [{ outcome: 'clean', hoursAgo: 2 }],
    ...{ shown: 'no differences (offline)', last: 2, clean: 2, differences: {} },
  },
  different: {
    results: [
      { outcome: 'clean', hoursAgo: 5 },
      { ...found, scope: 'online', hoursAgo: 2 },
    ],
    ...{ shown: '2 missing, 1 state (online)', last: 2, clean: 5, differences: found.differences },
  },
  'cleared-by-online': {
    results: [
      { ...found, hoursAgo: 5 },
      { outcome: 'clean', scope: 'online', hoursAgo: 2 },
    ],
    ...{ shown: 'no differences (online)', last: 2, clean: 2, differences: {} },
  },
  'not-cleared-by-offline': {
    results: [
      { ...found, scope: 'online', hoursAgo: 5 },
      { outcome: 'clean', hoursAgo: 2 },
    ],
    ...{ shown: '2 missing, 1 state (online)', last: 2, clean: 2, differences: found.differences },
  },
  'not-cleared-by-a-part': {
    results: [
      { ...found, scope: 'online', range: [1, 20], hoursAgo: 5 },
      { outcome: 'clean', scope: 'online', range: [5, 10], hoursAgo: 2 },
    ],
    ...{ shown: '2 missing, 1 state (online)', last: 2, clean: null, differences: found.differences },
  },
  'cleared-by-a-longer-range': {
    results: [
      { ...found, scope: 'online', range: [5, 10], hoursAgo: 5 },
      { outcome: 'clean', scope: 'online', range: [1, 20], hoursAgo: 2 },
    ],
    ...{ shown: 'no differences (online)', last: 2, clean: null, differences: {} },
  },
  'replaced-by-fewer': {
    results: [
      { ...found, hoursAgo: 5 },
      { outcome: 'differences', differences: { edited: 1 }, hoursAgo: 2 },
    ],
    ...{ shown: '1 edited (offline)', last: 2, clean: null, differences: { edited: 1 } },
  },
  failed: {
    results: [
      { outcome: 'clean', hoursAgo: 5 },
      { outcome: 'failed', scope: 'online', error: 'no response', hoursAgo: 2 },
    ],
    ...{ shown: 'failed (online): no response', last: 2, clean: 5, differences: {} },
  },
};

const hoursAgo = (hours: number) => new Date(NOW.getTime() - hours * 3_600_000);

async function store(organization: string, results: readonly Result[]): Promise<void> {
  await sql.query(`insert into audit.watermarks (organization) values ($1)`, [organization]);
  for (const {
    scope = 'offline',
    outcome,
    differences = {},
    error = null,
    range,
    hoursAgo: hours,
  } of results) {
    const at = hoursAgo(hours);
    const bounds = range?.map(january) ?? [null, null];
    await sql.query(
      `insert into audit.verifications
         (organization, log, scope, from_at, to_at, started_at, ended_at, outcome, error, differences, version)
       values ($1, 'classic', $2, $3, $4, $5, $5, $6, $7, $8, 'test')`,
      [organization, scope, ...bounds, at, outcome, error, JSON.stringify(differences)],
    );
  }
}

test.each(Object.entries(CASES))('%s', async (organization, { results, shown, last, clean, differences }) => {
  await store(organization, results);
  const report = await readStatus(pool, [organization], NOW);
  const [status] = report.organizations;
  const at = (hours: number | null) => (hours === null ? null : hoursAgo(hours));
  expect(status!.verification).toMatchObject({ lastCleanAt: at(clean), differences });
  expect(status!.verification.last?.endedAt ?? null).toEqual(at(last));

  const text = describeStatus(report, coloursFor({ NO_COLOR: '1' })).join('\n');
  expect(text).toContain(`Last verify       ${shown}`);
  const isDifferent = Object.keys(differences).length > 0;
  expect(text.includes('found')).toBe(isDifferent);

  const page = renderPage({
    ...{ health: createHealth([organization]).read(), report, problem: undefined, wanted: undefined },
    ...{ activity: activity(), nextRunAt: undefined, droppedLogLines: 0, now: NOW },
  });
  // Without the reason of a failure: the page needs no login.
  if (shown !== 'never') expect(page).toContain(shown.split(':')[0]!.replace(/ \(online\)$/, ''));
  expect(page).not.toContain('no response');

  const { rows } = await sql.query(
    `select last_verify_at, last_verify_scope, last_verify_outcome, last_clean_verify_at, verify_differences
     from bi.export_health where organization = $1`,
    [organization],
  );
  expect(rows[0]).toMatchObject({
    ...{ last_verify_at: at(last), last_clean_verify_at: at(clean), verify_differences: differences },
    last_verify_outcome: results.at(-1)?.outcome ?? null,
  });

  const metrics = createMetrics();
  metrics.observeStatus(report);
  const samples = (await metrics.render()).text;
  const sample = (name: string, labels: string) =>
    new RegExp(`^uipath_audit_export_${name}\\{${labels}\\} (\\S+)$`, 'm').exec(samples)?.[1];
  const label = `organization="${organization}"`;
  const success = sample('verify_last_success_timestamp_seconds', label);
  expect(success).toBe(clean === null ? undefined : String(at(clean)!.getTime() / 1000));
  const missing = sample('verify_differences', `${label},kind="missing"`);
  expect(missing).toBe(last === null ? undefined : String(differences.missing ?? 0));
});
