/** Rows that come and go while a round is on. */
import { below, type Random } from '../../src/simulator/random.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';

/** The most rows that are appended, so that a late row stays within the lookback: see scenario.ts. */
const MAX_APPENDED = 400;
const MOVE_MS = 25;

export class Mover {
  #appended = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly simulator: Simulator,
    private readonly random: Random,
  ) {}

  /** Appends rows, as many as the round may still have. */
  append(count: number): void {
    const allowed = Math.min(count, MAX_APPENDED - this.#appended);
    this.#appended += allowed;
    if (allowed > 0) this.simulator.append(allowed);
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.append(below(this.random, 6));
      if (this.random() < 0.3) this.simulator.insertLate(1);
      if (this.random() < 0.5) this.simulator.deleteHead(1 + below(this.random, 6));
      if (this.random() < 0.4) this.simulator.deleteAt(below(this.random, this.simulator.length), 1);
    }, MOVE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
