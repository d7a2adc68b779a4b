/** Compares the tables beside `audit.events` with the entries that list their rows. */
import type { LedgerFinding } from '../../core/ledger/check.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Queryable } from '../connection/pool.ts';
import { RETURN_GONE, RETURN_REJECTED, RETURN_RUN } from '../format/state-records.ts';
import { READ_RECORDED_STATE, READ_STATE, type StateRow, stateFacts } from './state.ts';

/** At most this many rows are named; all are counted. */
const MAX_NAMED = 1000;

interface Recorded {
  kind: 'gone' | 'rejected' | 'run';
  table: string;
  /** The stored rows, with key and record. */
  select: string;
  /** Whether every stored row must be listed: a quiet run is not. */
  areAllListed: boolean;
  /** The columns of a record that a message names: [event id, time]. */
  named: [eventId: number | undefined, createdOn: number | undefined];
}

const RECORDED: readonly Recorded[] = [
  {
    ...{ kind: 'gone', table: 'audit.gone_events', areAllListed: true, named: [0, 1] },
    select: `select ${RETURN_GONE} from audit.gone_events g where organization = $1 and log = $2`,
  },
  {
    ...{ kind: 'rejected', table: 'audit.rejected_events', areAllListed: true, named: [undefined, 5] },
    select: `select ${RETURN_REJECTED} from audit.rejected_events r where organization = $1 and log = $2`,
  },
  {
    ...{ kind: 'run', table: 'audit.runs', areAllListed: false, named: [undefined, 2] },
    select: `select ${RETURN_RUN} from audit.runs r where organization = $1 and log = $2`,
  },
];

/**
 * Rows whose record differs from the newest one that an entry lists under their key, rows that no entry lists, and listed rows that are
 * not stored. $1 organization, $2 log, $3 kind.
 */
const compare = ({ select, areAllListed }: Recorded) => `
  with listed as (
    select distinct on (key) encode(key, 'hex') as key, hash, batch from (
      select batch, i, substring(inserted from i * 48 + 1 for 16) as key, substring(inserted from i * 48 + 17 for 32) as hash
      from audit.ledger, generate_series(0, length(inserted) / 48 - 1) as i
      where organization = $1 and log = $2 and format = 2 and kind = $3
    ) rows order by key, batch desc, i desc
  ), stored as (${select})
  select key, listed.batch, record, hash is null as is_unlisted, record is null as is_absent, count(*) over () as count
  from listed ${areAllListed ? 'full' : 'left'} join stored using (key)
  where hash is null or record is null or sha256('\\x00'::bytea || convert_to(record, 'UTF8')) <> hash
  limit ${MAX_NAMED}`;

interface Row {
  key: string;
  batch: string | null;
  record: string | null;
  is_unlisted: boolean;
  is_absent: boolean;
  count: string;
}

/** Call it for a log with an entry of format 2: the first one lists what older versions wrote. */
export async function findUnrecorded(
  client: Queryable,
  { organization, log }: LogKey,
): Promise<LedgerFinding[]> {
  const findings: LedgerFinding[] = [];
  for (const recorded of RECORDED) {
    const { rows } = await client.query<Row>(compare(recorded), [organization, log, recorded.kind]);
    findings.push(...rows.map((row) => describe(row, recorded)));
  }
  findings.push(...(await findChangedState(client, { organization, log })));
  return findings;
}

function describe(row: Row, { table, named }: Recorded): LedgerFinding {
  const values = row.record === null ? [] : (JSON.parse(row.record) as (string | null)[]);
  const valueAt = (i: number | undefined) => (i === undefined ? null : (values[i] ?? null));
  const name = table === 'audit.runs' ? `run ${BigInt(`0x${row.key}`)}` : `row ${row.key}`;
  const where = { batch: row.batch === null ? null : BigInt(row.batch), table };
  const facts = { ...where, eventId: valueAt(named[0]), createdOn: valueAt(named[1]) };
  if (row.is_unlisted) return { ...facts, kind: 'inserted', reason: `${table}: ${name} is in no entry` };
  if (row.is_absent)
    return {
      ...facts,
      kind: 'deleted',
      reason: `${table}: ${name} is listed by entry ${row.batch}, and not stored`,
    };
  return {
    ...facts,
    kind: 'edited',
    reason: `${table}: ${name} differs from what entry ${row.batch} recorded`,
  };
}

async function findChangedState(client: Queryable, { organization, log }: LogKey): Promise<LedgerFinding[]> {
  const values = [organization, log];
  const { rows: recorded } = await client.query<{ facts: string; batch: string }>(
    READ_RECORDED_STATE,
    values,
  );
  if (!recorded[0]) return [];
  const { rows } = await client.query<StateRow>(READ_STATE, values);
  const found = rows[0] ? stateFacts(rows[0]) : 'nothing';
  const { facts, batch } = recorded[0];
  if (found === facts) return [];
  const table = 'audit.coverage';
  const reason = `audit.coverage, or source_url, source_path or source_partition of audit.watermarks: entry ${batch} recorded ${facts}, found ${found}`;
  return [{ kind: 'edited', batch: BigInt(batch), table, eventId: null, createdOn: null, reason }];
}
