/** Attempts on audit.events. */

import { insertChange } from './attacker.ts';
import { type Attempt, EVERYONE, OF, OWNER } from './attempt.ts';
import { EVENTS, FIXED, forge, MOVING, rename, THIS_EVENT, UPDATABLE } from './forging.ts';
import { TARGET } from './stage.ts';

const setOf = (changes: Record<string, string>, attempt: Omit<Attempt, 'play' | 'variant'>): Attempt[] =>
  Object.entries(changes).map(([column, value]) => ({
    ...attempt,
    variant: column,
    play: `update audit.events set ${column} = ${value} where ${THIS_EVENT}`,
  }));

export const EVENT_ATTEMPTS: Attempt[] = [
  ...setOf(UPDATABLE, {
    row: 'An event edited in a column that the worker may update',
    by: EVERYONE,
    found: { edited: 1 },
  }),
  ...setOf(FIXED, { row: 'An event edited in any other column', by: OWNER, found: { edited: 1 } }),
  ...setOf(MOVING, {
    row: 'An event moved to another time, id, entry, organization or log',
    by: OWNER,
    found: { deleted: 1, inserted: 1 },
  }),
  {
    row: 'An event deleted',
    by: OWNER,
    play: `delete from audit.events where ${THIS_EVENT}`,
    found: { deleted: 1 },
  },
  {
    row: 'All events deleted (`truncate`)',
    by: OWNER,
    play: 'truncate audit.events',
    found: { deleted: EVENTS + 10 },
  },
  ...Object.entries({
    'of an existing entry': {},
    'of the next entry': { batch: `(select max(batch) + 1 from audit.ledger where ${OF})` },
    'of entry 0': { batch: '0' },
    'at another time': { created_on: `timestamptz '2020-01-01'` },
    'of an organization that is not exported': { organization: `'nobody'` },
    'of a log that is not exported': { log: `'nothing'` },
  }).map(
    ([variant, values]): Attempt => ({
      row: 'An event inserted, in any organization, log or entry',
      variant,
      by: EVERYONE,
      play: forge(values as Record<string, string>),
      found: { inserted: 1 },
    }),
  ),
  {
    row: 'A name set back, and the change filed in `audit.ledger_changes` under an entry that never existed',
    by: EVERYONE,
    play: rename((client, change) => insertChange(client, TARGET, 999n, change)),
    found: { broken: 1 },
  },
  {
    row: 'A name set back, and the change filed under an existing entry',
    by: EVERYONE,
    play: rename((client, change) => insertChange(client, TARGET, 1n, change)),
    found: { broken: 2, edited: 1, repaired: 1 },
  },
  {
    row: 'An event of another log inserted without the roll-ups, which would name the log',
    by: OWNER,
    play: `alter table audit.events disable trigger user; ${forge({ log: `'nothing'` })}; alter table audit.events enable trigger user`,
    found: {},
    byState: true,
  },
  {
    row: 'A row deleted and inserted again with the same values',
    by: OWNER,
    play: `with gone as (delete from audit.events where ${THIS_EVENT} returning *) insert into audit.events select * from gone`,
    found: {},
    remains: 'It changes nothing.',
  },
];
