/** Attempts on audit.ledger and audit.ledger_changes, and on its signatures. */
import { generateKeyPairSync } from 'node:crypto';
import type pg from 'pg';
import { appendEntry, rewriteChain, signHead } from './attacker.ts';
import { type Attempt, EVERYONE, each, OF, OWNER } from './attempt.ts';
import { appendChange, changedEntry, EVENTS, forge, forgeWithEntry, rename, THIS_EVENT } from './forging.ts';
import { type Counts, type Stage, setBack, TARGET, tablesOf } from './stage.ts';

const attackersKey = generateKeyPairSync('ed25519').privateKey;
const ENTRY = `${OF} and batch = (select max(batch) from audit.ledger where ${OF} and kind = 'stored')`;
const HEAD = `${OF} and batch = (select max(batch) from audit.ledger where ${OF})`;

/** Deletes the newest commits, with the events that they stored, and sets the coverage back. */
async function cutOff(client: pg.Client, { noted }: Stage): Promise<void> {
  const { rows } = await client.query<{ batch: string }>(
    `select min(batch) as batch from audit.ledger where ${OF} and kind = 'stored' and batch > $1`,
    [String(noted.earlier.batch)],
  );
  for (const table of ['events', 'ledger'])
    await client.query(`delete from audit.${table} where ${OF} and batch > ${rows[0]!.batch}`);
  await setBack(client, 'earlier', ['coverage']);
}

/** The counters of runs, as the entries that are left say. */
const COUNT_RUNS = `
  update audit.runs r set rows_inserted = inserted, rows_updated = changed, rows_read = inserted + changed + rows_unchanged + rows_rejected
  from (
    select run_id, sum(rows_inserted) as inserted, coalesce(sum(rows_changed) filter (where kind = 'changed'), 0) as changed
    from audit.ledger where ${OF} group by run_id
  ) entries
  where r.run_id = entries.run_id`;

/** Columns with a changed value, and what is found. */
const LEDGER_COLUMNS: Record<string, [value: string, found: Counts, signed: Counts]> = {
  run_id: ['run_id + 1', { broken: 1 }, { broken: 1 }],
  committed_at: [`committed_at + interval '1 second'`, { broken: 1 }, { broken: 1 }],
  from_at: [`from_at - interval '1 second'`, { broken: 1 }, { broken: 1 }],
  to_at: [`to_at + interval '1 second'`, { broken: 1 }, { broken: 1 }],
  rows_inserted: ['rows_inserted + 1', { broken: 1 }, { broken: 1 }],
  rows_changed: ['rows_changed + 1', { broken: 1 }, { broken: 1 }],
  inserted: [`overlay(inserted placing 'x' from 40)`, { broken: 1, edited: 1 }, { broken: 1, edited: 1 }],
  previous_digest: [`sha256('x')`, { broken: 2 }, { broken: 2 }],
  digest: [`sha256('x')`, { broken: 5 }, { broken: 9 }],
  format: ['3', { broken: 2, edited: 3 }, { broken: 2, edited: 3 }],
  kind: [`'retired'`, { broken: 1 }, { broken: 1 }],
  facts: [`'x'`, { broken: 1 }, { broken: 1 }],
  peaks: [`sha256('x')`, { broken: 1 }, { broken: 1 }],
};

