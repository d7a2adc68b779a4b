import type { Random } from './random.ts';
import { below } from './random.ts';
import type { RowList } from './rows.ts';

/** A replica that lags: some responses show an earlier state of the list. */
export interface Lag {
  /** How many changes ago; a range means a uniform distribution. Default 1. Ignored if `ms` is present. */
  changes?: number | [number, number];
  /** How many milliseconds ago. */
  ms?: number;
  /** Only the next n list requests. */
  next?: number;
  /** 0 to 1; default 1. */
  probability?: number;
}

/** Changes that are remembered. A larger lag shows the oldest remembered state. */
const MAX_STATES = 256;

/** The earlier states of a list: one for each change, oldest first. */
export class ListMemory {
  #states: { list: RowList; changedAt: number }[] = [];

  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Call before each change. */
  remember(list: RowList): void {
    if (this.#states.length >= MAX_STATES) this.#states.shift();
    this.#states.push({ list: list.copy(), changedAt: this.now() });
  }

  /** The list `changes` changes ago; `undefined` if that is the current one. */
  before(changes: number): RowList | undefined {
    if (changes <= 0) return undefined;
    return this.#states[Math.max(0, this.#states.length - changes)]?.list;
  }

  /** The list `ms` milliseconds ago; `undefined` if that is the current one. */
  ago(ms: number): RowList | undefined {
    const at = this.now() - ms;
    return this.#states.find(({ changedAt }) => changedAt > at)?.list;
  }
}

/** Selects the requests that a lagging replica responds to. Counts from its creation. */
export class LagPlan {
  #seen = 0;

  constructor(
    private readonly lag: Lag | undefined,
    private readonly random: Random,
  ) {}

  /** The state for the response to this list request; `undefined` is the current one. */
  next(memory: ListMemory): RowList | undefined {
    if (!this.lag) return undefined;
    const { changes = 1, ms, next, probability = 1 } = this.lag;
    this.#seen++;
    if (next !== undefined && this.#seen > next) return undefined;
    if (probability < 1 && this.random() >= probability) return undefined;
    if (ms !== undefined) return memory.ago(ms);
    return memory.before(typeof changes === 'number' ? changes : drawBetween(this.random, changes));
  }
}

function drawBetween(random: Random, [from, to]: [number, number]): number {
  return from + below(random, to - from + 1);
}
