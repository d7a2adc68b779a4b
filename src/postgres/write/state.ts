/**
 * The state of a log that its entries record beside the rows: the ranges of `audit.coverage`, and where the events come from. An entry of
 * kind `state` is appended when they change; the end of the newest range and the times of proofs move without one.
 */
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { listRecords } from '../format/list-records.ts';
import { inUtc } from '../format/utc.ts';

/** $1 organization, $2 log. */
export const READ_STATE = `
  select coalesce((
    select json_agg(json_build_array(from_ticks::text, to_ticks::text, ${inUtc('begun_at')}, run_id::text) order by from_ticks)
    from audit.coverage where organization = $1 and log = $2
  ), '[]') as ranges, source_url, source_path, source_partition
  from audit.watermarks where organization = $1 and log = $2`;

/** $1 organization, $2 log. */
export const READ_RECORDED_STATE = `
  select facts from audit.ledger where organization = $1 and log = $2 and kind = 'state' order by batch desc limit 1`;

export interface StateRow {
  ranges: [from: string, to: string | null, begunAt: string, runId: string | null][];
  source_url: string | null;
  source_path: string | null;
  source_partition: string | null;
}

/** The state as the text that an entry records. The end of the newest range is left out. */
export function stateFacts({ ranges, source_url, source_path, source_partition }: StateRow): string {
  const last = ranges.length - 1;
  return JSON.stringify({
    ranges: ranges.map(([from, to, begunAt, runId], i) => [from, i === last ? null : to, begunAt, runId]),
    source: [source_url, source_path, source_partition],
  });
}

export class StateRecorder {
  /** The state that the newest entry records; `undefined`: none does. */
  private recorded: string | undefined;
  /** The stored state is not the recorded one: someone changed it. Recording it would hide that. */
  private isForeign = false;
  private pending: string | undefined;

  constructor(
    private readonly client: Client,
    private readonly key: LogKey,
  ) {}

  /** For the first statements of a transaction that may change the state. */
  get statement(): Statement {
    return { name: 'read-state', text: READ_STATE, values: [this.key.organization, this.key.log] };
  }

  /** Call with the state at the beginning of the run. */
  async begin(): Promise<void> {
    const { organization, log } = this.key;
    const { rows } = await this.client.query<{ facts: string }>(READ_RECORDED_STATE, [organization, log]);
    this.recorded = rows[0]?.facts;
    this.isForeign = this.recorded !== undefined && (await this.readFacts()) !== this.recorded;
  }

  get isUnrecorded(): boolean {
    return this.recorded === undefined;
  }

  /** The entry for the state as this transaction leaves it, if it differs from the recorded one. */
  async draft(): Promise<EntryDraft[]> {
    if (this.isForeign) return [];
    const facts = await this.readFacts();
    if (facts === this.recorded) return [];
    this.pending = facts;
    return [{ kind: 'state', listed: listRecords([{ key: NO_KEY, record: facts }]), facts }];
  }

  /** Call when the transaction of `draft` is committed. */
  commit(): void {
    this.recorded = this.pending ?? this.recorded;
    this.pending = undefined;
  }

  /** Call when it failed. */
  discard(): void {
    this.pending = undefined;
  }

  private async readFacts(): Promise<string> {
    const { rows } = await this.client.query<StateRow>(this.statement);
    return stateFacts(rows[0]!);
  }
}

const NO_KEY = '0'.repeat(32);
