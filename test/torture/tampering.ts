/** Edits by hand: what somebody may do to one row, what `verify --offline` must say of it, and the way back. */
import pg from 'pg';
import type { Round } from './round.ts';

export interface Edit {
  /** The one finding, in the words of `describeFinding`. */
  finding: string;
  /** What was done, as whom. */
  what: string;
}

/** A finding of `verify --json`. */
export interface Finding {
  kind: string;
  batch: string | null;
  table?: string;
  eventId: string | null;
}

export function describeFinding({ kind, batch, table, eventId }: Finding): string {
  if (table !== undefined) return `${kind} ${table}`;
  return eventId === null ? `${kind} entry ${batch}` : `${kind} event ${eventId}`;
}

const LOGINS = ['audit_writer', 'owner'] as const;

type Values = Record<string, string>;

interface Target {
  table: 'events' | 'ledger' | 'runs' | 'coverage' | 'watermarks' | 'gone_events';
  key: string;
  /** Rows that may be edited, in an order. */
  rows: string;
  /** Columns with a changed value: those that the worker may update, and others. */
  byWriter?: Values;
  byOwner?: Values;
  canDelete?: boolean;
  finding: (kind: 'edited' | 'deleted', key: string) => string;
}

const longer = (column: string) => `coalesce(${column}, '') || '!'`;
const later = (column: string) => `${column} + interval '1 microsecond'`;
const each = (columns: readonly string[], value: (column: string) => string): Values =>
  Object.fromEntries(columns.map((column) => [column, value(column)]));

const TARGETS: readonly Target[] = [
  {
    ...{ table: 'events', key: 'event_id', canDelete: true },
    // Not the newest ones: what watches the round wants the watermark to be a stored event.
    rows: 'audit.events where created_on < (select max(created_on) from audit.events) order by created_on, event_id',
    byWriter: {
      ...each(['user_name', 'email', 'message', 'created_on_raw'], longer),
      ...{
        extra: `'{"x": 1}'`,
        raw: `'{}'`,
        updated_at: later('updated_at'),
        superseded_by: 'gen_random_uuid()',
      },
    },
    byOwner: {
      ...each(['category', 'action', 'source', 'details_version', 'details_raw'], longer),
      ...{
        details: `'{"x": 1}'`,
        ordinal: 'ordinal + 1',
        first_seen_at: later('first_seen_at'),
        run_id: 'run_id + 1',
      },
    },
    finding: (kind, key) => `${kind} event ${key}`,
  },
  {
    ...{ table: 'ledger', key: 'batch', rows: 'audit.ledger order by batch' },
    byOwner: {
      ...{ committed_at: later('committed_at'), run_id: 'run_id + 1', peaks: `sha256('x')` },
      ...{ facts: longer('facts'), rows_changed: 'rows_changed + 1' },
    },
    finding: (_kind, key) => `broken entry ${key}`,
  },
  {
    ...{ table: 'runs', key: 'run_id', canDelete: true },
    // Not the newest one: what watches the round takes the number of the newest run for that of its claim.
    rows: `audit.runs where rows_inserted > 0 and outcome = 'succeeded' and run_id < (select max(run_id) from audit.runs) order by run_id`,
    byWriter: { rows_read: 'rows_read + 1', requests: 'requests + 1', warnings: `'{x}'` },
    byOwner: { worker: longer('worker'), started_at: later('started_at') },
    finding: (kind) => `${kind} audit.runs`,
  },
  {
    ...{
      table: 'gone_events',
      key: 'event_id',
      canDelete: true,
      rows: 'audit.gone_events order by event_id',
    },
    byWriter: { state: `'shown again'`, suspected_at: later('suspected_at') },
    finding: (kind) => `${kind} audit.gone_events`,
  },
  {
    ...{ table: 'coverage', key: 'from_ticks', rows: 'audit.coverage order by from_ticks' },
    byOwner: { begun_at: later('begun_at'), run_id: 'run_id + 1', from_ticks: 'from_ticks - 1' },
    finding: () => 'edited audit.coverage',
  },
  {
    ...{ table: 'watermarks', key: 'organization', rows: 'audit.watermarks' },
    byWriter: each(['source_url', 'source_path'], longer),
    finding: () => 'edited audit.coverage',
  },
];

/** Rows that no entry lists. */
const FORGED: readonly { insert: string; finding: (id: string) => string }[] = [
  {
    insert: `insert into audit.events (organization, log, run_id, batch, created_on, event_id, created_on_ticks, created_on_raw, ordinal)
      select organization, log, run_id, batch, created_on, gen_random_uuid(), created_on_ticks, created_on_raw, 0
      from audit.events where event_id = $1 returning event_id as id`,
    finding: (id) => `inserted event ${id}`,
  },
  {
    insert: `insert into audit.ledger_changes (organization, log, batch, row_batch, event_id, old_digest, new_digest)
      select organization, log, 1000000, 1000000, event_id, '', '' from audit.events where event_id = $1 returning event_id as id`,
    finding: (id) => `broken event ${id}`,
  },
  {
    insert: `insert into audit.rejected_events (organization, log, content_hash, source_text, reason, run_id)
      select organization, log, sha256(uuid_send(gen_random_uuid())), 'forged', 'forged', run_id from audit.events where event_id = $1
      returning '' as id`,
    finding: () => 'inserted audit.rejected_events',
  },
];

