/**
 * Finding the frontier in a list that is sorted but moves: away from the guess by doubling steps, then by bisection
 * between an offset seen to lie before the frontier and one seen to be too far. O(log n) requests in a list of n rows.
 * What was seen may be out of date when the next page comes; then that page corrects it.
 */
import type { FrontierState } from './frontier.ts';
import type { Page } from './page.ts';

/** The frontier lies before `from`: towards the last offset known to lie before it, else ever further back. */
export function stepBack(state: FrontierState, from: number, page: Page): FrontierState {
  const before = state.before !== undefined && state.before < from ? state.before : undefined;
  const margin = Math.min(state.margin * 2, Math.ceil(state.pageSize / 2));
  const located = { ...state, margin, chain: undefined, before, beyond: from };
  if (before !== undefined) return { ...located, skip: between(before, from, page.rows.length) };
  const stride = Math.max(state.stride, margin);
  return { ...located, skip: Math.max(0, from - stride), stride: stride * 2 };
}

/** The frontier lies behind this page: towards the offset known to be too far, else ever further on. */
export function stepForward(state: FrontierState, page: Page): FrontierState {
  const proof = page.rows.findLastIndex((row) => row.ticks !== undefined);
  const before = page.skip + Math.max(0, proof);
  const beyond = state.beyond !== undefined && state.beyond > before ? state.beyond : undefined;
  const located = { ...state, chain: undefined, before, beyond };
  if (beyond !== undefined) return { ...located, skip: between(before, beyond, page.rows.length) };
  const skip = Math.max(before, Math.min(before + state.stride, page.totalCount - 1));
  return { ...located, skip, stride: state.stride === 0 ? state.pageSize : state.stride * 2 };
}

/** The middle, or `before` itself once a page from there shows both ends. */
function between(before: number, beyond: number, pageLength: number): number {
  return beyond - before < pageLength ? before : before + Math.floor((beyond - before) / 2);
}
