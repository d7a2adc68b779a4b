/** Commits by hand, for tests of the store that need no source. */
import type { AuditEvent } from '../../src/core/event.ts';
import { identifyGroup } from '../../src/core/identity.ts';
import { type Commit, newCounters } from '../../src/core/store.ts';
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

/** Events in order of time; the commit reaches the end of the list one tick behind the last, unless `rest` says otherwise. */
export function batchOf(events: readonly AuditEvent[], rest: Partial<Commit> = {}): Commit {
  const groups = new Map<bigint, AuditEvent[]>();
  for (const event of events) {
    groups.set(event.createdOnTicks, [...(groups.get(event.createdOnTicks) ?? []), event]);
  }
  const newest = events.at(-1)?.createdOnTicks ?? 0n;
  return {
    events: [...groups.values()].flatMap((group) => identifyGroup(group)),
    rejected: [],
    frontier: newest + 1n,
    resume: { skip: events.length },
    sourceTotal: events.length,
    isEnd: true,
    beganAt: new Date('2026-01-01T12:00:00Z'),
    covered: undefined,
    span: undefined,
    others: { events: [], rejected: [] },
    oldest: undefined,
    sourceTime: new Date('9999-01-01T00:00:00Z'),
    counters: newCounters(),
    ...rest,
  };
}
