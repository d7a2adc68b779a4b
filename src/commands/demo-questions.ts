import type { Pool } from '../postgres/connection/pool.ts';
import { type Colours, printable } from '../terminal/screen.ts';
import { layTable } from '../terminal/table.ts';
import { describeInstant, formatNumber } from '../text/format.ts';

/** Typical questions about an audit log. The demo prints them with their results. */
const QUESTIONS: { question: string; sql: string }[] = [
  {
    question: 'How much is there, and how fresh is it?',
    sql: `select count(*) as events, min(created_on) as oldest, max(created_on) as newest,
       now() - max(created_on) as age
from bi.events`,
  },
  {
    question: 'What happened in the last seven days?',
    sql: `select category, action, count(*) as events, count(distinct user_name) as users
from bi.events
where created_on >= now() - interval '7 days'
group by category, action
order by events desc
limit 6`,
  },
  {
    question: 'Who logged in outside office hours (UTC) most often?',
    sql: `select user_name, count(*) as logins, max(created_on) as last_login
from bi.events
where category = 'User' and action = 'Login'
  and (extract(hour from created_on at time zone 'UTC') not between 7 and 18
    or extract(isodow from created_on at time zone 'UTC') > 5)
group by user_name
order by logins desc
limit 5`,
  },
  {
    question: 'Who changed groups, robot accounts, applications or policies last?',
    sql: `select created_on, user_name, category, action, message
from bi.events
where action <> 'Login'
order by created_on desc
limit 5`,
  },
  {
    question: 'Can I trust this copy?',
    sql: `select organization, last_run_outcome, last_success_age, source_events, gaps, rejected_events
from bi.export_health`,
  },
];

/** Prints each question with its SQL and its result. */
export async function printQuestions(
  pool: Pool,
  out: (line: string) => void,
  colours: Colours,
): Promise<void> {
  for (const { question, sql } of QUESTIONS) {
    const { rows, fields } = await pool.query<Record<string, unknown>>(sql);
    const columns = fields.map(({ name }) => ({
      title: name,
      mayCut: true,
      isNumber: isNumber(rows[0]?.[name]),
    }));
    const table = layTable(
      columns,
      rows.map((row) => fields.map(({ name }) => show(row[name]))),
      colours,
    );
    out(`${colours.bold(question)}\n\n${indent(sql)}\n\n${table.join('\n')}\n`);
  }
}

/** pg returns a bigint as text, because it may exceed a JavaScript number. */
function isNumber(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value));
}

function show(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (value instanceof Date) return describeInstant(value);
  // pg returns an interval as an object with a method `toPostgres`.
  if (typeof value === 'object' && 'toPostgres' in value) return showInterval(value as Interval);
  return isNumber(value) ? formatNumber(Number(value)) : printable(String(value)).slice(0, 60);
}

interface Interval {
  days?: number;
  hours?: number;
  minutes?: number;
  seconds?: number;
}

function showInterval({ days = 0, hours = 0, minutes = 0, seconds = 0 }: Interval): string {
  const parts = [
    [days, 'd'],
    [hours, 'h'],
    [minutes, 'min'],
    [seconds, 's'],
  ] as const;
  return (
    parts
      .filter(([value]) => value !== 0)
      .map(([value, unit]) => `${value} ${unit}`)
      .join(' ') || '0 s'
  );
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}
