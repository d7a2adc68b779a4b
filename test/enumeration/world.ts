/**
 * A source and a store in memory, and one run of the rules over them without IO, so that millions of runs can be tried. The rules are
 * the program's; the list, the store's rows and the order of requests are the test's.
 */
import type { AuditEvent, PlacedRejectedRow, SourceRow } from '../../src/core/event.ts';
import { eventIdOf } from '../../src/core/identity.ts';
import { judge, type StoredRow } from '../../src/core/judge.ts';
import { evaluatePage, startFrontier } from '../../src/core/offset-list/frontier.ts';
import type { Page } from '../../src/core/offset-list/page.ts';
import { prove } from '../../src/core/offset-list/rank/prove.ts';
import { locateNewest } from '../../src/core/offset-list/rank/read.ts';
import { lookAtSuspicion, scrub } from '../../src/core/offset-list/rank/review.ts';
import { BudgetSpent, RankSession, type Received } from '../../src/core/offset-list/rank/session.ts';
import type { ListEnd, Look, Step } from '../../src/core/offset-list/rank/steps.ts';
import type { Sequenced } from '../../src/core/offset-list/sequence.ts';
import { shownBy } from '../../src/core/offset-list/shown.ts';
import { placeOfTicks } from '../../src/core/place.ts';
import type { Proof } from '../../src/core/prover.ts';
import type { Json } from '../../src/core/source.ts';
import type { Comparison, Shown } from '../../src/core/store.ts';

/** One millisecond. */
export const MS = 10_000n;

/** A row of the list. `key` tells rows of one time apart; equal keys are twins. */
export interface ListRow {
  /** In milliseconds. */
  time: number;
  key: number;
  /** How the source writes the details. */
  form?: number;
  /** `createdOn` is unreadable; `time` is where the row stands. */
  isBad: boolean;
  /** The retention of the source does not delete it. */
  isKept: boolean;
  /** As the program sees it; made when it is first needed. */
  row?: SourceRow | undefined;
}

function sourceRow(listed: ListRow): SourceRow {
  if (listed.row) return listed.row;
  const { time, key, form, isBad } = listed;
  const event = eventOf(time, key, form);
  listed.row = isBad
    ? { ticks: undefined, rejected: { reason: 'createdOn', text: `bad ${key}` } }
    : { ticks: event.createdOnTicks, event };
  return listed.row;
}

const LINE_ENDS = ['\n', '\r\n', '\r'];

export function eventOf(time: number, key: number, form = 0): AuditEvent {
  const rest = { category: null, action: null, source: null, userName: null, email: null, message: null };
  const ticks = BigInt(Math.round(time * 10_000));
  return {
    ...rest,
    createdOnTicks: ticks,
    createdOnRaw: `${ticks}`,
    detailsVersion: null,
    auditLogDetails: `k${key}${LINE_ENDS[form]}`,
    extra: null,
    raw: null,
  };
}

/** A stored event. */
export interface Stored {
  time: number;
  key: number;
  form: number;
  ordinal: number;
  /** The row that replaced it: of the same time and key. */
  supersededBy: { form: number; ordinal: number } | undefined;
  /** The comparison that stored it. */
  batch: number;
  absence: StoredRow['absence'];
  suspectedIn: number;
  /** The run that stored it. */
  storedIn: number;
  /** Somebody inserted it by hand. */
  isHand: boolean;
  /** Its id and exact time; made when they are first needed. */
  known?: { eventId: string; ticks: bigint } | undefined;
}

function knownOf(stored: Stored): { eventId: string; ticks: bigint } {
  const { time, key, form, ordinal } = stored;
  stored.known ??= { eventId: eventIdOf(eventOf(time, key, form), ordinal), ticks: ticksOf(time) };
  return stored.known;
}

export class MemoryStore {
  /** Sorted by time. */
  events: Stored[] = [];
  /** Rejected rows: `place key` → how often. */
  rejected = new Map<string, number>();
  /** Texts of all rejected rows that were seen, with a place or without. */
  kept = new Set<string>();
  head: bigint | undefined;
  watermark: number | undefined;
  hint = 0;
  ranks: Json = null;
  run = 0;
  batch = 0;
  fault: 'never suspects' | undefined;
  /** An event stored in this many last runs is not suspected. */
  settleRuns = 0;
  gone: Stored[] = [];

