/**
 * The bookkeeping of one run of the rank rule, without IO: what a response changes, how many requests are left, and what the result
 * means. `prover.ts` performs the requests.
 */

import { placeOfTicks } from '../../place.ts';
import type { Proof } from '../../prover.ts';
import type { Json } from '../../source.ts';
import type { Comparison, Shown } from '../../store.ts';
import { BEFORE_ALL, ticksOfDate } from '../../ticks.ts';
import { provesEnd } from '../list-end.ts';
import { type Page, shownUntil, sourceClockOf } from '../page.ts';
import { lookAt } from '../page-rows.ts';
import { type PlacedPage, placeRows } from '../places.ts';
import type { Sequenced } from '../sequence.ts';
import { shownBy } from '../shown.ts';
import { formatRanks, parseRanks, type RankMemory } from './memory.ts';
import type { Verdict } from './prove.ts';
import type { ListEnd, Look, RankRun } from './steps.ts';

/** Requests of one run after it first reached the end, without those that bring a row in front of it. */
export const BUDGET = 60;

/** Thrown when the budget is spent. It ends the count; the run succeeds. */
export class BudgetSpent extends Error {}

/** A response that is ready to be compared with the store. */
export interface Received {
  page: Sequenced<Page>;
  placed: PlacedPage;
  isEnd: boolean;
  shown: Shown;
  /** Ids of events that do not count as missing at the head. */
  ignored: ReadonlySet<string> | undefined;
}

export class RankSession {
  readonly run: RankRun;
  readonly memory: RankMemory;
  /** The end of the list, after the read reached it. */
  end: ListEnd | undefined;
  private spent = 0;
  /** Events stored since the head was last requested. */
  private insertedInHeadStep: Set<string> | undefined;
  /** The head instant, and the place of the watermark, when the run began. */
  private readonly headBefore: bigint;
  private readonly known: bigint | undefined;
  /** The place of the oldest row of the list, as last shown. */
  private oldest: bigint | undefined;

  constructor({
    ranks,
    head,
    known,
    pageSize,
  }: {
    ranks: Json;
    head: bigint | undefined;
    /** Ticks of the watermark. */
    known: bigint | undefined;
    /** The page size, which the size of the rows changes. */
    pageSize: () => number;
  }) {
    this.memory = parseRanks(ranks);
    this.headBefore = head ?? BEFORE_ALL;
    this.known = known === undefined ? undefined : placeOfTicks(known);
    const { largest, headOffset } = this.memory;
    this.run = {
      get pageSize() {
        return pageSize();
      },
      head: head ?? BEFORE_ALL,
      largest,
      headOffset,
      changes: [],
      news: 0,
      settlesAt: undefined,
      isSourceChanged: false,
    };
  }

  get ranks(): Json {
    const { largest, headOffset } = this.run;
    return formatRanks({ ...this.memory, largest, headOffset: Number.isFinite(headOffset) ? headOffset : 0 });
  }

  /** Call it before each request. Throws `BudgetSpent`. */
  spend({ isHeadStep }: { isHeadStep: boolean }): void {
    if (this.end?.newest && this.spent >= BUDGET) throw new BudgetSpent();
    if (!isHeadStep) this.insertedInHeadStep = undefined;
    else this.insertedInHeadStep ??= new Set();
  }

  receive(page: Sequenced<Page>, isKnownEnd = false): Received {
    const { run } = this;
    run.largest = Math.max(run.largest, page.rows.length);
    const placed = placeRows(page);
    if (page.skip === 0) this.oldest = placed.places[0];
    const isEnd =
      isKnownEnd ||
      (page.rows.length > 0 && provesEnd(page, { largest: run.largest, expectedEnd: undefined }));
    const look = lookAt(placed, { isEnd });
    const shown = shownBy(look, page);
    return { page, placed, isEnd, shown, ignored: this.insertedInHeadStep };
  }

  /** Notes the comparison. `head`: the head instant afterwards. */
  compared({ page, placed, isEnd }: Received, comparison: Comparison, head: bigint | undefined): Look {
    this.note(comparison, page, head);
    for (const id of comparison.insertedIds) this.insertedInHeadStep?.add(id);
    if (comparison.isSourceChanged) this.memory.changedAt ??= placed.places[placed.places.length >> 1];
    const newest = this.end?.newest;
    const { inserted, rerendered, oldestChange } = comparison;
    const isUseful = inserted > rerendered && newest !== undefined && oldestChange! < newest.place;
    if (newest && !isUseful) this.spent += 1;
    return { page, placed, comparison, isEnd };
  }

