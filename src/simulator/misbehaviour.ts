import type { FaultRule } from './faults.ts';
import type { Random } from './random.ts';
import { drawCount } from './random.ts';

/** Rows that come or go between two list requests: the mean number a request. Bursts are the stream's own. */
export interface Moves {
  append?: number;
  insertLate?: number;
  deleteHead?: number;
  /** Single rows anywhere in the list. */
  deleteMiddle?: number;
}

/** What the simulated server does that a client could wish it did not. All of it can be changed while it runs. */
export interface Misbehaviour {
  /** Rows with one `createdOn` come in another order at every request. */
  shuffleTies: boolean;
  /** The most rows a response holds whatever `top` says; of a list, each request takes the next one, round and round. */
  cap: number | number[];
  /** Rows in a response when `top` is not given. */
  defaultTop: number;
  /** Newest first, whatever `sortOrder` says. */
  ignoreSortOrder: boolean;
  /** What changes after each list response. */
  moves: Moves;
  /** Before each response; a range is drawn from evenly. */
  latencyMs: number | [number, number];
  /** What `totalCount` says, from what it should say. */
  totalCount: (right: number) => number;
  /** Compress for clients that accept gzip, at the lowest level. */
  gzip: boolean;
  /** A byte order mark before the body of each list response. */
  bom: boolean;
  /** Lifetime of the tokens issued from now on. */
  tokenLifeSeconds: number;
  /** `expires_in` as a string. */
  expiresInAsText: boolean;
  /** What `expires_in` says, when it is not the truth. */
  expiresIn: number | undefined;
  /** The first rule that applies decides; later rules still count the request. */
  faults: FaultRule[];
}

/** A server that behaves. */
export const GOOD_BEHAVIOUR: Misbehaviour = {
  shuffleTies: false,
  cap: Number.POSITIVE_INFINITY,
  defaultTop: 50,
  ignoreSortOrder: false,
  moves: {},
  latencyMs: 0,
  totalCount: (right) => right,
  gzip: false,
  bom: false,
  tokenLifeSeconds: 3600,
  expiresInAsText: false,
  expiresIn: undefined,
  faults: [],
};

/** How many rows each kind of move takes this time. */
export function drawMoves(random: Random, moves: Moves): Required<Moves> {
  return {
    append: drawCount(random, moves.append ?? 0),
    insertLate: drawCount(random, moves.insertLate ?? 0),
    deleteHead: drawCount(random, moves.deleteHead ?? 0),
    deleteMiddle: drawCount(random, moves.deleteMiddle ?? 0),
  };
}