  clone(): MemoryStore {
    const copy = new MemoryStore();
    Object.assign(copy, this);
    copy.events = this.events.map((event) => ({ ...event }));
    copy.rejected = new Map(this.rejected);
    copy.kept = new Set(this.kept);
    copy.gone = [];
    return copy;
  }

  compare(shown: Shown, ignored: ReadonlySet<string> | undefined): Comparison {
    this.batch += 1;
    const rows = this.events.map((event) => ({
      event,
      ...knownOf(event),
      ordinal: event.ordinal,
      content: { userName: null } as never,
      rendering: eventOf(event.time, event.key, event.form),
      batch: BigInt(event.batch),
      supersededBy:
        event.supersededBy &&
        eventIdOf(eventOf(event.time, event.key, event.supersededBy.form), event.supersededBy.ordinal),
      absence: event.absence,
      isSuspectedNow: event.suspectedIn === this.run,
      settlesAt:
        this.run - event.storedIn < this.settleRuns ? clockOf(event.storedIn + this.settleRuns) : undefined,
    }));
    const from = shown.oldest ?? shown.span?.from;
    const relevant = shown.span
      ? rows.filter(({ ticks, eventId }) => {
          const isInSpan =
            ticks >= (from! < shown.span!.from ? from! : shown.span!.from) &&
            (shown.span!.to === undefined || ticks < shown.span!.to);
          return (
            isInSpan ||
            shown.others.events.some(
              (other) => other.eventId === eventId || other.event.createdOnTicks === ticks,
            )
          );
        })
      : rows.filter(({ ticks }) => shown.others.events.some(({ event }) => event.createdOnTicks === ticks));
    const judgement = judge(shown, relevant, { head: this.head, isEqual: () => true, ignored });
    const eventOfRow = (row: StoredRow) => (row as (typeof rows)[number]).event;
    const stored = new Map(rows.map(({ eventId, event }) => [eventId, event]));
    for (const { event, eventId, ordinal } of judgement.changed) {
      const time = Number(event.createdOnTicks) / 10_000;
      const { key, form } = keyAndForm(event.auditLogDetails!);
      let at = this.events.length;
      while (at > 0 && this.events[at - 1]!.time > time) at--;
      const added: Stored = {
        ...{ time, key, form, ordinal, supersededBy: undefined, absence: undefined },
        ...{ batch: this.batch, suspectedIn: 0, storedIn: this.run, isHand: false },
      };
      stored.set(eventId, added);
      this.events.splice(at, 0, added);
    }
    for (const { row, by } of judgement.superseded) {
      const superseder = by === undefined ? undefined : stored.get(by)!;
      stored.get(row.eventId)!.supersededBy = superseder && {
        form: superseder.form,
        ordinal: superseder.ordinal,
      };
    }
    for (const row of judgement.shownAgain)
      Object.assign(eventOfRow(row), { absence: undefined, suspectedIn: 0 });
    for (const row of judgement.confirmed) {
      Object.assign(eventOfRow(row), { absence: 'gone', suspectedIn: 0 });
      this.gone.push(eventOfRow(row));
    }
    for (const row of this.fault === 'never suspects' ? [] : judgement.suspected)
      Object.assign(eventOfRow(row), { absence: 'suspected', suspectedIn: this.run });
    this.head = judgement.head;
    const rejectedChange = this.placeRejected(shown);
    const changes = [judgement.oldestChange, rejectedChange].filter((place) => place !== undefined);
    return {
      inserted: judgement.fresh.length + (rejectedChange === undefined ? 0 : 1),
      updated: 0,
      unchanged: 0,
      rerendered: judgement.rerendered.length,
      superseded: judgement.superseded.filter(({ by }) => by !== undefined).length,
      shownAgain: judgement.shownAgain.length,
      suspected: judgement.suspected.length,
      confirmed: judgement.confirmed.length,
      unsettled: judgement.unsettled.length,
      settlesAt: judgement.unsettled.map(({ settlesAt }) => settlesAt!).sort((a, b) => +b - +a)[0],
      oldestChange: changes.length === 0 ? undefined : changes.reduce((a, b) => (a < b ? a : b)),
      insertedIds: judgement.fresh
        .filter((event) => !judgement.rerendered.includes(event))
        .map(({ eventId }) => eventId),
      isHeadUndecided: judgement.isHeadUndecided,
      isSourceChanged: judgement.isMostlyUnshown,
      newlyRejected: [],
      goneEvents: [],
    };
  }

