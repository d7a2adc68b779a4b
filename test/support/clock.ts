/** The clock of a simulated source, as its Date header shows it. */
import type { Simulator } from '../../src/simulator/simulator.ts';

/** Sets the source's clock to a time; it goes on from there. Coverage ends at the earlier one of this clock and the worker's. */
export function setClock(simulator: Simulator, at: string): void {
  // Reads the clock: the simulator's is relative to it.
  simulator.set({ clockOffsetMs: Date.parse(at) - Date.now() });
}