/** All tables that are edited, to be copied and set back. */
const TABLES = [...new Set([...TARGETS.map(({ table }) => table), 'ledger_changes', 'rejected_events'])];

/** Makes up to `count` edits of different rows, calls `check`, and sets the tables back. */
export async function whileTampered(
  round: Round,
  count: number,
  check: (edits: readonly Edit[]) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({ connectionString: round.environment.DATABASE_URL });
  client.on('error', () => {});
  await client.connect();
  try {
    for (const table of TABLES)
      await client.query(`create temp table saved_${table} as table audit.${table}`);
    const edits: Edit[] = [];
    for (let made = 0; made < count; made++) {
      const edit = await tamper(client, round, edits);
      if (edit) edits.push(edit);
    }
    await check(edits);
    await setBack(client);
  } finally {
    await client.end();
  }
}

async function setBack(client: pg.Client): Promise<void> {
  await client.query('begin');
  for (const table of TABLES) {
    await client.query(
      `delete from audit.${table} t where t::text not in (select s::text from saved_${table} s)`,
    );
    await client.query(
      `insert into audit.${table} overriding system value select s.* from saved_${table} s
       where s::text not in (select t::text from audit.${table} t)`,
    );
  }
  await client.query('commit');
}

/** Makes one edit; `undefined` if what was drawn is not there, or was edited already. */
async function tamper(client: pg.Client, round: Round, edits: readonly Edit[]): Promise<Edit | undefined> {
  const login = round.pick(LOGINS);
  const edit = round.chance(0.3) ? drawForged(round) : drawEdit(round, login);
  const sql = await edit.prepare(client);
  if (!sql || edits.some(({ finding }) => isSameRow(finding, sql.finding))) return undefined;
  await client.query(`begin; set local role ${login === 'owner' ? 'none' : login}`);
  const { rows } = await client.query<{ id: string }>(sql.text, sql.values);
  await client.query('commit');
  return { finding: sql.finding || edit.finding(rows[0]!.id), what: `${login}: ${edit.name}` };
}

/** Two edits of a row, or of the state of a log, are one finding. */
function isSameRow(a: string, b: string): boolean {
  const rowOf = (finding: string) => finding.replace(/^\w+ /, '');
  return b !== '' && rowOf(a) === rowOf(b);
}

interface Drawn {
  name: string;
  /** The statement, and the finding, which is empty if it depends on the inserted row. */
  prepare: (client: pg.Client) => Promise<{ text: string; values: string[]; finding: string } | undefined>;
  finding: (id: string) => string;
}

async function drawKey(
  client: pg.Client,
  { key, rows, share }: Pick<Target, 'key' | 'rows'> & { share: number },
): Promise<string | undefined> {
  const counted = await client.query<{ rows: number }>(
    `select count(*)::int as rows from (select from ${rows}) t`,
  );
  const offset = Math.floor(share * counted.rows[0]!.rows);
  const found = await client.query<{ key: string }>(
    `select ${key}::text as key from ${rows} limit 1 offset ${offset}`,
  );
  return found.rows[0]?.key;
}

function drawEdit(round: Round, login: (typeof LOGINS)[number]): Drawn {
  const target = round.pick(TARGETS.filter(({ byWriter }) => login === 'owner' || byWriter));
  const { table, key, byWriter = {}, byOwner = {}, canDelete } = target;
  const values = login === 'owner' ? { ...byWriter, ...byOwner } : byWriter;
  const [column, value] = round.pick(Object.entries(values));
  const isDelete = login === 'owner' && canDelete === true && round.chance(0.3);
  const share = round.draw(0, 999) / 1000;
  const where = `where ${key}::text = $1`;
  return {
    name: isDelete ? `delete from ${table}` : `update ${table} set ${column}`,
    async prepare(client) {
      const id = await drawKey(client, { ...target, share });
      if (id === undefined) return undefined;
      const text = isDelete
        ? `delete from audit.${table} ${where}`
        : `update audit.${table} set ${column} = ${value} ${where}`;
      return { text, values: [id], finding: target.finding(isDelete ? 'deleted' : 'edited', id) };
    },
    finding: () => '',
  };
}

function drawForged(round: Round): Drawn {
  const { insert, finding } = round.pick(FORGED);
  const share = round.draw(0, 999) / 1000;
  const events = TARGETS[0]!;
  return {
    name: insert.slice(0, insert.indexOf(' (')),
    async prepare(client) {
      const id = await drawKey(client, { ...events, share });
      return id === undefined ? undefined : { text: insert, values: [id], finding: '' };
    },
    finding,
  };
}
