/** What BI tools send first, before anyone has chosen a filter that fits: previews, incremental refreshes, filter lists, rare values. */
export interface FirstQuery {
  title: string;
  sql: string;
  /** A pattern of the table or index of schema audit that must serve it: a plan that reads another one reads everything. */
  servedBy: string;
}

/** The organization is `acme`. `$REFRESHED` stands for the time of the last refresh, `$DAY` for a day with events. */
export const FIRST_QUERIES: readonly FirstQuery[] = [
  {
    title: 'A preview of events',
    sql: `select * from bi.events limit 1000`,
    servedBy: 'events',
  },
  {
    title: 'The newest events',
    sql: `select * from bi.events where organization = 'acme' order by created_on desc limit 1000`,
    servedBy: 'events_by_time',
  },
  {
    title: 'One day',
    sql: `select * from bi.events where organization = 'acme' and day = '$DAY' limit 2000`,
    servedBy: 'events_by_day',
  },
  {
    title: 'One day, without an organization',
    sql: `select count(*) from bi.events where day = '$DAY'`,
    servedBy: 'events_by_day',
  },
  {
    title: 'A range of time, without an organization',
    sql: `select count(*) from bi.events where created_on >= '$DAY 00:00Z' and created_on < '$DAY 06:00Z'`,
    servedBy: 'events_(by_day|by_time)',
  },
  {
    title: 'An incremental refresh',
    sql: `select * from bi.events where updated_at > '$REFRESHED'`,
    servedBy: 'events_by_stored_at',
  },
  {
    title: 'New rows since the last refresh',
    sql: `select * from bi.events where organization = 'acme' and first_seen_at > '$REFRESHED'`,
    servedBy: 'events_by_stored_at',
  },
  {
    title: 'The newest 100 events of a user',
    sql: `select * from bi.events where organization = 'acme' and user_name = 'Ana Wagner' order by created_on desc limit 100`,
    servedBy: 'events_by_user',
  },
  {
    title: 'The newest 100 events of an unknown user',
    sql: `select * from bi.events where organization = 'acme' and user_name = 'Nobody' order by created_on desc limit 100`,
    servedBy: 'events_by_user',
  },
  {
    title: 'Logins of an unknown user',
    sql: `select * from bi.logins where user_name = 'Nobody' order by logged_in_at desc limit 100`,
    servedBy: 'events_by_user',
  },
  {
    title: 'Changes of an area, at any time',
    sql: `select * from bi.administrative_changes where organization = 'acme' and area = 'Settings' order by changed_at desc limit 100`,
    servedBy: 'events_by_area',
  },
  {
    title: 'Changes of an area without changes',
    sql: `select * from bi.administrative_changes where organization = 'acme' and area = 'Other' order by changed_at desc limit 100`,
    servedBy: 'events_by_area',
  },
  {
    title: 'Changes of one target, at any time',
    sql: `select * from bi.administrative_changes where organization = 'acme' and target_name = 'HR policy 1' order by changed_at desc limit 100`,
    servedBy: 'events_by_target',
  },
  {
    title: 'Changes of an unknown target',
    sql: `select * from bi.administrative_changes where target_name = 'Nothing'`,
    servedBy: 'events_by_target',
  },
  {
    title: 'Unusual logins, at any time',
    sql: `select * from bi.unusual_logins where organization = 'acme'`,
    servedBy: 'events_by_user',
  },
  {
    title: 'List of organizations',
    sql: `select distinct organization from bi.organizations`,
    servedBy: 'daily_totals',
  },
  { title: 'List of users', sql: `select distinct user_name from bi.users`, servedBy: 'user_totals' },
  { title: 'List of areas', sql: `select distinct area from bi.event_kinds`, servedBy: 'daily_totals' },
  {
    title: 'List of categories and actions',
    sql: `select distinct category, action, source from bi.event_kinds where organization = 'acme'`,
    servedBy: 'daily_totals',
  },
];
