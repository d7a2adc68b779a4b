/** The transactions of one run: each holds the lease, and appends its entries to the ledger. */
import type { EntryDraft } from '../../core/ledger/entry.ts';
import { translateDatabaseError } from '../connection/errors.ts';
import { type Plan, type PlanResults, transact } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import type { Lease } from './lease.ts';
import type { LedgerWriter, TransactionHead } from './ledger.ts';
import type { StateRecorder } from './state.ts';

/** The statements that end a transaction, and the entries to append with them. */
export interface Ending<Last extends Plan, T> {
  plan: Last;
  drafts?: readonly EntryDraft[];
  result: (results: PlanResults<Last>) => T;
}

/** Does what comes before the end of a transaction, from the head of the ledger and the rows read with the lease. */
export type Work<Read extends Plan, Last extends Plan, T> = (
  head: TransactionHead,
  read: PlanResults<Read>,
) => Promise<Ending<Last, T>>;

/** What a transaction is for, as error messages say it, and what must happen before it begins. */
export interface Purpose {
  doing: string;
  prepare?: (() => Promise<void>) | undefined;
}

/** Months appear one after the other while a worker stores rows of several years. */
const MAX_ATTEMPTS = 5;

/**
 * A row was sent to the default partition, and waited while another worker added the partition of its month. PostgreSQL names no constraint
 * then, as it does for the constraints of a table.
 */
function isForAnotherPartition(error: unknown): boolean {
  const { code, constraint } = error as { code?: unknown; constraint?: unknown };
  return code === CHECK_VIOLATION && constraint === undefined;
}

const CHECK_VIOLATION = '23514';

export class RunTransactions {
  constructor(
    private readonly client: Client,
    private readonly lease: Lease,
    private readonly ledger: LedgerWriter,
    private readonly state: StateRecorder,
  ) {}

  /** Transactions run one at a time: a run that is stopped may still have one in progress. */
  async write<Read extends Plan, Last extends Plan, T>(
    purpose: string | Purpose,
    reading: Read,
    work: Work<Read, Last, T>,
  ): Promise<T> {
    const { client, lease, ledger } = this;
    const { doing, prepare }: Purpose = typeof purpose === 'string' ? { doing: purpose } : purpose;
    let newest: LedgerWriter['newest'];
    const transaction = () =>
      transact(client, { lease: lease.hold, ...reading }, async (read) => {
        const held = read.lease[0];
        if (!held) throw await lease.lostError();
        const head = await ledger.head(held);
        const { plan, drafts = [], result } = await work(head, read);
        const adopted = drafts.length > 0 ? await this.adopt(drafts, held) : drafts;
        const more = () => {
          const appended = ledger.append(head, adopted);
          newest = appended.newest;
          return appended.plan;
        };
        return { plan, more, result };
      });
    try {
      const stored = await lease.exclusively(async () => {
        await prepare?.();
        return this.repeatIfMonthAppears(transaction);
      });
      ledger.newest = newest ?? ledger.newest;
      this.state.commit();
      return stored;
    } catch (error) {
      this.state.discard();
      throw translateDatabaseError(error, doing);
    }
  }

  /** Nothing is stored of a transaction that fails. */
  private async repeatIfMonthAppears<T>(transaction: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await transaction();
      } catch (error) {
        if (attempt === MAX_ATTEMPTS || !isForAnotherPartition(error)) throw error;
        this.state.discard();
      }
    }
  }

  /** A query that needs no lease, on the run's connection. */
  async read<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await this.lease.exclusively(work);
    } catch (error) {
      throw translateDatabaseError(error, 'comparing the source with what is stored');
    }
  }

  /** The first entries of format 2 also list the rows that older versions wrote to the tables beside audit.events. */
  private async adopt(
    drafts: readonly EntryDraft[],
    { format }: { format: number | null },
  ): Promise<readonly EntryDraft[]> {
    const isListed = (kind: EntryDraft['kind']) => drafts.some((draft) => draft.kind === kind);
    const state = this.state.isUnrecorded && !isListed('state') ? await this.state.draft() : [];
    if (format === 2) return [...drafts, ...state];
    const adopted = await this.ledger.listUnrecorded();
    const own = drafts.filter(({ kind }) => !adopted.some((draft) => draft.kind === kind));
    return [...own, ...adopted, ...state];
  }
}
