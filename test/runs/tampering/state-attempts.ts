/** Attempts on the tables beside audit.events and the ledger, and on views. */
import { type Attempt, EVERYONE, each, OF, OWNER } from './attempt.ts';
import { THIS_EVENT } from './forging.ts';

const FIRST_RANGE = `${OF} and from_ticks = (select min(from_ticks) from audit.coverage where ${OF})`;
const LAST_RANGE = `${OF} and from_ticks = (select max(from_ticks) from audit.coverage where ${OF})`;
/** A run that stored something, and one that did not. */
const BUSY_RUN = `run_id = (select min(run_id) from audit.runs where ${OF} and rows_inserted > 0)`;
const QUIET_RUN = `run_id = (select max(run_id) from audit.runs where ${OF})`;

/** The worker may delete and insert ranges, but not update them. */
const replaceRange = (where: string, values: Record<string, string>) => {
  const columns = [
    'organization',
    'log',
    'from_ticks',
    'to_ticks',
    'from_at',
    'to_at',
    'proven_at',
    'verified_at',
  ];
  const all = [...columns, 'begun_at', 'run_id'];
  return `create temp table old on commit drop as select * from audit.coverage where ${where};
    delete from audit.coverage where ${where};
    insert into audit.coverage (${all.join(', ')}) select ${all.map((column) => values[column] ?? column).join(', ')} from old`;
};
const laterByAnHour = (column: string) => `${column} + interval '1 hour'`;

const GONE = `insert into audit.gone_events (organization, log, created_on, event_id, created_on_ticks, state, suspected_run_id)
  select organization, log, created_on, event_id, created_on_ticks, 'gone', run_id from audit.events where ${OF} order by created_on limit 1`;
const REJECTED = `insert into audit.rejected_events (organization, log, content_hash, source_text, reason, run_id)
  select organization, log, sha256('forged'), 'forged', 'forged', run_id from audit.rejected_events where ${OF}`;
const RUN = `insert into audit.runs (organization, log, kind, worker, started_at, ended_at, outcome)
  select organization, log, kind, worker, started_at, ended_at, outcome from audit.runs where ${QUIET_RUN}`;

const SHOW_AGAIN = `do $$ begin
  if to_regclass('bi.events_true') is not null then
    drop view bi.events;
    alter view bi.events_true rename to events;
  end if;
  if to_regclass('audit.events_true') is not null then
    drop view audit.events;
    alter table audit.events_true rename to events;
  end if;
end $$`;

