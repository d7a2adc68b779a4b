import type { FaultRule } from './faults.ts';
import type { Lag } from './memory.ts';
import type { Random } from './random.ts';
import { drawCount } from './random.ts';

/** Mean number of rows added or deleted after each list request. Bursts come from the stream itself. */
export interface Moves {
  append?: number;
  insertLate?: number;
  deleteHead?: number;
  /** The oldest rows that `deleteHead` leaves; default 0. */
  spareHead?: number;
  /** Single rows anywhere in the list. */
  deleteMiddle?: number;
}

/** Behaviour of the simulated server that is hard on clients. All of it can be changed while it runs. */
export interface Misbehaviour {
  /** Returns ties in a different order at every request. */
  shuffleTies: boolean;
  /**
   * Orders rows by the millisecond of `createdOn`; inside a millisecond in a fixed order that has nothing to do with the ticks. With
   * `shuffleTies`, all rows of a millisecond are ties. `Simulator.rows` stays in the order of the ticks.
   */
  millisecondOrder: boolean;
  /** Most rows in a response, even if `top` is larger. A list is used cyclically, one item per request. */
  cap: number | number[];
  /** Rows in a response when `top` is not given. */
  defaultTop: number;
  /** Returns the newest row first, regardless of `sortOrder`. */
  ignoreSortOrder: boolean;
  /** What changes after each list response. */
  moves: Moves;
  /** Delay of each response; a range means a uniform distribution. */
  latencyMs: number | [number, number];
  /** Responses that show an earlier state of the list. A new value starts counting at zero. */
  lag: Lag | undefined;
  /** Computes the sent `totalCount` from the right one; `undefined` omits it. */
  totalCount: (right: number) => number | null | undefined;
  /** Added to the time in the Date header, and to nothing else. */
  clockOffsetMs: number;
  /** Whether responses have a Date header. */
  dateHeader: boolean;
  /** Compress for clients that accept gzip, at the lowest level. */
  gzip: boolean;
  /** A byte order mark before the body of each list response. */
  bom: boolean;
  /** Lifetime of the tokens issued from now on. */
  tokenLifeSeconds: number;
  /** `expires_in` as a string. */
  expiresInAsText: boolean;
  /** Overrides `expires_in` with a wrong value. */
  expiresIn: number | undefined;
  /** The first rule that applies is used; later rules still count the request. */
  faults: FaultRule[];
}

/** A server without misbehaviour. */
export const GOOD_BEHAVIOUR: Misbehaviour = {
  shuffleTies: false,
  millisecondOrder: false,
  cap: Number.POSITIVE_INFINITY,
  defaultTop: 50,
  ignoreSortOrder: false,
  moves: {},
  latencyMs: 0,
  lag: undefined,
  totalCount: (right) => right,
  clockOffsetMs: 0,
  dateHeader: true,
  gzip: false,
  bom: false,
  tokenLifeSeconds: 3600,
  expiresInAsText: false,
  expiresIn: undefined,
  faults: [],
};

/** Draws the number of rows for each kind of change. */
export function drawMoves(random: Random, moves: Moves): Required<Omit<Moves, 'spareHead'>> {
  return {
    append: drawCount(random, moves.append ?? 0),
    insertLate: drawCount(random, moves.insertLate ?? 0),
    deleteHead: drawCount(random, moves.deleteHead ?? 0),
    deleteMiddle: drawCount(random, moves.deleteMiddle ?? 0),
  };
}
