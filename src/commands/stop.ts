import { addFacts, ExportError, factsOf, isInterrupted } from '../core/errors.ts';
import { formatNumber } from '../text/format.ts';

/**
 * The error of a command that was stopped by a signal, with how far it came. Returns any other error unchanged. `state`: what was done, and
 * what the same command does now.
 */
export function describeStop(
  error: unknown,
  last: { done: number; total: number } | undefined,
  state = 'Everything so far is stored; the same command continues.',
): unknown {
  if (!isInterrupted(error)) return error;
  const at = last ? ` at ${formatNumber(last.done)} of ${formatNumber(last.total)}` : '';
  const stopped = new ExportError('interrupted', `Stopped${at}. ${state}`, { cause: error });
  addFacts(stopped, { ...factsOf(error), ...(last && { done: last.done, total: last.total }) });
  return stopped;
}
