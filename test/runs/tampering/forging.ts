/** Changes of events, with and without an entry of the ledger that lists them. */
import type pg from 'pg';
import { appendEntry, type Draft, hashOfEvent, keyOf } from './attacker.ts';
import { OF } from './attempt.ts';
import { TARGET } from './stage.ts';

export const EVENT_ID = `(select event_id from audit.events where ${OF} order by created_on offset 15 limit 1)`;
export const THIS_EVENT = `${OF} and event_id = ${EVENT_ID}`;
export const EVENTS = 50;

/** Columns that the worker may update, with a changed value. */
export const UPDATABLE: Record<string, string> = {
  user_name: `coalesce(user_name, '') || '!'`,
  email: `coalesce(email, '') || '!'`,
  message: `coalesce(message, '') || '!'`,
  created_on_raw: `created_on_raw || ' '`,
  extra: `'{"more": 1}'`,
  raw: `'{}'`,
  updated_at: `updated_at + interval '1 microsecond'`,
  superseded_by: 'gen_random_uuid()',
};
export const FIXED: Record<string, string> = {
  created_on_ticks: 'created_on_ticks + 1',
  category: `coalesce(category, '') || '!'`,
  action: `coalesce(action, '') || '!'`,
  source: `coalesce(source, '') || '!'`,
  details_version: `coalesce(details_version, '') || '!'`,
  details_raw: `coalesce(details_raw, '') || ' '`,
  details: `'{"userName": "somebody else"}'`,
  ordinal: 'ordinal + 1',
  run_id: 'run_id + 1',
  first_seen_at: `first_seen_at - interval '1 second'`,
};
export const MOVING: Record<string, string> = {
  event_id: 'gen_random_uuid()',
  created_on: `created_on - interval '900 days'`,
  batch: `(select max(batch) from audit.ledger where ${OF} and kind = 'stored')`,
  organization: `'other'`,
  log: `'another'`,
};
/** All columns of audit.events: the test compares them with the catalog. */
export const EVENT_COLUMNS = [...Object.keys(UPDATABLE), ...Object.keys(FIXED), ...Object.keys(MOVING)];

/** Inserts a copy of an event with other values. */
export const forge = (values: Record<string, string>) => {
  const all: Record<string, string> = { event_id: 'gen_random_uuid()', message: `'forged'`, ...values };
  const columns = EVENT_COLUMNS.join(', ');
  const selected = EVENT_COLUMNS.map((column) => all[column] ?? column).join(', ');
  return `insert into audit.events (${columns}) select ${selected} from audit.events where ${THIS_EVENT}`;
};

const idOfEvent = async (client: pg.Client, which = EVENT_ID) =>
  (await client.query<{ id: string }>(`select ${which} as id`)).rows[0]!.id;
const batchOf = async (client: pg.Client, eventId: string) =>
  (await client.query<{ batch: string }>('select batch from audit.events where event_id = $1', [eventId]))
    .rows[0]!.batch;

/** Changes a name, and files it as a change. `append`: how. */
export const rename =
  (file: (client: pg.Client, change: NonNullable<Draft['changes']>[number]) => Promise<unknown>) =>
  async (client: pg.Client) => {
    const event_id = await idOfEvent(client);
    const old_digest = await hashOfEvent(client, TARGET, event_id);
    await client.query(`update audit.events set user_name = 'Former Name' where ${THIS_EVENT}`);
    const new_digest = await hashOfEvent(client, TARGET, event_id);
    await file(client, { event_id, row_batch: await batchOf(client, event_id), old_digest, new_digest });
  };

/** As `forgeWithEntry`, of a change. */
export const appendChange = async (client: pg.Client, change: NonNullable<Draft['changes']>[number]) => {
  const run_id = await addRun(client, { inserted: 0, updated: 1 });
  await appendEntry(client, TARGET, { ...changedEntry(change), run_id });
};

export const changedEntry = (change: NonNullable<Draft['changes']>[number]): Draft => ({
  kind: 'changed',
  rows: [{ key: keyOf(change.event_id), hash: change.new_digest }],
  changes: [change],
});

/** A run that has counted what an entry lists. Returns its number. */
async function addRun(client: pg.Client, counters: { inserted: number; updated: number }): Promise<string> {
  const { rows } = await client.query<{ run_id: string }>(
    // Reads the clock: as the worker does.
    `insert into audit.runs (organization, log, kind, worker, ended_at, outcome, rows_read, rows_inserted, rows_updated)
     values ('acme', 'classic', 'run', 'worker', now(), 'succeeded', $1::int + $2::int, $1, $2) returning run_id`,
    [counters.inserted, counters.updated],
  );
  return rows[0]!.run_id;
}

/** A forged event with the entry that lists it. */
export const forgeWithEntry =
  (draft: Partial<Draft> = {}) =>
  async (client: pg.Client) => {
    const { rows } = await client.query<{ next: string }>(
      `select coalesce(max(batch), 0) + 1 as next from audit.ledger where ${OF}`,
    );
    const forged = '00000000-0000-4000-8000-000000000001';
    const run_id = await addRun(client, { inserted: 1, updated: 0 });
    await client.query(forge({ event_id: `'${forged}'`, batch: rows[0]!.next, run_id }));
    const { rows: times } = await client.query<{ at: string }>(
      `select to_char(created_on at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from audit.events where event_id = $1`,
      [forged],
    );
    const hash = await hashOfEvent(client, TARGET, forged);
    const span = { from_at: times[0]!.at, to_at: times[0]!.at };
    await appendEntry(client, TARGET, {
      kind: 'stored',
      rows: [{ key: keyOf(forged), hash }],
      ...{ ...span, run_id, ...draft },
    });
  };
