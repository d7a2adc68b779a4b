/** Ends a run: its outcome, what it proved, and its entry in the ledger, in the transaction that releases the lease. */
import type { EntryDraft } from '../../core/ledger/entry.ts';
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace } from '../../core/place.ts';
import type { Proof } from '../../core/prover.ts';
import type { Json } from '../../core/source.ts';
import type { RunCounters } from '../../core/store.ts';
import { pipeline } from '../connection/pipeline.ts';
import type { Client } from '../connection/pool.ts';
import { storableText } from '../format/columns.ts';
import type { KeyedRecord } from '../format/list-records.ts';
import { RETURN_RUN } from '../format/state-records.ts';
import { extendCoverage, isNewestExtended, type ReadRange } from './coverage.ts';
import type { Lease } from './lease.ts';
import { draftRecords } from './ledger.ts';
import { endRun, recordProof, updateRun } from './run-rows.ts';
import type { StateRecorder } from './state.ts';
import type { RunTransactions } from './transactions.ts';

export type Outcome = 'succeeded' | 'failed' | 'interrupted';

/** What a run proved, and what the next run's prover needs. */
export interface Conclusion {
  proof: Proof;
  ranks: Json;
}

export interface RunEnd {
  outcome: Outcome;
  error: string | null;
  warnings: string[];
  counters: RunCounters;
  /** `undefined`: the run did not count. */
  conclusion?: Conclusion | undefined;
}

interface EndingRun extends LogKey {
  client: Client;
  runId: string;
  lease: Lease;
  state: StateRecorder;
  isSynchronous: boolean;
  /** The head instant. */
  head: bigint | undefined;
  /** The run stored and changed nothing, and succeeded: the ledger does not list it. */
  isQuiet: boolean;
}

/** Stores the outcome and the final counters of a run, and releases its lease. */
export async function finishRun(transactions: RunTransactions, end: RunEnd, run: EndingRun): Promise<void> {
  const { client, runId, lease, isQuiet } = run;
  const { conclusion } = end;
  const error = end.error === null ? null : storableText(end.error);
  const reading = { state: conclusion && run.state.statement };
  await transactions.write('storing the outcome of the run', reading, async (_head, { state }) => {
    const outcome = {
      // Flushes all earlier commits to disk as well, so that a recorded outcome is durable.
      toDisk: run.isSynchronous ? undefined : { text: 'set local synchronous_commit = on' },
      run: updateRun(runId, end.counters, undefined),
      end: endRun(runId, { ...end, error }, conclusion?.proof),
      proof: conclusion && recordProof(run, { ...conclusion, head: run.head }),
    };
    const covered = conclusion && provenRange(conclusion.proof);
    const coverage = { coverage: covered && extendCoverage(run, covered) };
    const release = { lease: lease.end };
    const isStateKept = isNewestExtended(state[0], covered);
    if (isQuiet && isStateKept) return { plan: { ...outcome, ...coverage, ...release }, result: () => {} };
    if (!isStateKept) await run.state.lock();
    await pipeline(client, { ...outcome, ...coverage });
    const changes = isStateKept ? [] : await run.state.draft();
    const drafts = [...changes, ...(await draftRun(client, runId, isQuiet))];
    return { plan: release, drafts, result: () => {} };
  });
  lease.markEnded();
}

/** A run that stored or changed something, or did not succeed, is recorded in the ledger. */
async function draftRun(client: Client, runId: string, isQuiet: boolean): Promise<EntryDraft[]> {
  if (isQuiet) return [];
  const { rows } = await client.query<KeyedRecord>(READ_RUN, [runId]);
  return draftRecords('run', rows);
}

/** $1 run. */
const READ_RUN = `select ${RETURN_RUN} from audit.runs r where run_id = $1`;

/** The coverage that a count has proven: from the head of the source's list to when its end was requested. */
function provenRange(proof: Proof): ReadRange | undefined {
  if (proof.state !== 'complete') return undefined;
  const { from, to, provenAt } = proof;
  return { from: afterPlace(from), to, isFromHead: true, isToEnd: true, provenAt };
}
