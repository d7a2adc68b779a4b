/** Attempts while the worker writes: rows beside its own, and triggers that change what it writes. */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type Attempt, EVERYONE, OF, OWNER } from './attempt.ts';
import type { Exported, Stage } from './stage.ts';

const EVENTS = 40;
const FRESH = 'fresh';

/** Waits until the first load of an organization has stored events, then does `work`, and waits for the end of the run. */
async function duringFirstLoad(stage: Stage, work: () => Promise<unknown>): Promise<void> {
  const exported = await stage.open({ organization: FRESH, events: EVENTS, seed: 3, latencyMs: 60 });
  const isStored = async () => (await eventsOf(stage)) > 0;
  const running = exported.run();
  try {
    while (!(await isStored())) await sleep(5);
    await work();
  } finally {
    await running.catch(() => {});
  }
  const { counters } = await running;
  if (counters.inserted !== EVENTS) throw new Error(`the run counted ${counters.inserted} events`);
}

async function eventsOf({ clients }: Stage): Promise<number> {
  const { rows } = await clients.superuser.query(
    `select count(*)::int from audit.events where organization = '${FRESH}'`,
  );
  return rows[0].count;
}

/** A run of an organization that has new events, with a trigger in place. Returns its error, if it failed. */
async function withTrigger(client: pg.Client, stage: Stage, sql: string): Promise<void> {
  await client.query(sql);
  const exported = await stage.open({ organization: FRESH, events: EVENTS, seed: 3 });
  const failure = await failureOf(exported);
  if (failure !== undefined && !/A trigger, a rule or a policy/.test(failure)) throw new Error(failure);
}

const failureOf = ({ run }: Exported) =>
  run().then(
    () => undefined,
    (error: Error) => error.message,
  );

const trigger = (when: string, table: string, body: string) => `
  create function audit.falsify() returns trigger language plpgsql as $$ begin ${body} end $$;
  grant execute on function audit.falsify to public;
  create trigger a_falsify ${when} on audit.${table} for each row execute function audit.falsify()`;
const UNDO = 'drop function if exists audit.falsify cascade';

export const WORKER_ATTEMPTS: readonly Attempt[] = [
  {
    row: 'An event inserted with the number of the next entry while a first load runs',
    ...{ by: EVERYONE, isOutside: true, found: { inserted: 1 } },
    play: (client, stage) =>
      duringFirstLoad(stage, () =>
        client.query(
          `insert into audit.events (organization, log, run_id, batch, created_on, event_id, created_on_ticks, created_on_raw, ordinal)
           select organization, log, run_id, batch + 1, created_on + interval '1 second', gen_random_uuid(), created_on_ticks + 10000000,
             'forged', 0
           from audit.events where organization = '${FRESH}' order by created_on desc limit 1`,
        ),
      ),
  },
  {
    row: 'A range inserted into `audit.coverage` while a first load runs',
    ...{ by: EVERYONE, isOutside: true, found: { edited: 1 } },
    play: (client, stage) =>
      duringFirstLoad(stage, () =>
        client.query(
          `insert into audit.coverage (organization, log, from_ticks, to_ticks, from_at, to_at, run_id)
           values ('${FRESH}', 'classic', 16000000000000000, 16000000010000000, '2020-09-13T12:26:40Z', '2020-09-13T12:26:41Z', 1)`,
        ),
      ),
  },
  {
    row: 'A trigger that changes events as the worker inserts them',
    ...{ by: OWNER, isOutside: true, found: { edited: EVENTS, repaired: 10 }, undo: UNDO },
    play: (client, stage) =>
      withTrigger(
        client,
        stage,
        trigger('before insert or update', 'events', `new.user_name = 'Nobody'; return new;`),
      ),
  },
  {
    row: 'A trigger that drops events as the worker inserts them',
    ...{ by: OWNER, isOutside: true, found: {}, undo: UNDO },
    play: async (client, stage) => {
      await withTrigger(client, stage, trigger('before insert', 'events', 'return null;'));
      if ((await eventsOf(stage)) !== 0) throw new Error('events were stored');
    },
    remains: 'The run fails, and names the trigger. Nothing is stored.',
  },
  {
    row: 'A trigger that changes what the worker writes to `audit.runs` or `audit.coverage`',
    ...{ by: OWNER, isOutside: true, found: {}, undo: UNDO },
    play: (client, stage) =>
      withTrigger(client, stage, trigger('before update', 'runs', `new.requests = 12345; return new;`)),
    remains:
      'The ledger records these rows as the database returns them. Of events it records what was sent.',
  },
  {
    row: 'Rows inserted into `audit.rejected_events` or `audit.gone_events` before the first run of a log',
    ...{ by: EVERYONE, isOutside: true, found: {}, byState: true },
    play: async (client, stage) => {
      await client.query(
        `insert into audit.rejected_events (organization, log, content_hash, source_text, reason, run_id)
         select '${FRESH}', log, sha256('forged'), 'forged', 'forged', run_id from audit.rejected_events where ${OF}`,
      );
      const { run } = await stage.open({ organization: FRESH, events: EVENTS, seed: 3 });
      await run();
    },
  },
];
