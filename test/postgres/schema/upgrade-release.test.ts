/** Databases of earlier releases (test/fixtures), migrated: nothing is lost, every recorded ledger entry is still valid, and the export continues. */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { makeEvent } from '../../../src/simulator/events.ts';
import { createSimulator } from '../../../src/simulator/simulator.ts';
import { type Contents, readContents, type Sum, sumsOf } from '../../fixtures/contents.ts';
import { storedFieldsOf } from '../../support/compare.ts';
import {
  createTestDatabase,
  createTestLogin,
  type TestDatabase,
  type TestLogin,
} from '../../support/database.ts';
import { environmentFor, runProgram } from '../../support/program.ts';
import { expectCounted } from '../../support/roll-ups.ts';

const FIXTURES = new URL('../../fixtures/', import.meta.url);
const RELEASES = readdirSync(FIXTURES).flatMap((name) => /^database-(.*)\.sql$/.exec(name)?.[1] ?? []);

/**
 * Rows that the release rejected and that this version reads, by organization: forms of createdOn (eight digits of a second, `+0000`, a space for
 * the T). The dump of 0.2.0 was made from a list that has more of these forms.
 */
const NOW_READABLE: Record<string, Record<string, number>> = { '0.1.0': { acme: 1 }, '0.2.0': { acme: 9 } };

interface Facts {
  heads: string[];
  sums: Record<string, Sum>;
}

// biome-ignore lint/suspicious/noExplicitAny: a row of any table
type Stored = Record<string, any>;

const textOf = (name: string) => readFileSync(new URL(name, FIXTURES), 'utf8');

