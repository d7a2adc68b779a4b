/**
 * Recomputes the roll-ups from `audit.events`.
 *
 * Only `audit.daily_activity` and `audit.time_totals` are counted from the events. The others are counted from the first: it is much smaller.
 * If it differs, they are counted from the events, so that one wrong row is one finding.
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
  from audit.events where superseded_by is null and ($1::text is null or organization = $1)
  group by organization, 2, log, ${TEXTS.join(', ')}`;

const dailyActivity: Recomputation = {
  table: 'audit.daily_activity',
  key: ['organization', 'day', 'log', 'activity_id'],
  columns: [...TEXTS, 'events', 'first_at', 'last_at', 'hours'],
  names: ['day', ...TEXTS],
  expected: DAILY_ACTIVITY,
};

const KIND = ['category', 'action', 'source'];
const kindId = idOf([...KIND, 'null::text']);
const quarter = `(${hour} * 4 + extract(minute from created_on at time zone 'UTC')::integer / 15)`;

const timeTotals: Recomputation = {
  table: 'audit.time_totals',
  key: ['organization', 'day', 'log', 'activity_id'],
  columns: [...KIND, 'events'],
  names: ['day', ...KIND],
  expected: `
    select organization, day, log, ${kindId} as activity_id, ${KIND.join(', ')},
      array_agg(coalesce(events, 0)::integer order by place) as events
    from (
      select organization, day, log, ${KIND.join(', ')}, array_agg(quarter) as quarters, array_agg(events) as numbers
      from (
        select organization, (created_on at time zone 'UTC')::date as day, log, ${KIND.join(', ')}, ${quarter} as quarter, count(*) as events
        from audit.events where superseded_by is null and ($1::text is null or organization = $1)
        group by organization, 2, log, ${KIND.join(', ')}, quarter
      ) counted
      group by organization, day, log, ${KIND.join(', ')}
    ) of_day
    cross join generate_series(0, 95) as place
    left join lateral unnest(quarters, numbers) as at (quarter, events) on at.quarter = place
    group by organization, day, log, ${KIND.join(', ')}`,
};

/**
 * The horizon that the user tables were counted to. When it moves is not recomputed: it is a day with events, as stored; if the tables
 * hold the events before another such day, that one; if they fit neither, the first day.
 */
const horizonOf = (days: string) => `
  select of_day.organization, of_day.log, coalesce(
    max(of_day.day) filter (where of_day.day = h.day and before = counted), max(of_day.day) filter (where before = counted),
    max(of_day.day) filter (where of_day.day = h.day), min(of_day.day)
  ) as day
  from (
    select organization, log, day,
      coalesce(sum(sum(events)) over (partition by organization, log order by day rows between unbounded preceding and 1 preceding), 0)
        as before
    from ${days} d group by organization, log, day
  ) of_day
  left join audit.user_horizon h using (organization, log)
  cross join lateral (
    select coalesce(sum(events), 0) as counted from audit.user_totals u
    where u.organization = of_day.organization and u.log = of_day.log
  ) totals
  group by of_day.organization, of_day.log`;

/** `days`: rows of daily_activity, as they should be. */
const countedFrom = (days: string): Recomputation[] => [
  {
    table: 'audit.daily_totals',
    key: ['organization', 'day', 'log', 'activity_id'],
    columns: ['category', 'action', 'source', 'events'],
    names: ['day', 'category', 'action', 'source'],
    expected: `
      select organization, day, log, ${kindId} as activity_id, category, action, source,
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
      from ${days} d join (${horizonOf(days)}) h using (organization, log)
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
      from ${days} d join (${horizonOf(days)}) h using (organization, log)
      where d.day < h.day and ($1::text is null or organization = $1)
      group by organization, log, user_name`,
  },
];

/** A log has a horizon if it has events, and only then. */
const horizonFindings = (days: string) => `
  select coalesce(h.organization, e.organization) as organization, coalesce(h.log, e.log) as log, '{}'::jsonb as key,
    case when e.organization is not null then jsonb_build_object('day', e.day) end as expected,
    case when h.organization is not null then jsonb_build_object('day', h.day) end as found
  from (${horizonOf(days)}) e full join audit.user_horizon h on h.organization = e.organization and h.log = e.log
  where ($1::text is null or coalesce(h.organization, e.organization) = $1) and e.day is distinct from h.day`;

export const checkRollUps: StateCheck = async (client, organization) => {
  const read = (recomputation: Recomputation) =>
    readFindings(client, recomputation.table, differencesOf(recomputation), organization);
  const daily = await read(dailyActivity);
  const days = daily.length === 0 ? dailyActivity.table : `(${DAILY_ACTIVITY})`;
  const findings: StateFindings[] = [...daily, ...(await read(timeTotals))];
  for (const recomputation of countedFrom(days)) findings.push(...(await read(recomputation)));
  findings.push(...(await readFindings(client, 'audit.user_horizon', horizonFindings(days), organization)));
  return findings;
};