  /** Returns the oldest place at which a rejected row is new. */
  private placeRejected({ span, rejected, others }: Shown): bigint | undefined {
    for (const { text } of [...rejected, ...others.rejected]) this.kept.add(text);
    let oldest: bigint | undefined;
    const shown = new Map<string, number>();
    for (const { place, text } of rejected)
      shown.set(`${place} ${text}`, (shown.get(`${place} ${text}`) ?? 0) + 1);
    const increase = (name: string, times: number) => {
      if (times <= (this.rejected.get(name) ?? 0)) return;
      this.rejected.set(name, times);
      const place = BigInt(name.split(' ')[0]!);
      if (oldest === undefined || place < oldest) oldest = place;
    };
    if (span) {
      for (const name of this.rejected.keys()) {
        const place = BigInt(name.split(' ')[0]!);
        const isIn = place >= span.from && (span.to === undefined || place < span.to);
        if (isIn && (shown.get(name) ?? 0) < this.rejected.get(name)!) {
          if (shown.has(name)) this.rejected.set(name, shown.get(name)!);
          else this.rejected.delete(name);
        }
      }
    }
    for (const [name, times] of shown) increase(name, times);
    const partial = new Map<string, number>();
    for (const { place, text } of others.rejected as PlacedRejectedRow[]) {
      if (place !== undefined) partial.set(`${place} ${text}`, (partial.get(`${place} ${text}`) ?? 0) + 1);
    }
    for (const [name, times] of partial) increase(name, times);
    return oldest;
  }

  /** The places after the head instant of suspected events. */
  get suspicions(): bigint[] {
    const places = this.events
      .filter(({ absence }) => absence === 'suspected')
      .map((event) => placeOfTicks(knownOf(event).ticks));
    return [...new Set(places)].filter((place) => this.head === undefined || place > this.head);
  }

  count(after: bigint, place: bigint): number {
    let count = 0;
    for (const event of this.events) {
      const ticks = placeOfTicks(knownOf(event).ticks);
      if (isCounted(event) && ticks > after && ticks < place) count++;
    }
    for (const [name, times] of this.rejected) {
      const at = BigInt(name.split(' ')[0]!);
      if (at > after && at < place) count += times;
    }
    return count;
  }
}

/** The event is neither absent nor superseded. */
export function isCounted({ absence, supersededBy }: Stored): boolean {
  return absence === undefined && supersededBy === undefined;
}

export function keyAndForm(details: string): { key: number; form: number } {
  const [, key, lineEnd] = /^k(\d+)([\r\n]+)$/.exec(details)!;
  return { key: Number(key), form: LINE_ENDS.indexOf(lineEnd!) };
}

export function ticksOf(time: number): bigint {
  return BigInt(Math.round(time * 10_000));
}

/** What the run asks for. `why` is for a person. */
export type Respond = (
  request: { skip: number; top: number },
  why: string,
) => Omit<Page, 'skip' | 'top' | 'rows' | 'requestedAt'> & { rows: readonly ListRow[] };

export interface RunOptions {
  pageSize: number;
  scrubPages: number;
  /** Pages that the read requests before it evaluates the one before. */
  isPrefetching?: boolean;
}

export interface RunResult {
  proof: Proof;
  end: ListEnd | undefined;
  requests: number;
  isOverBudget: boolean;
  /** The number of each request, by the moment at which it was sent. */
  requestAt: Map<number, number>;
}

