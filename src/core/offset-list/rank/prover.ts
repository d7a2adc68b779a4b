/** Performs the steps of the rank rule: requests pages and compares them with the store. */
import { ExportError } from '../../errors.ts';
import type { Prover, ProverOptions } from '../../prover.ts';
import type { RankStore } from '../../store.ts';
import type { ChunkEvidence, SharedList } from '../reader.ts';
import { prove } from './prove.ts';
import { locateNewest } from './read.ts';
import { lookAtSuspicion, scrub } from './review.ts';
import { BUDGET, BudgetSpent, RankSession, type Received } from './session.ts';
import type { ListEnd, Look, Request, Step } from './steps.ts';

/** Suspected events that one run looks at. */
const MAX_SUSPICIONS = 20;

export function createRankProver(
  { fetchPage, pageSize }: Pick<SharedList, 'fetchPage' | 'pageSize'>,
  store: RankStore,
  options: ProverOptions,
): Prover {
  const { scrubPages, shouldRetry, signal, meter } = options;
  const session = new RankSession({
    ...{ ranks: store.ranks, head: store.head, known: store.known },
    pageSize: () => pageSize.rowsOf(options.pageSize),
  });
  const { run, memory } = session;
  /** The run can do without the review: a source that is away is found by the read. */
  let isReview = false;

  const compare = async (received: Received): Promise<Look> => {
    const { shown, ignored } = received;
    const comparison = await store.compare(shown, { ignored });
    return session.compared(received, comparison, store.head);
  };

  const perform = async <T>(step: Step<T>): Promise<T> => {
    let next = step.next();
    while (!next.done) next = step.next(await supply(next.value));
    return next.value;
  };

  const supply = async (request: Request): Promise<Look | readonly number[]> => {
    if (request.kind === 'count') return store.countRows(request.after, request.places);
    if (request.kind === 'settle') return compare(session.receive(request.page, true));
    session.spend(request);
    const options = { signal, meter, maxAttempts: isReview ? 1 : undefined };
    const page = await fetchPage({ skip: request.skip, top: request.top }, options);
    meter.pages += 1;
    return compare(session.receive(page));
  };

  return {
    get ranks() {
      return session.ranks;
    },
    async review() {
      isReview = true;
      try {
        for (let i = 0; i < scrubPages; i++) memory.scrub = await perform(scrub(run, memory.scrub));
        const places = await store.readSuspicions(MAX_SUSPICIONS);
        if (memory.changedAt !== undefined) places.push(memory.changedAt);
        memory.changedAt = undefined;
        for (const place of places) await perform(lookAtSuspicion(run, place, run.headOffset));
      } catch (error) {
        // The read reports the error if it persists.
        if (!isTemporary(error)) throw error;
      } finally {
        isReview = false;
      }
    },
    observe(chunks, result) {
      for (const chunk of chunks) {
        const { page, newest, isEmpty, largest } = chunk.evidence as ChunkEvidence;
        run.largest = Math.max(run.largest, largest);
        session.note(result, page, store.head);
        if (chunk.isLast) session.end = { newest: isEmpty ? undefined : (newest as ListEnd['newest']), page };
      }
    },
    async prove() {
      if (!session.end) throw new Error('prove() was called before the read reached the end');
      try {
        session.end = await perform(locateNewest(run, session.end));
        const remembered = shouldRetry ? undefined : session.rememberedDifference;
        const verdict = await perform(prove(run, session.end, remembered));
        return session.conclude(verdict, {
          suspicions: await store.countSuspicions(),
          hasEvents: verdict.kind === 'empty' && (await store.hasEvents()),
        });
      } catch (error) {
        if (error instanceof BudgetSpent)
          return session.notFinished(
            `the search was stopped after ${BUDGET} requests; the next run continues`,
          );
        if (!isTemporary(error)) throw error;
        return session.notFinished(`a request of the count failed: ${(error as Error).message}`);
      }
    },
  };
}

function isTemporary(error: unknown): boolean {
  return error instanceof ExportError && error.code === 'source-away';
}