test('there is a database of each release in the changelog', () => {
  const changelog = readFileSync(new URL('../../../CHANGELOG.md', import.meta.url), 'utf8');
  const released = Array.from(changelog.matchAll(/^## \[(\d[^\]]*)\]/gm), ([, version]) => version!);
  expect(released).toContain('0.1.0');
  expect([...RELEASES].sort()).toEqual(released.sort());
});

describe.each(RELEASES)('a database of release %s', (release) => {
  const facts: Facts = JSON.parse(textOf(`database-${release}.json`));
  const nowReadable = NOW_READABLE[release] ?? {};
  const organizations = [...new Set(facts.heads.map((head) => head.split('/')[0]!))];
  let database: TestDatabase;
  let owner: TestLogin;
  let client: pg.Client;
  let before: Contents;

  // As its owner, who is no superuser and may create no role: what an administrator gives to the worker.
  beforeAll(async () => {
    database = await createTestDatabase();
    owner = await createTestLogin(database);
    await withClient(database.url, (admin) =>
      admin.query(`alter database ${new URL(database.url).pathname.slice(1)} owner to ${owner.name}`),
    );
    client = new pg.Client({ connectionString: owner.url });
    await client.connect();
    await client.query(textOf(`database-${release}.sql`));
    before = await readContents(client);
  });
  afterAll(async () => {
    await client?.end();
    // Roles are the server's: what the role owns must go first.
    await withClient(database.url, (admin) => admin.query(`reassign owned by ${owner.name} to current_user`));
    await owner.drop();
    await database.drop();
  });

  const program = (...args: string[]) => runProgram(args, { DATABASE_URL: owner.url });

  test('is loaded completely', () => {
    expect(sumsOf(before)).toEqual(facts.sums);
  });

  test('is migrated', async () => {
    expect(await program('migrate')).toMatchObject({ code: 0 });
  });

  test('keeps every event, ledger entry and rejected row unchanged', async () => {
    expect(withoutNewColumns(await readContents(client), before)).toEqual(before);
  });

  test('contains every ledger entry that was recorded', async () => {
    for (const head of facts.heads) {
      const { code, stdout, stderr } = await program('verify', '--offline', '--expect', head);
      expect({ head, code, said: code === 0 ? '' : stdout + stderr }).toEqual({ head, code: 0, said: '' });
    }
  });

  test('has roll-ups that equal a recount', async () => {
    await expectCounted({ query: async (text) => (await client.query(text)).rows });
  });

  test('is described by status', async () => {
    const { code, stdout, stderr } = await program('status', '--json');
    expect([code, stderr]).toEqual([0, '']);
    const stored = JSON.parse(stdout).organizations.map(
      ({ organization }: { organization: string }) => organization,
    );
    expect(stored.sort()).toEqual([...organizations].sort());
  });

  test.each(organizations)('is continued by a run of %s from its watermark', async (organization) => {
    const [watermark] = await query('select * from audit.watermarks where organization = $1', [organization]);
    const gaps = await query('select * from audit.gaps where organization = $1', [organization]);
    const simulator = await createSimulator({ organization, rows: await sourceRowsOf(organization) });
    try {
      simulator.append([loginAfter(watermark)]);
      const { code, stderr } = await runProgram(['run'], environmentFor(simulator, owner.url));
      expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
    } finally {
      await simulator.close();
    }
    const runs = await query('select * from audit.runs where organization = $1 order by run_id desc', [
      organization,
    ]);
    const newest = runs[0]!;
    expect(newest).toMatchObject({
      kind: 'run',
      outcome: 'succeeded',
      rows_inserted: String(1 + (nowReadable[organization] ?? 0)),
      rows_updated: '0',
    });
    // It read the lookback again, not the whole list; and found that the process of the open run is gone.
    expect(Number(newest.rows_read)).toBeLessThan(simulator.length / 2);
    expect(newest.from_ticks).not.toBeNull();
    expect(runs.filter(({ outcome }) => outcome === null)).toEqual([]);
    expect(await query('select * from audit.gaps where organization = $1', [organization])).toEqual(gaps);
  });

  test('is still complete after that', async () => {
    const ids = new Set(before.events!.map(({ event_id: id }) => id));
    const after = await readContents(client);
    const events = after.events!.filter(({ event_id: id }) => ids.has(id));
    expect(withoutNewColumns({ events }, before)).toEqual({ events: before.events });
    const rejectedBefore = Object.values(nowReadable).reduce((sum, rows) => sum + rows, 0);
    expect(after.events!.length - events.length).toBe(organizations.length + rejectedBefore);
    for (const head of facts.heads) {
      expect(await program('verify', '--offline', '--expect', head)).toMatchObject({ code: 0 });
    }
    await expectCounted({ query: async (text) => (await client.query(text)).rows });
  });

  async function query(text: string, values: unknown[]): Promise<Stored[]> {
    return (await client.query(text, values)).rows;
  }

  /** The source's list as far as it was stored: the rows after the last gap, where it had deleted older ones, and what was rejected. */
  async function sourceRowsOf(organization: string): Promise<string[]> {
    const events = await query(
      `select *, extra::text as extra from audit.events where organization = $1 and created_on >= coalesce(
         (select max(to_at) from audit.gaps where organization = $1), '-infinity')`,
      [organization],
    );
    const rejected = await query('select source_text from audit.rejected_events where organization = $1', [
      organization,
    ]);
    const readable = rejected.filter(({ source_text: text }) => !text.includes('\ufffd'));
    return [...events.map(renderRow), ...readable.map(({ source_text: text }) => text)];
  }
});

/** Migrations add columns; every other one must be there, and hold what it held. */
function withoutNewColumns(after: Contents, before: Contents): Contents {
  const known = (table: string, row: object) =>
    Object.fromEntries(Object.entries(row).filter(([column]) => column in before[table]![0]!));
  return Object.fromEntries(
    Object.entries(after).map(([table, rows]) => [table, rows.map((row) => known(table, row))]),
  );
}

function renderRow(row: Stored): string {
  if (row.raw !== null) return row.raw;
  const values: unknown[] = JSON.parse(storedFieldsOf(row));
  const [createdOn, category, action, details, userName, email, message, version, source] = values;
  const event = { createdOn, category, action, auditLogDetails: details, userName, email, message };
  return JSON.stringify({ ...event, detailsVersion: version, source, ...JSON.parse(row.extra ?? '{}') });
}

/** One minute after the watermark; or after the last reading, where the newest event is dated in the future. */
function loginAfter(watermark: Stored | undefined): string {
  const newest = Math.min(watermark!.created_on.getTime(), watermark!.read_at.getTime());
  const createdOn = new Date(newest + 60_000).toISOString();
  return JSON.stringify(makeEvent('login', { createdOn, variant: 3 }));
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
