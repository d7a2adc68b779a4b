/**
 * Findings of the checks that recompute the tables beside `audit.events`, and how a query returns them.
 *
 * A query selects `organization`, `log`, `key` (jsonb: what names the row), `expected` and `found` (jsonb: columns; null: no such row). $1 is
 * an organization, or null for all.
 */
import type { LogKey } from '../../../core/log-key.ts';
import type { Queryable } from '../../connection/pool.ts';

/** A row that is not as it can be recomputed. Values are texts as PostgreSQL writes them. */
export interface StateFinding extends LogKey {
  kind: 'state';
  /** With its schema. */
  table: string;
  /** What names the row in its table. */
  key: Columns;
  /** The columns that differ. `null`: the row should not exist. */
  expected: Columns | null;
  /** The same columns as they are stored. `null`: the row is missing. */
  found: Columns | null;
}

export type Columns = Record<string, string | null>;

/** All findings of one check in one log; `examples` are the first of them. */
export interface StateFindings extends LogKey {
  table: string;
  count: number;
  examples: StateFinding[];
}

/** A check of one table, or of several. */
export type StateCheck = (client: Queryable, organization: string | null) => Promise<StateFindings[]>;

/** At most this many findings of a check are returned for each log; all are counted. */
const MAX_EXAMPLES = 10;

/** Reads the findings of a query. */
export async function readFindings(
  client: Queryable,
  table: string,
  query: string,
  organization: string | null,
): Promise<StateFindings[]> {
  const { rows } = await client.query<FindingRow>(limited(query), [organization]);
  const findings = new Map<string, StateFindings>();
  for (const { organization, log, count, key, expected, found } of rows) {
    const name = JSON.stringify([organization, log]);
    const own = findings.get(name) ?? { organization, log, table, count: Number(count), examples: [] };
    findings.set(name, own);
    own.examples.push(describe({ organization, log, table, key, expected, found }));
  }
  return [...findings.values()];
}

/** Groups findings that a check made itself. */
export function groupFindings(
  table: string,
  findings: readonly Omit<StateFinding, 'kind' | 'table'>[],
): StateFindings[] {
  const groups = new Map<string, StateFindings>();
  for (const finding of findings) {
    const { organization, log } = finding;
    const name = JSON.stringify([organization, log]);
    const group = groups.get(name) ?? { organization, log, table, count: 0, examples: [] };
    groups.set(name, group);
    group.count += 1;
    if (group.count <= MAX_EXAMPLES) group.examples.push(describe({ ...finding, table }));
  }
  return [...groups.values()];
}

/** A table, and a query for the rows that it should have. The key includes organization and log. */
export interface Recomputation {
  table: string;
  /** Identifies a row. */
  key: readonly string[];
  /** The other columns. */
  columns: readonly string[];
  /** What names a row in a finding, out of key and columns. */
  names: readonly string[];
  /** Selects key and columns. May use $1. */
  expected: string;
}

/** The query for the rows in which a table differs from what it should have. */
export function differencesOf({ table, key, columns, names, expected }: Recomputation): string {
  const all = [...key, ...columns].join(', ');
  const list = (alias: string, of: readonly string[]) => of.map((column) => `${alias}.${column}`).join(', ');
  const objectOf = (alias: string, of: readonly string[]) =>
    `jsonb_build_object(${of.map((column) => `'${column}', ${alias}.${column}`).join(', ')})`;
  return `
    with expected as (${expected}), found as (
      select ${all} from ${table} where $1::text is null or organization = $1
    )
    select coalesce(e.organization, f.organization) as organization, coalesce(e.log, f.log) as log,
      case when e.organization is null then ${objectOf('f', names)} else ${objectOf('e', names)} end as key,
      case when e.organization is not null then ${objectOf('e', [...key, ...columns])} end as expected,
      case when f.organization is not null then ${objectOf('f', [...key, ...columns])} end as found
    from expected e full join found f on ${key.map((column) => `e.${column} = f.${column}`).join(' and ')}
    where e.organization is null or f.organization is null or (${list('e', columns)}) is distinct from (${list('f', columns)})`;
}

/** SQL for the time of a column with ticks, cut to the microsecond. */
export function timeOfTicks(ticks: string): string {
  const rest = `(${ticks} % ${TICKS_PER_DAY} + ${TICKS_PER_DAY}) % ${TICKS_PER_DAY}`;
  return `(timestamptz 'epoch' + ((${ticks} - ${rest}) / ${TICKS_PER_DAY}) * interval '1 day' + (${rest} / 10) * interval '1 microsecond')`;
}

const TICKS_PER_DAY = '864000000000';

interface FindingRow extends LogKey {
  key: Columns;
  expected: Columns | null;
  found: Columns | null;
  count: string;
}

/** Numbers as texts: JSON numbers would lose digits. */
const texts = (object: string) => `(select jsonb_object_agg(key, value) from jsonb_each_text(${object}))`;

function limited(query: string): string {
  return `
    select organization, log, count, coalesce(${texts('numbered.key')}, '{}') as key, ${texts('numbered.expected')} as expected,
      ${texts('numbered.found')} as found
    from (
      select findings.*, count(*) over (partition by organization, log) as count,
        row_number() over (partition by organization, log) as number
      from (${query}) findings
    ) numbered
    where number <= ${MAX_EXAMPLES}
    order by organization, log, number`;
}

/** Leaves out the columns that agree. */
function describe({ expected, found, ...finding }: Omit<StateFinding, 'kind'>): StateFinding {
  if (expected === null || found === null) return { kind: 'state', ...finding, expected, found };
  const differing = Object.keys(expected).filter((name) => expected[name] !== (found[name] ?? null));
  const only = (columns: Columns): Columns =>
    Object.fromEntries(differing.map((name) => [name, columns[name] ?? null]));
  return { kind: 'state', ...finding, expected: only(expected), found: only(found) };
}