export const STATE_ATTEMPTS: readonly Attempt[] = [
  ...each(
    { gone_events: GONE, rejected_events: REJECTED },
    {
      ...{ row: 'A row inserted into `audit.gone_events` or `audit.rejected_events`', by: EVERYONE },
      found: { inserted: 1 },
    },
  ),
  {
    ...{ row: 'A row of `audit.gone_events` edited', by: EVERYONE, found: { edited: 1 } },
    play: `update audit.gone_events set state = 'shown again' where ${OF}`,
  },
  ...each(
    Object.fromEntries(
      [
        `source_text = 'x'`,
        `reason = 'x'`,
        `source_bytes = 'x'`,
        `run_id = run_id + 1`,
        `content_hash = content_hash || 'x'`,
      ].map((change) => [change, `update audit.rejected_events set ${change} where ${OF}`]),
    ),
    { row: 'A row of `audit.rejected_events` edited', by: OWNER, found: { edited: 1 } },
  ),
  ...each(
    {
      gone_events: `delete from audit.gone_events where ${OF}`,
      rejected_events: `delete from audit.rejected_events where ${OF}`,
      runs: `delete from audit.runs where ${BUSY_RUN}`,
    },
    {
      row: 'A row deleted from `audit.gone_events`, `audit.rejected_events`, or `audit.runs` (a run that stored events)',
      ...{ by: OWNER, found: { deleted: 1 } },
    },
  ),
  ...each(
    Object.fromEntries(
      ['rows_read = 5', `error = 'x'`, `outcome = 'failed'`, 'requests = 5', `warnings = '{x}'`].map(
        (change) => [change, `update audit.runs set ${change} where ${BUSY_RUN}`],
      ),
    ),
    { row: 'A run that stored events edited', by: EVERYONE, found: { edited: 1 } },
  ),
  ...each(
    {
      'a gap closed': `delete from audit.coverage where ${FIRST_RANGE};
        ${replaceRange(LAST_RANGE, { from_ticks: `${1_672_531_218_107_862}7`, from_at: `timestamptz '2023-01-01 00:00:18.107862Z'` })}`,
      'a start moved': replaceRange(FIRST_RANGE, {
        from_ticks: 'from_ticks - 10',
        from_at: `from_at - interval '1 microsecond'`,
      }),
      'an end moved': replaceRange(FIRST_RANGE, {
        to_ticks: 'to_ticks + 10',
        to_at: `to_at + interval '1 microsecond'`,
      }),
      'begun_at moved': replaceRange(FIRST_RANGE, { begun_at: laterByAnHour('begun_at') }),
      'a range deleted': `delete from audit.coverage where ${FIRST_RANGE}`,
    },
    {
      row: 'A gap closed in `audit.coverage`, or a range widened, moved or deleted',
      by: EVERYONE,
      found: { edited: 1 },
    },
  ),
  {
    ...{ row: 'The source of a log changed in `audit.watermarks`', by: EVERYONE, found: { edited: 1 } },
    play: `update audit.watermarks set source_url = 'https://example.com' where ${OF}`,
  },
  ...each(
    {
      daily_totals: `update audit.daily_totals set events = events + 1 where ${OF}`,
      'a trigger disabled': `alter table audit.events disable trigger user;
        delete from audit.events where ${THIS_EVENT} and false; update audit.daily_activity set events = events + 1 where ${OF};
        alter table audit.events enable trigger user`,
    },
    { ...{ row: 'A roll-up edited, or not updated', by: OWNER, found: {} }, byState: true },
  ),
  ...each(
    {
      'created_on of the watermark': `update audit.watermarks set created_on = created_on - interval '1 day' where ${OF}`,
      'a proof invented': `update audit.watermarks set proven_at = ${laterByAnHour('proven_at')} where ${OF}`,
      'the newest range extended': replaceRange(LAST_RANGE, {
        to_ticks: `to_ticks + ${10 * 86_400_000_0000}`,
        to_at: `to_at + interval '10 days'`,
      }),
      'a range proven later': replaceRange(FIRST_RANGE, { proven_at: laterByAnHour('proven_at') }),
      'a quiet run that stored events': `update audit.runs set rows_inserted = 5 where ${QUIET_RUN}`,
    },
    {
      row: 'A watermark, the newest range, a time of a proof, or the counters of a quiet run changed',
      ...{ by: EVERYONE, found: {}, byState: true },
    },
  ),
  ...each(
    {
      'a run edited': `update audit.runs set requests = requests + 1, warnings = '{"by hand"}' where ${QUIET_RUN}`,
      'a run inserted': RUN,
    },
    {
      row: 'A run that stored nothing inserted, or edited in what nothing recomputes (its warnings, requests, times)',
      ...{ by: EVERYONE, found: {} },
      remains: 'Quiet runs append nothing to the ledger.',
    },
  ),
  ...each(
    {
      last_seen_at: `update audit.rejected_events set last_seen_at = ${laterByAnHour('last_seen_at')} where ${OF}`,
      read_at: `update audit.watermarks set read_at = ${laterByAnHour('read_at')} where ${OF}`,
      ranks: `update audit.watermarks set ranks = null, resume = null where ${OF}`,
      rejected_places: `update audit.rejected_places set times_shown = times_shown + 1 where ${OF}`,
    },
    {
      row: '`last_seen_at` of rejected rows, `audit.rejected_places`, and `read_at`, `resume`, `ranks` of `audit.watermarks` changed',
      ...{ by: EVERYONE, found: {} },
      remains: 'Each run moves them, and later runs correct them.',
    },
  ),
  ...each(
    {
      'a view of bi': `alter view bi.events rename to events_true; create view bi.events as select * from bi.events_true where false`,
      'a view in place of audit.events': `alter table audit.events rename to events_true;
        create view audit.events as select * from audit.events_true where current_user <> 'dashboard'; grant select on audit.events to public`,
    },
    {
      row: 'A view replaced, or a view put in place of a table, that shows other rows to other users',
      ...{ by: OWNER, found: {} },
      undo: SHOW_AGAIN,
      remains:
        '`verify` checks what the database shows to it. The owner of the database decides what it shows to whom.',
    },
  ),
];
