/**
 * The state of a log that its entries record beside the rows: the ranges of `audit.coverage`, and where the events come from. An entry of
 * kind `state` is appended when they change; the end of the newest range and the times of proofs move without one.
 */
import { ExportError } from '../../core/errors.ts';
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Statement } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { listRecords } from '../format/list-records.ts';
import { READ_RECORDED_STATE, READ_STATE, type StateRow, stateFacts } from '../read/state.ts';
import { LOCK_COVERAGE } from './coverage.ts';

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

  /**
   * Call in a transaction before it changes the coverage, if `draft` follows: nobody else changes it until the transaction ends, and what
   * somebody changed before is not taken for a change by the run.
   */
  async lock(): Promise<void> {
    await this.client.query(LOCK_COVERAGE);
    if (this.recorded !== undefined && (await this.readFacts()) !== this.recorded) this.isForeign = true;
  }

  /** The entry for the state as this transaction leaves it, if it differs from the recorded one. Call `lock` before the change. */
  async draft(): Promise<EntryDraft[]> {
    if (this.isForeign) return [];
    return (await this.readFacts()) === this.recorded ? [] : this.restate();
  }

  /** The entry for the state as it is, also if an entry records it already. Throws `differences` if it is not the recorded one. */
  async restate(): Promise<EntryDraft[]> {
    if (this.isForeign) {
      throw new ExportError(
        'differences',
        'audit.coverage or the source in audit.watermarks differs from what the ledger recorded: see `verify --offline`.',
      );
    }
    const facts = await this.readFacts();
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
