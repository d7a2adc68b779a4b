/** Commits and their results by hand, for tests that need no source or no store. */
import type { AuditEvent } from '../../src/core/event.ts';
import { identifyGroup } from '../../src/core/identity.ts';
import { afterPlace, placeOfTicks } from '../../src/core/place.ts';
import { type Commit, type CommitResult, newCounters } from '../../src/core/store.ts';
import { parseTicks } from '../../src/core/ticks.ts';

export function ticksAt(createdOn: string): bigint {
  return parseTicks(createdOn)!;
}

export function eventAt(createdOn: string, fields: Partial<AuditEvent> = {}): AuditEvent {
  return {
    createdOnTicks: ticksAt(createdOn),
    createdOnRaw: createdOn,
    category: 'User',
    action: 'Login',
    source: 'Cis',
    userName: 'A',
    email: 'a@example.com',
    message: 'User A logged in',
    detailsVersion: '1.0',
    auditLogDetails: '{}',
    extra: null,
    raw: null,
    ...fields,
  };
}

/**
 * Events in order of time. The response shows them as one span of the list, from the first one to its end, which is one tick behind the
 * last, unless `rest` says otherwise. The first one is not the oldest of the list.
 */
export function batchOf(events: readonly AuditEvent[], rest: Partial<Commit> = {}): Commit {
  const groups = new Map<bigint, AuditEvent[]>();
  for (const event of events) {
    groups.set(event.createdOnTicks, [...(groups.get(event.createdOnTicks) ?? []), event]);
  }
  const newest = events.at(-1)?.createdOnTicks ?? 0n;
  const oldest = events[0]?.createdOnTicks;
  const to = rest.isEnd === false ? afterPlace(placeOfTicks(newest)) : undefined;
  return {
    span: oldest === undefined ? undefined : { from: placeOfTicks(oldest), to },
    events: [...groups.values()].flatMap((group) => identifyGroup(group)),
    rejected: [],
    others: { events: [], rejected: [] },
    oldest: undefined,
    sourceTime: new Date('9999-01-01T00:00:00Z'),
    frontier: newest + 1n,
    resume: { skip: events.length },
    sourceTotal: events.length,
    isEnd: true,
    beganAt: new Date('2026-01-01T12:00:00Z'),
    covered: undefined,
    gap: undefined,
    counters: newCounters(),
    ...rest,
  };
}

/** The result of a commit that found nothing but `counts`. */
export function commitResultOf(counts: Partial<CommitResult> = {}): CommitResult {
  return {
    inserted: 0,
    updated: 0,
    unchanged: 0,
    rerendered: 0,
    superseded: 0,
    shownAgain: 0,
    suspected: 0,
    confirmed: 0,
    unsettled: 0,
    settlesAt: undefined,
    oldestChange: undefined,
    insertedIds: [],
    isHeadUndecided: false,
    isSourceChanged: false,
    newlyRejected: [],
    goneEvents: [],
    lateTicks: [],
    ...counts,
  };
}
