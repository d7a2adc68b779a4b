/** Checks `audit.gone_events`, `audit.rejected_events` and `audit.rejected_places`: what they refer to, and what follows from their columns. */
import { storableText } from '../../format/columns.ts';
import { groupFindings, readFindings, type StateCheck, type StateFindings, timeOfTicks } from './finding.ts';

const runOf = (alias: string, column: string) => `exists (
  select from audit.runs r where r.run_id = ${alias}.${column} and r.organization = ${alias}.organization and r.log = ${alias}.log
)`;

const RUN_COLUMNS = ['suspected_run_id', 'gone_run_id', 'shown_again_run_id'];

const GONE_RULES: [isWrong: string, expected: string, columns: readonly string[]][] = [
  [
    'not is_stored',
    `jsonb_build_object('event_id', 'an event that is stored at created_on and created_on_ticks')`,
    ['event_id', 'created_on', 'created_on_ticks'],
  ],
  [
    `created_on <> ${timeOfTicks('created_on_ticks')}`,
    `jsonb_build_object('created_on', ${timeOfTicks('created_on_ticks')})`,
    ['created_on'],
  ],
  ...RUN_COLUMNS.map((column): (typeof GONE_RULES)[number] => [
    `${column} is not null and not ${runOf('g', column)}`,
    `jsonb_build_object('${column}', 'a run of this log')`,
    [column],
  ]),
  [
    '(gone_at is null) <> (gone_run_id is null)',
    `jsonb_build_object('gone_at, gone_run_id', 'both or neither')`,
    ['gone_at', 'gone_run_id'],
  ],
  [
    '(shown_again_at is null) <> (shown_again_run_id is null)',
    `jsonb_build_object('shown_again_at, shown_again_run_id', 'both or neither')`,
    ['shown_again_at', 'shown_again_run_id'],
  ],
  [
    `(gone_at is not null) <> (state in ('gone', 'former source', 'shown again'))`,
    `jsonb_build_object('gone_at', case when state in ('gone', 'former source', 'shown again') then 'a time' end)`,
    ['state', 'gone_at'],
  ],
  [
    `state = 'shown again' and shown_again_at is null`,
    `jsonb_build_object('shown_again_at', 'a time')`,
    ['state', 'shown_again_at'],
  ],
];

const GONE = `
  with gone as materialized (
    select g.*, exists (
      select from audit.events e
      where e.organization = g.organization and e.log = g.log and e.created_on = g.created_on and e.event_id = g.event_id
        and e.created_on_ticks = g.created_on_ticks
    ) as is_stored
    from audit.gone_events g where $1::text is null or organization = $1
  )
  ${GONE_RULES.map(
    ([isWrong, expected, columns]) => `
  select organization, log, jsonb_build_object('created_on', created_on, 'event_id', event_id) as key, ${expected} as expected,
    jsonb_build_object(${columns.map((column) => `'${column}', ${column}`).join(', ')}) as found
  from gone g where ${isWrong}`,
  ).join(' union all ')}`;

export const checkGoneEvents: StateCheck = (client, organization) =>
  readFindings(client, 'audit.gone_events', GONE, organization);

/** Rows whose text or run is wrong, and rows that the source lists at a place and that are not stored. */
const REJECTED = `
  select organization, log, jsonb_build_object('content_hash', content_hash) as key,
    jsonb_build_object('content_hash', sha256(coalesce(source_bytes, convert_to(source_text, 'UTF8')))) as expected,
    jsonb_build_object('content_hash', content_hash) as found
  from audit.rejected_events
  where ($1::text is null or organization = $1) and content_hash <> sha256(coalesce(source_bytes, convert_to(source_text, 'UTF8')))
  union all
  select organization, log, jsonb_build_object('content_hash', content_hash), jsonb_build_object('run_id', 'a run of this log'),
    jsonb_build_object('run_id', run_id)
  from audit.rejected_events e where ($1::text is null or organization = $1) and not ${runOf('e', 'run_id')}
  union all
  select organization, log, jsonb_build_object('content_hash', content_hash), jsonb_build_object('content_hash', content_hash), null
  from audit.rejected_places p where ($1::text is null or organization = $1) and not exists (
    select from audit.rejected_events e
    where e.organization = p.organization and e.log = p.log and e.content_hash = p.content_hash
  )
  group by organization, log, content_hash`;

interface BytesRow {
  organization: string;
  log: string;
  content_hash: string;
  source_text: string;
  source_bytes: Buffer;
}

export const checkRejectedEvents: StateCheck = async (client, organization) => {
  const table = 'audit.rejected_events';
  const { rows } = await client.query<BytesRow>(
    `select organization, log, encode(content_hash, 'hex') as content_hash, source_text, source_bytes
     from audit.rejected_events where source_bytes is not null and ($1::text is null or organization = $1)`,
    [organization],
  );
  const findings = rows.flatMap(({ source_text: text, source_bytes: bytes, content_hash: hash, ...key }) => {
    const expected = storableText(bytes.toString('utf8'));
    if (text === expected) return [];
    return {
      ...key,
      key: { content_hash: hash },
      expected: { source_text: expected },
      found: { source_text: text },
    };
  });
  return mergeFindings([
    ...(await readFindings(client, table, REJECTED, organization)),
    ...groupFindings(table, findings),
  ]);
};

/** A place whose row is missing: one of the two tables was changed by hand, and both are named. */
const PLACES = `
  select organization, log, jsonb_build_object('created_on_ticks', created_on_ticks, 'content_hash', content_hash) as key,
    jsonb_build_object('content_hash', 'a row of audit.rejected_events') as expected,
    jsonb_build_object('content_hash', content_hash) as found
  from audit.rejected_places p where ($1::text is null or organization = $1) and not exists (
    select from audit.rejected_events e
    where e.organization = p.organization and e.log = p.log and e.content_hash = p.content_hash
  )
  union all
  select organization, log, jsonb_build_object('created_on_ticks', created_on_ticks, 'content_hash', content_hash) as key,
    jsonb_build_object('created_on_ticks', 'the start of a millisecond', 'times_shown', '1 or more') as expected,
    jsonb_build_object('created_on_ticks', created_on_ticks, 'times_shown', times_shown) as found
  from audit.rejected_places where ($1::text is null or organization = $1) and (created_on_ticks % 10000 <> 0 or times_shown < 1)`;

export const checkRejectedPlaces: StateCheck = (client, organization) =>
  readFindings(client, 'audit.rejected_places', PLACES, organization);

/** Two lists of findings of one table. */
function mergeFindings(findings: readonly StateFindings[]): StateFindings[] {
  const merged = new Map<string, StateFindings>();
  for (const { count, examples, ...key } of findings) {
    const name = JSON.stringify(key);
    const before = merged.get(name);
    merged.set(name, {
      ...key,
      count: count + (before?.count ?? 0),
      examples: [...(before?.examples ?? []), ...examples],
    });
  }
  return [...merged.values()];
}
