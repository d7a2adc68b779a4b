/** The table, the watermark and the history against the source's truth. Shares no code with the program. */
import type pg from 'pg';
import type { SimulatedRow } from '../../src/simulator/rows.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';
import type { RowSpan } from '../../src/simulator/spans.ts';
import {
  fieldsOf,
  type Row,
  STORED_EVENTS,
  storedFieldsOf,
  storedIdOf,
  withoutEach,
} from '../support/compare.ts';
import {
  type Claim,
  countDeletedInside,
  type Facts,
  findDoubled,
  findFalseClaims,
  findFalselyGone,
  findUnnoticed,
} from './completeness.ts';
import { findBrokenPromises } from './promises.ts';

interface Differences {
  /** Shown by the source now, and not stored. */
  lost: string[];
  /** Stored more often than the source ever showed it. */
  doubled: string[];
  /** Stored with a byte that the source never sent, or under an id that is not its own. */
  altered: string[];
}

/** The fields of a row's JSON text. */
type Parse = (text: string) => string;

/** A round is judged several times, and parsing its rows takes most of that. */
const parsed = new WeakMap<Simulator, Map<string, string>>();

function parserOf(simulator: Simulator): Parse {
  const known = parsed.get(simulator) ?? new Map<string, string>();
  parsed.set(simulator, known);
  return (text) => {
    const fields = known.get(text) ?? fieldsOf(JSON.parse(text));
    known.set(text, fields);
    return fields;
  };
}

/** `shown` and `gone` are the source's rows as JSON texts: those it shows now, and those it has deleted. */
export function compareWithTruth(
  events: readonly Row[],
  shown: readonly string[],
  gone: readonly string[],
  parse: Parse = (text) => fieldsOf(JSON.parse(text)),
): Differences {
  const sent = shown.map(parse);
  const everSent = [...sent, ...gone.map(parse)];
  const known = new Set(everSent);
  const stored = events.map((row) => ({ row, fields: storedFieldsOf(row) }));
  const [right, wrong] = [stored.filter(isRight), stored.filter((each) => !isRight(each))];
  function isRight({ row, fields }: { row: Row; fields: string }): boolean {
    return known.has(fields) && row.event_id === storedIdOf(row);
  }
  return {
    lost: withoutEach(sent, right.map(fieldsAlone)),
    doubled: withoutEach(right.map(fieldsAlone), everSent),
    altered: wrong.map(fieldsAlone),
  };
}

function fieldsAlone({ fields }: { fields: string }): string {
  return fields;
}

export interface Verdict extends Differences {
  rows: number;
  broken: string[];
  /** Why "complete" was false, for each time. */
  falselyComplete: string[];
  /** Events noted as gone that are not. */
  falselyGone: string[];
  completeness: Completeness;
}

/** What the program says, and what there is to notice. */
export interface Completeness {
  state: string | undefined;
  reason: string | null;
  /** Deleted behind the head, and not noted as gone. */
  unnoticed: string[];
  /** Stored events that the source deleted other than by retention. */
  deletedInside: number;
}

export interface JudgeOptions {
  target: Target | undefined;
  /** Until then a replica lagged. A run that began before may have read its list, which ends earlier. */
  laggedUntil?: number | undefined;
  claims: readonly Claim[];
  /** The list was replaced by another one then: what the source shows need not be stored, and no run may say "complete". */
  replacedAt: number | undefined;
}

/** The newest row when the fault began, and the last run before: a later run that succeeded must have come beyond it. */
export interface Target {
  row: SimulatedRow;
  runId: string;
}

