/**
 * Recomputes the roll-ups from `audit.events`.
 *
 * Only `audit.daily_activity` is counted from the events. The others are counted from it: it is much smaller. If it differs, they are
 * counted from the events, so that one wrong row is one finding.
 */
import {
  differencesOf,
  type Recomputation,
  readFindings,
  type StateCheck,
  type StateFindings,
} from './finding.ts';

const TEXTS = ['category', 'action', 'source', 'user_name'];
/** As `audit.activity_id`, which the worker may not call. */
const idOf = (texts: readonly string[]) => `md5(row(${texts.join(', ')})::text)::uuid`;
const hour = `extract(hour from created_on at time zone 'UTC')::integer`;

/** What daily_activity should have. $1 organization. */
const DAILY_ACTIVITY = `
  select organization, (created_on at time zone 'UTC')::date as day, log, ${idOf(TEXTS)} as activity_id, ${TEXTS.join(', ')},
    count(*) as events, min(created_on) as first_at, max(created_on) as last_at, bit_or(1 << ${hour}) as hours
  from audit.events where $1::text is null or organization = $1
  group by organization, 2, log, ${TEXTS.join(', ')}`;

const dailyActivity: Recomputation = {
  table: 'audit.daily_activity',
  key: ['organization', 'day', 'log', 'activity_id'],
  columns: [...TEXTS, 'events', 'first_at', 'last_at', 'hours'],
  names: ['day', ...TEXTS],
  expected: DAILY_ACTIVITY,
};

/** `days`: rows of daily_activity, as they should be. */
const countedFrom = (days: string): Recomputation[] => [
  {
    table: 'audit.daily_totals',
    key: ['organization', 'day', 'log', 'activity_id'],
    columns: ['category', 'action', 'source', 'events'],
    names: ['day', 'category', 'action', 'source'],
    expected: `
      select organization, day, log, ${idOf(['category', 'action', 'source', 'null::text'])} as activity_id, category, action, source,
        sum(events)::bigint as events
      from ${days} d where $1::text is null or organization = $1
      group by organization, day, log, category, action, source`,
  },
  {
    table: 'audit.user_actions',
    key: ['organization', 'log', 'activity_id'],
    columns: [...TEXTS, 'events', 'first_at', 'last_at'],
    names: TEXTS,
    expected: `
      select organization, log, activity_id, ${TEXTS.join(', ')}, sum(events)::bigint as events, min(first_at) as first_at,
        max(last_at) as last_at
      from ${days} d join audit.user_horizon h using (organization, log)
      where d.day < h.day and ($1::text is null or organization = $1)
      group by organization, log, activity_id, ${TEXTS.join(', ')}`,
  },
  {
    table: 'audit.user_totals',
    key: ['organization', 'log', 'user_id'],
    columns: ['user_name', 'events', 'days_active', 'first_at', 'last_at'],
    names: ['user_name'],
    expected: `
      select organization, log, ${idOf(['null::text', 'null::text', 'null::text', 'user_name'])} as user_id, user_name,
        sum(events)::bigint as events, count(distinct d.day)::integer as days_active, min(first_at) as first_at, max(last_at) as last_at
      from ${days} d join audit.user_horizon h using (organization, log)
      where d.day < h.day and ($1::text is null or organization = $1)
      group by organization, log, user_name`,
  },
];

/**
 * The horizon is a day with events: user_actions and user_totals show whether it is the right one. A log has one if it has events, and
 * only then.
 */
const horizonOf = (days: string) => `
  select coalesce(h.organization, e.organization) as organization, coalesce(h.log, e.log) as log, '{}'::jsonb as key,
    case when e.organization is not null then jsonb_build_object('day', 'a day with events') end as expected,
    case when h.organization is not null then jsonb_build_object('day', h.day) end as found
  from (select organization, log, array_agg(distinct day) as days from ${days} d group by organization, log) e
  full join audit.user_horizon h on h.organization = e.organization and h.log = e.log
  where ($1::text is null or coalesce(h.organization, e.organization) = $1)
    and (e.organization is null or h.organization is null or h.day <> all (e.days))`;

export const checkRollUps: StateCheck = async (client, organization) => {
  const read = (recomputation: Recomputation) =>
    readFindings(client, recomputation.table, differencesOf(recomputation), organization);
  const daily = await read(dailyActivity);
  const days = daily.length === 0 ? dailyActivity.table : `(${DAILY_ACTIVITY})`;
  const findings: StateFindings[] = [...daily];
  for (const recomputation of countedFrom(days)) findings.push(...(await read(recomputation)));
  findings.push(...(await readFindings(client, 'audit.user_horizon', horizonOf(days), organization)));
  return findings;
};
