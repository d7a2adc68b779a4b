/** What went wrong, as a closed list: the exit code and the retry of a whole run follow from it. */
export type ErrorCode =
  /** A variable, an address, a credential or a permission is wrong. Only a person can mend it. */
  | 'configuration'
  /** The source did not answer, or not usefully, after all retries. Worth another try later. */
  | 'source-away'
  /** The source broke its own contract, for example by ignoring `sortOrder=asc`. */
  | 'source-invalid'
  /** The database cannot be reached or is shutting down. Worth another try later. */
  | 'database-away'
  /** The database refused a statement. */
  | 'database'
  /** Another worker exports this organization. */
  | 'locked'
  /** Another worker has exported meanwhile what was asked for. */
  | 'superseded'
  /** The run came no further for too long and was ended. Worth another try later. */
  | 'stalled'
  /** This worker lost its lease to another one and must not write any more. */
  | 'fenced'
  /** The table is not what the source or the ledger says. */
  | 'differences'
  /** A signal asked the program to stop. */
  | 'interrupted';

/** The program's only error class. The message says what was tried, what was found and what to do. */
export class ExportError extends Error {
  override readonly name = 'ExportError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Whether it is of somebody who was asked to stop, and no failure. */
export function isInterrupted(error: unknown): boolean {
  return error instanceof ExportError && error.code === 'interrupted';
}
