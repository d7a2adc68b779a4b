/** What the roll-ups must hold, said over `audit.events` alone and in other words than the triggers use. */
import { expect } from '@jest/globals';
import type { Bench } from './bench.ts';

const DAY = `(created_on at time zone 'UTC')::date`;
const TEXTS = 'category, action, source, user_name';

/** Of each roll-up: the columns compared, and the aggregate. */
const ROLL_UPS = {
  daily_activity: [
    `organization, log, day, ${TEXTS}, events, first_at, last_at, hours`,
    `select organization, log, ${DAY}, ${TEXTS}, count(*), min(created_on), max(created_on),
       sum(distinct (2 ^ extract(hour from created_on at time zone 'UTC'))::bigint)::integer
     from audit.events e where to_jsonb(e) ->> 'superseded_by' is null group by organization, log, ${DAY}, ${TEXTS}`,
  ],
  daily_totals: [
    'organization, log, day, category, action, source, events',
    `select organization, log, ${DAY}, category, action, source, count(*)
     from audit.events e where to_jsonb(e) ->> 'superseded_by' is null group by organization, log, ${DAY}, category, action, source`,
  ],
  time_totals: [
    'organization, log, day, category, action, source, events',
    `select organization, log, ${DAY}, category, action, source, array(
       select coalesce(counted.events, 0)::integer from generate_series(0, 95) as quarter left join (
         select at, count(*) as events
         from unnest(array_agg(floor(extract(epoch from (created_on at time zone 'UTC')::time) / 900)::integer)) as at group by at
       ) counted on counted.at = quarter order by quarter
     )
     from audit.events e where to_jsonb(e) ->> 'superseded_by' is null group by organization, log, ${DAY}, category, action, source`,
  ],
  all_user_actions: [
    `organization, log, ${TEXTS}, events, first_at, last_at`,
    `select organization, log, ${TEXTS}, count(*), min(created_on), max(created_on)
     from audit.events e where to_jsonb(e) ->> 'superseded_by' is null group by organization, log, ${TEXTS}`,
  ],
  all_user_totals: [
    'organization, log, user_name, events, days_active, first_at, last_at',
    `select organization, log, user_name, count(*), count(distinct ${DAY}), min(created_on), max(created_on)
     from audit.events e where to_jsonb(e) ->> 'superseded_by' is null group by organization, log, user_name`,
  ],
} as const;

/** Every row of every roll-up is that of the aggregate, and none is missing or there twice. */
export async function expectCounted(bench: Pick<Bench, 'query'>): Promise<void> {
  for (const [table, [columns, aggregate]] of Object.entries(ROLL_UPS)) {
    // Not there before migration 0017.
    if (
      table === 'time_totals' &&
      (await bench.query(`select where to_regclass('audit.time_totals') is null`)).length > 0
    )
      continue;
    const wrong = await bench.query(
      `with stored as (select ${columns} from audit.${table}), counted as (${aggregate})
       (select 'too many' as what, to_json(rows)::text as row from (table stored except all table counted) rows)
       union all
       (select 'missing', to_json(rows)::text from (table counted except all table stored) rows)`,
    );
    expect([table, wrong]).toEqual([table, []]);
  }
}