/** One run: scrub, suspicions, read, count. */
export function runOnce(store: MemoryStore, respond: Respond, options: RunOptions): RunResult {
  const { pageSize, scrubPages } = options;
  store.run += 1;
  const known = store.watermark === undefined ? undefined : ticksOf(store.watermark);
  const session = new RankSession({ ranks: store.ranks, head: store.head, known, pageSize: () => pageSize });
  const { run, memory } = session;
  let moment = 0;
  const requestAt = new Map<number, number>();
  let requests = 0;
  const request = (skip: number, top: number, why: string) => {
    requests += 1;
    if (requests > 500) throw new Error('endless');
    const sent = ++moment;
    requestAt.set(sent, requests);
    const { rows, ...rest } = respond({ skip, top }, why);
    return { ...rest, skip, top, rows: rows.map(sourceRow), requestedAt: NOW, sent };
  };
  const arrive = (page: ReturnType<typeof request>): Sequenced<Page> => ({ ...page, received: ++moment });
  const compare = (received: Received): Look =>
    session.compared(received, store.compare(received.shown, received.ignored), store.head);
  const perform = <T>(step: Step<T>, why: string): T => {
    let next = step.next();
    while (!next.done) {
      const asked = next.value;
      if (asked.kind === 'count') {
        next = step.next(asked.places.map((place) => store.count(asked.after, place)));
      } else if (asked.kind === 'settle') {
        next = step.next(compare(session.receive(asked.page, true)));
      } else {
        session.spend(asked);
        const page = arrive(request(asked.skip, asked.top, asked.isHeadStep ? 'head' : why));
        next = step.next(compare(session.receive(page)));
      }
    }
    return next.value;
  };

  if (store.watermark !== undefined) {
    for (let i = 0; i < scrubPages; i++) memory.scrub = perform(scrub(run, memory.scrub), 'scrub');
    const places = [
      ...new Set(
        store.events.filter(({ absence }) => absence === 'suspected').map(({ time }) => ticksOf(time)),
      ),
    ];
    if (memory.changedAt !== undefined) places.push(memory.changedAt);
    memory.changedAt = undefined;
    for (const place of places.slice(0, 20))
      perform(lookAtSuspicion(run, place, run.headOffset), 'suspicion');
  }

  read();
  let isOverBudget = false;
  const proof = ((): Proof => {
    try {
      session.end = perform(locateNewest(run, session.end!), 'newest');
      const verdict = perform(prove(run, session.end, session.rememberedDifference), 'count');
      const suspicions = store.suspicions.length;
      if (verdict.kind === 'proven') session.end = verdict.end;
      return session.conclude(verdict, {
        suspicions,
        hasEvents: store.events.some(({ absence }) => absence === undefined),
      });
    } catch (error) {
      if (!(error instanceof BudgetSpent)) throw error;
      isOverBudget = true;
      return session.notFinished('budget');
    }
  })();
  store.ranks = session.ranks;
  return { proof, end: session.end, requests, isOverBudget, requestAt };

  function read(): void {
    let state = startFrontier({
      frontier: store.watermark === undefined ? undefined : ticksOf(store.watermark),
      skip: store.hint,
      pageSize,
      largest: run.largest,
    });
    let ahead: ReturnType<typeof request> | undefined;
    for (;;) {
      const isServed =
        ahead &&
        state.skip >= ahead.skip &&
        state.skip - ahead.skip <= pageSize / 2 &&
        ahead.top >= state.top;
      const sent = isServed ? ahead! : request(state.skip, state.top, 'read');
      ahead = options.isPrefetching
        ? request(sent.skip + Math.max(1, sent.rows.length - 2), pageSize, 'ahead')
        : undefined;
      const page = arrive(sent);
      const result = evaluatePage({ ...state, largest: Math.max(state.largest, run.largest) }, page);
      state = result.state;
      if (state.chain || state.expectedEnd?.check) ahead = undefined;
      const shown = shownBy(result, page);
      session.note(store.compare(shown, undefined), page, store.head);
      const newest = shown.events.filter(({ event }) => event.createdOnTicks < state.frontier).at(-1);
      if (newest) {
        const time = Number(newest.event.createdOnTicks) / 10_000;
        if (store.watermark === undefined || time > store.watermark) store.watermark = time;
      }
      run.largest = Math.max(run.largest, page.rows.length);
      if (!result.isDone) continue;
      const end = state.newest as ListEnd['newest'];
      session.end = { newest: result.isEmpty ? undefined : end, page };
      if (end?.offset !== undefined) store.hint = Math.max(0, end.offset - 1);
      return;
    }
  }
}

const NOW = new Date('2026-01-01T00:00:00Z');

/** A run an hour. */
function clockOf(run: number): Date {
  return new Date(NOW.getTime() + run * 3_600_000);
}