  note(comparison: Comparison, page: Sequenced<Page>, head: bigint | undefined): void {
    const { run } = this;
    const { inserted, rerendered, shownAgain, suspected, confirmed, oldestChange, settlesAt } = comparison;
    run.head = head ?? run.head;
    run.news += inserted - rerendered + shownAgain + suspected + confirmed;
    run.isSourceChanged ||= comparison.isSourceChanged;
    if (settlesAt && (!run.settlesAt || settlesAt > run.settlesAt)) run.settlesAt = settlesAt;
    const { sent, received } = page;
    if (oldestChange !== undefined) run.changes.push({ sent, received, place: oldestChange });
  }

  /** A difference that an earlier run could not resolve. */
  get rememberedDifference(): number | undefined {
    return this.memory.difference?.missing;
  }

  conclude(verdict: Verdict, { suspicions, hasEvents }: { suspicions: number; hasEvents: boolean }): Proof {
    this.memory.difference = undefined;
    return this.explain(this.assess(verdict, { suspicions, hasEvents }));
  }

  /** A source that has changed stays so until a count agrees and its list reaches back to what was stored before. */
  private explain(proof: Proof): Proof {
    const { memory } = this;
    const isAnother =
      proof.state === 'source changed' || (proof.state === 'complete' && this.hasNothingBefore);
    if (isAnother) memory.newestBeforeChange ??= memory.newest ?? this.known;
    if (proof.state === 'source changed') return proof;
    const before = memory.newestBeforeChange;
    const isExplained = proof.state === 'complete' && (before === undefined || this.run.head < before);
    if (!isExplained && (isAnother || before !== undefined))
      return { state: 'source changed', reason: STILL_CHANGED };
    if (proof.state !== 'complete') return proof;
    memory.newestBeforeChange = undefined;
    memory.newest = this.end?.newest?.place ?? memory.newest;
    return proof;
  }

  /**
   * The list begins behind its former head and in front of the newest event known before, but shows no stored event up to that one.
   * Retention deletes the oldest events first, so that it is another list.
   */
  private get hasNothingBefore(): boolean {
    const { oldest, headBefore } = this;
    if (oldest === undefined || oldest <= headBefore) return false;
    return [this.memory.newest, this.known].some(
      (newest) =>
        newest !== undefined && oldest <= newest && newest <= this.run.head && oldest < this.run.head,
    );
  }

  private assess(
    verdict: Verdict,
    { suspicions, hasEvents }: { suspicions: number; hasEvents: boolean },
  ): Proof {
    if (verdict.kind === 'empty') return this.concludeEmpty(hasEvents);
    const changed = this.sourceChanged();
    if (changed) return changed;
    if (verdict.kind === 'difference') return this.describeDifference(verdict);
    if (verdict.kind !== 'proven') return { state: 'not proven', reason: REASONS[verdict.kind] };
    if (suspicions > 0) {
      return {
        state: 'not proven',
        reason: `the source does not show ${suspicions} of the stored events; the next run decides whether they are gone`,
      };
    }
    const { page } = verdict.end.newest!;
    return {
      state: 'complete',
      from: this.run.head,
      to: ticksOfDate(shownUntil(page)),
      provenAt: sourceClockOf(page),
    };
  }

  /** The proof of a run that could not finish the count. */
  notFinished(reason: string): Proof {
    return this.explain(this.sourceChanged() ?? { state: 'not proven', reason });
  }

  private sourceChanged(): Proof | undefined {
    if (!this.run.isSourceChanged) return undefined;
    return { state: 'source changed', reason: SOURCE_CHANGED };
  }

  private concludeEmpty(hasEvents: boolean): Proof {
    if (hasEvents) return { state: 'source changed', reason: 'the list of the source is empty' };
    const { page } = this.end!;
    const to = ticksOfDate(shownUntil(page));
    return { state: 'complete', from: to, to, provenAt: sourceClockOf(page) };
  }

  private describeDifference({ missing, isConfined }: Extract<Verdict, { kind: 'difference' }>): Proof {
    const { settlesAt } = this.run;
    // An event that may be suspected soon is looked for again.
    if (isConfined && !settlesAt) this.memory.difference = { missing };
    const reason =
      missing > 0
        ? 'the source counts more events than are stored, and no response shows them'
        : `the source counts fewer events than are stored, and no response shows which${settlesAt ? SETTLING : ''}`;
    return { state: 'incomplete', missing, reason };
  }
}

const SOURCE_CHANGED =
  'most of the stored events that the source should list are not in its list: it was reset, restored, or is another source';
const STILL_CHANGED =
  'the list of the source does not reach back to the events that were stored before it changed';
const SETTLING = '; events that were stored recently are not suspected yet';

const REASONS: Record<Exclude<Verdict['kind'], 'empty' | 'proven' | 'difference'>, string> = {
  unreadable: 'no row of the list has a readable time',
  moving: 'the list is moving: the source deletes old events while it is read',
  'large group':
    'the newest events share one millisecond and do not fit in one response; the next newer event decides',
  unknown: 'the list changed at each request',
};
