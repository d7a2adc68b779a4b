/**
 * Whether verify finds exactly what was done to the table: of 100,000 events 50 are deleted, 50 edited and 5 forged.
 *   npm run build && node bench/verify.js [--events 100000]
 * Uses a PostgreSQL of its own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { acquireEmbeddedPostgres } from '../dist/postgres/embedded.js';
import { environmentFor, runJson, startSimulator, TREE } from './simulated.js';

const { values } = parseArgs({ options: { events: { type: 'string', default: '100000' } } });
const EDITS = [
  `user_name = 'Nobody'`,
  `message = null`,
  `action = 'Logout'`,
  `details_raw = coalesce(details_raw, '') || ' '`,
  `details = '{"userName": "somebody else"}'`,
];
const COPIED = `organization, batch, run_id, created_on, created_on_ticks, created_on_raw, category, action, source, user_name,
  email, message, details_version, details_raw, details, ordinal, first_seen_at, updated_at`;

const directory = mkdtempSync(join(tmpdir(), 'audit-verify-'));
const database = await acquireEmbeddedPostgres({ directory: join(directory, 'postgres'), log: () => {} });
const simulator = await startSimulator(values.events);
const client = new pg.Client({ connectionString: database.connectionString });
try {
  await client.connect();
  const environment = { ...environmentFor(simulator.url, 'acme'), DATABASE_URL: database.connectionString };
  const run = (...args) => runJson(TREE, args, { cwd: directory, environment });
  run('backfill');
  show('before', run('verify'));
  await tamper();
  show('50 deleted, 50 edited, 5 forged', run('verify'));
  show('the same, after --repair', run('verify', '--repair'));
} finally {
  await client.end();
  simulator.stop();
  await database.release();
  rmSync(directory, { recursive: true, force: true });
}

/** Rows are picked by a hash of their id, so that they lie anywhere and each run picks the same. */
async function tamper() {
  await client.query(`create temp table picked as select event_id, created_on,
    row_number() over (order by md5(event_id::text)) as place from audit.events`);
  const those = (from, to) => `using picked p where p.event_id = e.event_id and p.created_on = e.created_on
    and p.place between ${from} and ${to}`;
  await client.query(`delete from audit.events e ${those(1, 50)}`);
  for (const [i, edit] of EDITS.entries()) {
    const which = those(51 + i * 10, 60 + i * 10).replace('using', 'from');
    await client.query(`update audit.events e set ${edit} ${which}`);
  }
  await client.query(`insert into audit.events (event_id, ${COPIED})
    select gen_random_uuid(), ${COPIED} from audit.events order by created_on limit 5`);
}

function show(title, { organizations: [{ source, ledger }] }) {
  const { missing, changed, gone } = source.counts;
  const { edited, deleted, inserted, broken, mended } = ledger.counts;
  console.log(`${title}
  against the source: ${source.events} events, ${missing} missing, ${changed} changed, ${gone} gone, ${source.repaired} repaired
  against the ledger: ${edited} edited, ${deleted} deleted, ${inserted} inserted, ${broken} broken, ${mended} mended since`);
}
