/**
 * Finds the frontier in a sorted list whose offsets change: steps away from the guess with doubling distance, then bisects
 * between an offset that lay before the frontier and one that was too far. O(log n) requests in a list of n rows.
 * Both offsets may be outdated when the next page arrives; that page then corrects them.
 */
import type { FrontierState } from './frontier.ts';
import type { Page } from './page.ts';

/** The frontier is before `from`: bisects towards the last offset known to be before it, or doubles the step back. */
export function stepBack(state: FrontierState, from: number, page: Page): FrontierState {
  const before = state.before !== undefined && state.before < from ? state.before : undefined;
  const margin = Math.min(state.margin * 2, maxMarginOf(state.pageSize));
  const located = { ...state, margin, chain: undefined, before, beyond: from };
  if (before !== undefined) return { ...located, skip: between(before, from, page.rows.length) };
  const stride = Math.max(state.stride, margin);
  return { ...located, skip: Math.max(0, from - stride), stride: stride * 2 };
}

/** The frontier is after this page: bisects towards the offset known to be too far, or doubles the step forward. */
export function stepForward(state: FrontierState, page: Page): FrontierState {
  const proof = page.rows.findLastIndex((row) => row.ticks !== undefined);
  const before = page.skip + Math.max(0, proof);
  const beyond = state.beyond !== undefined && state.beyond > before ? state.beyond : undefined;
  const located = { ...state, chain: undefined, before, beyond };
  if (beyond !== undefined) return { ...located, skip: between(before, beyond, page.rows.length) };
  const skip = Math.max(before, Math.min(before + state.stride, page.totalCount - 1));
  return { ...located, skip, stride: state.stride === 0 ? state.pageSize : state.stride * 2 };
}

/** A larger margin would leave no row of the page to take. */
export function maxMarginOf(pageSize: number): number {
  return Math.ceil(pageSize / 2);
}

/** The middle, or `before` if a page from there contains both ends. */
function between(before: number, beyond: number, pageLength: number): number {
  return beyond - before < pageLength ? before : before + Math.floor((beyond - before) / 2);
}