/** The whole verdict on an organization, when nothing moves any more. */
export async function judge(
  pool: pg.Pool,
  simulator: Simulator,
  { target, claims, replacedAt, laggedUntil }: JudgeOptions,
): Promise<Verdict> {
  const { organization, rows: shown, removed: gone } = simulator;
  const parse = parserOf(simulator);
  const events = await pool.query(STORED_EVENTS, [organization]);
  const texts = (rows: readonly SimulatedRow[]) => rows.map(({ text }) => text);
  const isTold = target && replacedAt === undefined;
  const early = isTold && shown.some(({ text }) => text === target.row.text) ? await findEarlyEnds() : [];
  async function findEarlyEnds(): Promise<string[]> {
    const { row, runId } = target!;
    const { rows } = await pool.query<{ run_id: string }>(EARLY_ENDS, [
      organization,
      runId,
      String(row.ticks),
      new Date(laggedUntil ?? 0),
    ]);
    return rows.map((run) => `run ${run.run_id} succeeded without having read the whole list`);
  }
  const differences = compareWithTruth(events.rows, texts(shown), texts(gone), parse);
  const facts = {
    ...factsOf(simulator.spans(), events.rows, parse),
    gone: await readGone(pool, organization),
  };
  const completeness = await readCompleteness(pool, organization, facts);
  const hole = [...differences.lost, ...completeness.unnoticed];
  return {
    rows: events.rows.length,
    ...differences,
    lost: replacedAt === undefined ? differences.lost : [],
    doubled: [...differences.doubled, ...findDoubled(facts)],
    broken: [...(await findBrokenPromises(pool, organization)), ...early],
    falselyComplete: [
      ...findFalseClaims(claims, facts),
      ...claims
        .filter(({ provenAt }) => replacedAt !== undefined && provenAt > replacedAt)
        .map(({ runId }) => `run ${runId} said "complete" of a list that was replaced`),
      ...(completeness.state === 'complete' ? hole.map((fields) => `"complete" without ${fields}`) : []),
    ],
    falselyGone: findFalselyGone(facts),
    completeness,
  };
}

function factsOf(
  spans: readonly RowSpan[],
  events: readonly Row[],
  parse: Parse,
): Pick<Facts, 'spans' | 'stored'> {
  return {
    spans: spans.map(({ text, ...span }) => ({ fields: eventOf(parse(text)), ...span })),
    stored: currentOf(events),
  };
}

/** The current rows. Rows that are forms of one event share their runs: the earliest ones stored it. */
function currentOf(events: readonly Row[]): Facts['stored'] {
  const groups = new Map<string, { current: number; runIds: bigint[] }>();
  for (const row of events) {
    const fields = eventOf(storedFieldsOf(row));
    const group = groups.get(fields) ?? { current: 0, runIds: [] };
    groups.set(fields, group);
    group.runIds.push(BigInt(row.run_id as string));
    if (row.superseded_by === null) group.current += 1;
  }
  return [...groups].flatMap(([fields, { current, runIds }]) =>
    runIds
      .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
      .slice(0, current)
      .map((runId) => ({ fields, runId })),
  );
}

const forms = new Map<string, string>();

/** The fields without what differs between two forms of an event. */
function eventOf(fields: string): string {
  const known = forms.get(fields);
  if (known !== undefined) return known;
  const values = JSON.parse(fields) as (string | null)[];
  const [details, version] = [3, 7];
  values[details] = valueOfDetails(values[details]!);
  values[version] = null;
  const text = JSON.stringify(values);
  forms.set(fields, text);
  return text;
}

function valueOfDetails(details: string | null): string | null {
  if (details === null) return null;
  try {
    return JSON.stringify(sorted(JSON.parse(details)));
  } catch {
    return details.replaceAll('\r\n', '\n');
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .map(([name, member]) => [name, sorted(member)])
    .sort(([a], [b]) => (String(a) < String(b) ? -1 : 1));
}

async function readGone(pool: pg.Pool, organization: string): Promise<Facts['gone']> {
  const { rows } = await pool.query<Row>(
    `select e.*, g.state, g.suspected_run_id from audit.gone_events g
     join audit.events e using (organization, log, created_on, event_id) where g.organization = $1`,
    [organization],
  );
  return rows.map((row) => ({
    fields: eventOf(storedFieldsOf(row)),
    state: String(row.state),
    suspectedRunId: BigInt(row.suspected_run_id as string),
  }));
}

async function readCompleteness(pool: pg.Pool, organization: string, facts: Facts): Promise<Completeness> {
  const { rows } = await pool.query<{ state: string; reason: string | null }>(
    'select state, reason from audit.completeness where organization = $1',
    [organization],
  );
  return {
    state: rows[0]?.state,
    reason: rows[0]?.reason ?? null,
    unnoticed: findUnnoticed(facts),
    deletedInside: countDeletedInside(facts),
  };
}

const EARLY_ENDS = `
  select run_id from audit.runs
  where organization = $1 and run_id > $2 and started_at >= $4 and outcome = 'succeeded' and not coalesce(frontier_ticks > $3, false)`;