export const LEDGER_ATTEMPTS: Attempt[] = [
  ...each(
    Object.fromEntries(
      Object.entries(LEDGER_COLUMNS).map(([column, [value, found, signed]]) => [
        column,
        { play: `update audit.ledger set ${column} = ${value} where ${ENTRY}`, found, signed },
      ]),
    ),
    { row: 'An entry of the ledger edited in any column', by: OWNER, found: { broken: 1 } },
  ),
  {
    row: 'An entry deleted',
    by: OWNER,
    play: `delete from audit.ledger where ${ENTRY}`,
    found: { broken: 1, inserted: 3 },
    signed: { broken: 2, inserted: 3 },
  },
  {
    row: 'All entries deleted, and the events left',
    by: OWNER,
    play: `delete from audit.ledger where ${OF}; delete from audit.ledger_changes where ${OF}`,
    found: { inserted: EVENTS },
  },
  {
    row: 'A change deleted from `audit.ledger_changes`',
    by: OWNER,
    play: `delete from audit.ledger_changes where ${THIS_EVENT}`,
    found: { broken: 1, edited: 1 },
  },
  ...each(
    {
      'number 0': {
        play: rename((client, change) => appendEntry(client, TARGET, { ...changedEntry(change), batch: 0n })),
        found: { broken: 3, edited: 1, repaired: 1 },
        signed: { broken: 4, edited: 1, repaired: 1 },
      },
      'a negative number': {
        play: rename((client, change) =>
          appendEntry(client, TARGET, { ...changedEntry(change), batch: -1n }),
        ),
        found: { broken: 3, edited: 1, repaired: 1 },
        signed: { broken: 4, edited: 1, repaired: 1 },
      },
      'a number too high': {
        play: rename((client, change) =>
          appendEntry(client, TARGET, { ...changedEntry(change), batch: 1000n }),
        ),
        found: { broken: 1 },
        signed: { broken: 2 },
      },
      'format 1': {
        play: (client) =>
          appendEntry(client, TARGET, { kind: 'stored', format: 1, inserted: Buffer.alloc(0) }),
        found: { broken: 1 },
        signed: { broken: 2 },
      },
      'changes of an entry that does not exist': {
        play: rename((client, change) =>
          appendEntry(client, TARGET, {
            ...changedEntry(change),
            changes: [{ ...change, row_batch: '999' }],
          }),
        ),
        found: { broken: 1, edited: 1 },
        signed: { broken: 2, edited: 1 },
      },
    },
    {
      row: 'An entry appended with number 0, a negative or too high number, of format 1, or with changes of an entry that does not exist',
      ...{ by: EVERYONE, found: {} },
    },
  ),
  {
    row: 'A forged event, with a valid entry appended for it',
    by: EVERYONE,
    play: forgeWithEntry(),
    found: {},
    signed: { broken: 1 },
    online: { changed: 1 },
    remains: 'Without a key, a login that may write to the ledger may append to it.',
  },
  {
    row: 'A name changed, with a valid entry appended for it',
    by: EVERYONE,
    play: rename(appendChange),
    found: {},
    signed: { broken: 1 },
    remains:
      'Without a key, as a forged event. The comparison with UiPath finds it while UiPath has the event.',
  },
  ...Object.entries({
    edited: `update audit.events set user_name = 'Nobody' where ${THIS_EVENT}`,
    deleted: `delete from audit.events where ${THIS_EVENT}`,
    forged: forge({}),
  }).map(
    ([variant, sql]): Attempt => ({
      row: 'Events edited, deleted or forged, and the whole ledger recomputed to match',
      variant,
      by: OWNER,
      play: async (client) => {
        await client.query(`delete from audit.ledger where ${OF} and kind in ('changed', 'run')`);
        await client.query(`delete from audit.ledger_changes where ${OF}`);
        await client.query(sql);
        await rewriteChain(client, TARGET);
        await client.query(COUNT_RUNS);
      },
      found: {},
      signed: { broken: 1 },
      expected: { broken: 1 },
      signedExpected: { broken: 2 },
      remains: 'Without a key, everybody can compute all digests.',
    }),
  ),
  {
    row: 'The newest entries deleted with their rows, back to the end of a commit',
    by: OWNER,
    play: cutOff,
    found: {},
    expected: { broken: 1 },
    byState: true,
    remains: 'What is left is a valid, signed ledger of an earlier time.',
  },
  {
    row: 'The newest entries deleted with their rows, and forged ones appended',
    by: OWNER,
    play: async (client, stage) => {
      await cutOff(client, stage);
      await forgeWithEntry()(client);
    },
    found: {},
    signed: { broken: 1 },
    expected: { broken: 1 },
    signedExpected: { broken: 2 },
    byState: true,
    remains: 'Without a key, this is a valid ledger too.',
  },
  {
    row: 'All tables set back to a commit of an earlier time',
    by: OWNER,
    play: (client) => setBack(client, 'earlier'),
    found: {},
    expected: { broken: 1 },
    // Not due: the run whose proof is restored came before them. The next run stores them again.
    online: {},
    remains:
      'The tables and the signed head were like this then: only a later head, kept elsewhere, or UiPath tells.',
  },
  {
    row: 'Everything of an organization deleted',
    by: OWNER,
    play: async (client) => {
      for (const { name } of await tablesOf(client)) {
        await client.query(`alter table audit.${name} disable trigger user`);
        await client.query(`delete from audit.${name} where organization = 'acme'`);
        await client.query(`alter table audit.${name} enable trigger user`);
      }
    },
    found: {},
    expected: { broken: 1 },
    remains:
      'The tables were like this before the first run. Only a head that is kept elsewhere, or UiPath tells.',
  },
];

export const SIGNATURE_ATTEMPTS: Attempt[] = [
  {
    row: 'An entry appended with the signature of another key',
    by: EVERYONE,
    play: forgeWithEntry({ signWith: attackersKey }),
    found: 'exit code 2',
    signed: { broken: 1 },
  },
  {
    row: 'The head signed with another key',
    by: OWNER,
    play: async (client) => {
      const checkpoint = await signHead(client, TARGET, attackersKey);
      await client.query(`update audit.ledger set checkpoint = $1 where ${HEAD}`, [checkpoint]);
    },
    found: 'exit code 2',
    signed: { broken: 1 },
  },
  {
    row: 'The signature of the head removed',
    by: OWNER,
    play: `update audit.ledger set checkpoint = null where ${HEAD}`,
    found: null,
    signed: { broken: 1 },
  },
  {
    row: 'All signatures removed',
    by: OWNER,
    play: `update audit.ledger set checkpoint = null where ${OF}`,
    found: null,
    signed: { broken: 1 },
  },
  {
    row: 'The signature of an earlier entry removed',
    by: OWNER,
    play: `update audit.ledger set checkpoint = null where ${OF} and batch = 3`,
    found: null,
    signed: {},
    remains: 'It changes nothing: the head signs all entries before it.',
  },
  ...Object.entries({
    'of an earlier head': `(select checkpoint from audit.ledger where ${OF} and batch = 3)`,
    'of another log': `(select checkpoint from audit.ledger where organization = 'other' order by batch desc limit 1)`,
    // Another letter, whichever is there.
    edited: `overlay(checkpoint placing translate(substr(checkpoint, position('—' in checkpoint) + 50, 1), 'A' || substr(checkpoint,
      position('—' in checkpoint) + 50, 1), 'BA') from position('—' in checkpoint) + 50)`,
  }).map(
    ([variant, value]): Attempt => ({
      row: 'The signed head replaced by an older one, by that of another log, or edited',
      variant,
      by: OWNER,
      play: `update audit.ledger set checkpoint = ${value} where ${HEAD}`,
      found: null,
      signed: { broken: variant === 'edited' ? 1 : 2 },
    }),
  ),
  {
    row: 'Anything, by somebody who has the private key as well',
    by: EVERYONE,
    play: (client, { key }) => forgeWithEntry({ signWith: key })(client),
    found: null,
    signed: {},
    online: { changed: 1 },
    remains: 'The signature is valid. Keep the key off the database server.',
  },
];
