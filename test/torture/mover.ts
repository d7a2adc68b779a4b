/** Rows that come and go while a round is on. */
import { below, type Random } from '../../src/simulator/random.ts';
import type { Simulator } from '../../src/simulator/simulator.ts';

const MOVE_MS = 25;
/** More than 100 in one run would be a wholesale change of the source. */
const MAX_DELETED_INSIDE = 60;
/** Of the time that the list spans: older rows could come in front of the head, while it is deleted. */
const MAX_AGE = 0.7;

export class Mover {
  #deletedInside = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly simulator: Simulator,
    private readonly random: Random,
    private readonly spacingMs: number,
  ) {}

  /** Inserts rows of any age, up to most of the list's. */
  insertLate(count: number): void {
    const toMs = MAX_AGE * this.simulator.length * this.spacingMs;
    if (toMs > 0) this.simulator.insertLate(count, { fromMs: 0, toMs });
  }

  deleteInside(): void {
    if (this.#deletedInside >= MAX_DELETED_INSIDE) return;
    this.#deletedInside++;
    this.simulator.deleteAt(below(this.random, this.simulator.length), 1);
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.simulator.append(below(this.random, 6));
      if (this.random() < 0.3) this.insertLate(1);
      if (this.random() < 0.5) this.simulator.deleteHead(1 + below(this.random, 6));
      if (this.random() < 0.4) this.deleteInside();
    }, MOVE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
