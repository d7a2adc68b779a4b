/** Attempts on audit.ledger and audit.ledger_changes, and on its signatures. */
import { generateKeyPairSync } from 'node:crypto';
import type pg from 'pg';
import { appendEntry, rewriteChain, signHead } from './attacker.ts';
import { type Attempt, EVERYONE, OF, OWNER } from './attempt.ts';
import { changedEntry, EVENTS, forge, forgeWithEntry, rename, THIS_EVENT } from './forging.ts';
import { setBack, TARGET, tablesOf } from './stage.ts';

const attackersKey = generateKeyPairSync('ed25519').privateKey;
const ENTRY = `${OF} and batch = (select max(batch) from audit.ledger where ${OF} and kind = 'stored')`;
const HEAD = `${OF} and batch = (select max(batch) from audit.ledger where ${OF})`;

/** Deletes the newest entries, with the events that they stored and the changes that they made. */
async function cutOff(client: pg.Client, last: bigint): Promise<void> {
  for (const table of ['events', 'ledger', 'ledger_changes'])
    await client.query(`delete from audit.${table} where ${OF} and batch > ${last}`);
  // The rows that the deleted entries changed are set back as well.
  await client.query(`delete from audit.gone_events where ${OF}`);
}

const LEDGER_COLUMNS: Record<string, string> = {
  run_id: 'run_id + 1',
  committed_at: `committed_at + interval '1 second'`,
  from_at: `from_at - interval '1 second'`,
  to_at: `to_at + interval '1 second'`,
  rows_inserted: 'rows_inserted + 1',
  rows_changed: 'rows_changed + 1',
  inserted: `overlay(inserted placing 'x' from 40)`,
  previous_digest: `sha256('x')`,
  digest: `sha256('x')`,
  format: '3',
  kind: `'retired'`,
  facts: `'x'`,
  peaks: `sha256('x')`,
};

export const LEDGER_ATTEMPTS: Attempt[] = [
  ...Object.entries(LEDGER_COLUMNS).map(
    ([column, value]): Attempt => ({
      row: 'An entry of the ledger edited in any column',
      variant: column,
      by: OWNER,
      play: `update audit.ledger set ${column} = ${value} where ${ENTRY}`,
      found: { broken: 1 },
    }),
  ),
  {
    row: 'An entry deleted',
    by: OWNER,
    play: `delete from audit.ledger where ${ENTRY}`,
    found: { broken: 1, inserted: 1 },
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
  ...['0', '-1', '1000'].map(
    (batch): Attempt => ({
      row: 'An entry inserted with number 0, a negative one, or behind a gap',
      variant: batch,
      by: EVERYONE,
      play: rename((client, change) =>
        appendEntry(client, TARGET, { ...changedEntry(change), batch: BigInt(batch) }),
      ),
      found: { broken: 1 },
    }),
  ),
  {
    row: 'An entry of format 1 appended after one of format 2',
    by: EVERYONE,
    play: (client) => appendEntry(client, TARGET, { kind: 'stored', format: 1, inserted: Buffer.alloc(0) }),
    found: { broken: 1 },
  },
  {
    row: 'An entry that changes events of an entry that does not exist',
    by: EVERYONE,
    play: rename((client, change) =>
      appendEntry(client, TARGET, { ...changedEntry(change), changes: [{ ...change, row_batch: '999' }] }),
    ),
    found: { broken: 1, edited: 1 },
  },
  {
    row: 'A forged event, with a valid entry appended for it',
    by: EVERYONE,
    play: forgeWithEntry(),
    found: {},
    signed: { broken: 1 },
    online: { gone: 1 },
    remains: 'Whoever may write to the ledger may append to it. The key prevents it.',
  },
  {
    row: 'A name changed, with a valid entry appended for it',
    by: EVERYONE,
    play: rename((client, change) => appendEntry(client, TARGET, changedEntry(change))),
    found: {},
    signed: { broken: 1 },
    remains: 'As above.',
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
        await client.query(`delete from audit.ledger where ${OF} and kind = 'changed'`);
        await client.query(`delete from audit.ledger_changes where ${OF}`);
        await client.query(sql);
        await rewriteChain(client, TARGET);
      },
      found: {},
      signed: { broken: 1 },
      expected: { broken: 1 },
      remains: 'All digests can be computed without a key.',
    }),
  ),
  {
    row: 'The newest entries deleted with their rows, to within a commit',
    by: OWNER,
    play: (client) => cutOff(client, 4n),
    found: {},
    signed: { broken: 1 },
    expected: { broken: 1 },
    byState: true,
    remains: 'What is left is a valid ledger of an earlier time.',
  },
  {
    row: 'The newest entries deleted with their rows, and forged ones appended',
    by: OWNER,
    play: async (client) => {
      await cutOff(client, 4n);
      await forgeWithEntry()(client);
    },
    found: {},
    signed: { broken: 1 },
    expected: { broken: 1 },
    byState: true,
    remains: 'As above.',
  },
  {
    row: 'All tables set back to a commit of an earlier time',
    by: OWNER,
    play: (client) => setBack(client, 'earlier'),
    found: {},
    expected: { broken: 1 },
    online: { missing: 20 },
    remains: 'The tables and the signed head were like this then. Only a copy of a later head tells.',
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
    remains: 'As above: the earlier time is that before the first run.',
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
    edited: `overlay(checkpoint placing 'A' from position('—' in checkpoint) + 50)`,
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
    online: { gone: 1 },
    remains: 'The signature is valid. Keep the key off the database server.',
  },
];
