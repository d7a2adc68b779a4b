/** An attempt to tamper with the tables, as data. */
import type pg from 'pg';
import type { Counts, Login, SourceCounts, Stage } from './stage.ts';

/** What verify finds: rows by kind, or that it ends with exit code 2 because it cannot check a signature. */
export type Found = Counts | 'exit code 2';

export interface Attempt {
  /** The row in SECURITY.md. */
  row: string;
  /** One of several attempts of the row. */
  variant?: string;
  /** Who may; the others are refused by PostgreSQL. */
  by: readonly Login[];
  /** SQL, or steps on the connection of the login, in a transaction unless `isOutside`. */
  play: string | ((client: pg.Client, stage: Stage) => Promise<unknown>);
  /** SQL of the superuser, after it. */
  undo?: string;
  isOutside?: boolean;
  /** Without a key. `null`: there is no such attempt. */
  found: Found | null;
  /** With a key, if it differs. */
  signed?: Found;
  /** What `verify --expect` says with the newest head that was noted before, if it says more. */
  expected?: Counts;
  signedExpected?: Counts;
  /** What the comparison with the source finds beside that. */
  online?: SourceCounts;
  /** Why it is not found, or not by this alone. */
  remains?: string;
  /** Found by the recomputation of the tables beside the events, as a difference of the kind `state`. */
  byState?: boolean;
}

export const EVERYONE: readonly Login[] = ['audit_writer', 'owner', 'superuser'];
export const OWNER: readonly Login[] = ['owner', 'superuser'];

/** The rows of TARGET. */
export const OF = `organization = 'acme' and log = 'classic'`;

/** One attempt for each variant. */
export function each(
  variants: Record<string, Attempt['play'] | (Pick<Attempt, 'play'> & Partial<Attempt>)>,
  attempt: Omit<Attempt, 'play' | 'variant'>,
): Attempt[] {
  return Object.entries(variants).map(([variant, given]) => ({
    ...attempt,
    variant,
    ...(typeof given === 'object' ? given : { play: given }),
  }));
}
