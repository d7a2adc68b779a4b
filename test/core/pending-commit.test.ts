import { describe, expect, test } from '@jest/globals';
import { identifyGroup } from '../../src/core/identity.ts';
import { mergeCommits, type PendingCommit } from '../../src/core/pending-commit.ts';
import type { Commit } from '../../src/core/store.ts';
import { batchOf, eventAt, ticksAt } from '../support/batch.ts';

const at = (second: number) => `2026-01-01T00:00:0${second}.0000000Z`;

/** A response that shows the seconds from `from` to before `to`. */
function pending(from: number, to: number, rest: Partial<Commit> = {}): PendingCommit {
  const events = Array.from({ length: to - from }, (_, i) => eventAt(at(from + i)));
  const span = { from: ticksAt(at(from)), to: ticksAt(at(to)) };
  return { commit: batchOf(events, { span, frontier: span.to, ...rest }), chunks: [], warnings: [] };
}

describe('two commits are one', () => {
  test('if the second one continues the span of the first one', () => {
    const merged = mergeCommits(pending(0, 2), pending(2, 4, { isEnd: true }))!;
    expect(merged.commit).toMatchObject({ span: { from: ticksAt(at(0)), to: ticksAt(at(4)) }, isEnd: true });
    expect(merged.commit.events.map(({ event }) => event.createdOnRaw)).toEqual([0, 1, 2, 3].map(at));
    expect(merged.commit.frontier).toBe(ticksAt(at(4)));
  });

  test('with the prepared rows of both, or none', () => {
    const [first, second] = [pending(0, 2), pending(2, 4)];
    const prepared = (of: PendingCommit) => [{ events: of.commit.events }];
    first.commit.prepared = prepared(first);
    expect(mergeCommits(first, second)!.commit.prepared).toBeUndefined();
    second.commit.prepared = prepared(second);
    const merged = mergeCommits(first, second)!.commit;
    expect(merged.prepared!.flatMap(({ events }) => events)).toEqual(merged.events);
  });

  test('not if there is a hole between their spans, or no span', () => {
    expect(mergeCommits(pending(0, 2), pending(3, 4))).toBeUndefined();
    expect(mergeCommits(pending(0, 2), pending(2, 4, { span: undefined }))).toBeUndefined();
  });

  // One statement cannot insert an event twice.
  test('not if a response shows a part of a group, which the other one may show whole', () => {
    const others = { events: identifyGroup([eventAt(at(2))]), rejected: [] };
    expect(mergeCommits(pending(0, 2, { others }), pending(2, 4))).toBeUndefined();
    expect(mergeCommits(pending(0, 3), pending(3, 4, { others }))).toBeUndefined();
  });
});
