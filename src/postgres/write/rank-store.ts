/** The store as a prover of completeness sees it, for one run. */
import type { LogKey } from '../../core/log-key.ts';
import { afterPlace, placeOfTicks } from '../../core/place.ts';
import type { Json } from '../../core/source.ts';
import type { RankStore } from '../../core/store.ts';
import type { Client } from '../connection/pool.ts';
import type { RowCounter } from './count-rows.ts';
import { COUNT_SUSPICIONS, READ_SUSPICIONS } from './span-statements.ts';
import type { SpanStore } from './span-store.ts';
import type { RunTransactions } from './transactions.ts';

export function createRankStore({
  client,
  organization,
  log,
  ranks,
  known,
  spans,
  counter,
  transactions,
  compare,
}: LogKey & {
  client: Client;
  /** What an earlier prover stored. */
  ranks: Json;
  /** Ticks of the watermark when the run began. */
  known: bigint | undefined;
  spans: SpanStore;
  counter: RowCounter;
  transactions: RunTransactions;
  compare: RankStore['compare'];
}): RankStore {
  const read = async <Row extends object>(text: string, values: unknown[]) =>
    (await transactions.read(() => client.query<Row>(text, [organization, log, ...values]))).rows;
  return {
    ranks,
    get head() {
      return spans.head;
    },
    known,
    compare,
    countRows: (after, places) => transactions.read(() => counter.countRows(after, places)),
    readSuspicions: async (limit) => {
      const rows = await read<{ ticks: string }>(READ_SUSPICIONS, [lastOf(spans.head), limit]);
      return [...new Set(rows.map(({ ticks }) => placeOfTicks(BigInt(ticks))))];
    },
    countSuspicions: async () => {
      const rows = await read<{ events: string }>(COUNT_SUSPICIONS, [lastOf(spans.head)]);
      return Number(rows[0]!.events);
    },
    hasEvents: async () => {
      const [events] = await transactions.read(() =>
        counter.countRows(BEFORE_EVERY_PLACE, [AFTER_EVERY_PLACE]),
      );
      return events! > 0;
    },
  };
}

const BEFORE_EVERY_PLACE = -(10n ** 18n);
const AFTER_EVERY_PLACE = 10n ** 19n;

/** The last ticks of a place. */
function lastOf(place: bigint | undefined): string | null {
  return place === undefined ? null : (afterPlace(place) - 1n).toString();
}
