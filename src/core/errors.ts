/** How the program treats an error of some code. */
interface Treatment {
  /** Of a process that ends with it. 75: temporary, the same command later goes on. */
  exitCode: 1 | 2 | 3 | 75;
  /** Of several errors the gravest one decides: the higher number. */
  severity: number;
  /** Whether a worker that goes on tries again before its schedule asks: something may have changed by then. */
  isRetryable: boolean;
  /** Of the line in a worker's log. */
  logLevel: 'error' | 'info' | 'debug';
}

/** What went wrong, as a closed list, and what follows from it. */
const TREATMENTS = {
  /** A variable, an address, a credential or a permission is wrong. Only a person can correct it. */
  configuration: { exitCode: 2, severity: 3, isRetryable: true, logLevel: 'error' },
  /** The source did not respond, or not usefully, after all retries. */
  'source-away': { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The source broke its own contract, for example by ignoring the order asked for. */
  'source-invalid': { exitCode: 1, severity: 2, isRetryable: true, logLevel: 'error' },
  /** The database cannot be reached or is shutting down. */
  'database-away': { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The database refused a statement. */
  database: { exitCode: 1, severity: 2, isRetryable: true, logLevel: 'error' },
  /** Another worker exports this organization. */
  locked: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'info' },
  /** Another worker has exported meanwhile what was asked for. */
  superseded: { exitCode: 75, severity: 0, isRetryable: false, logLevel: 'debug' },
  /** The run made no progress for too long and was ended. */
  stalled: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** This worker lost its lease to another one and must not write any more. */
  fenced: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The table is not what the source or the ledger says. */
  differences: { exitCode: 3, severity: 1, isRetryable: false, logLevel: 'error' },
  /** A signal asked the program to stop. It ends all that was still to be done, and so it outweighs the rest. */
  interrupted: { exitCode: 75, severity: 4, isRetryable: false, logLevel: 'info' },
} satisfies Record<string, Treatment>;

export type ErrorCode = keyof typeof TREATMENTS;

export function treatmentOf(code: ErrorCode): Readonly<Treatment> {
  return TREATMENTS[code];
}

/** The gravest of them, the first of those that are alike; none of none. */
export function gravestOf<T extends { code: ErrorCode }>(errors: readonly T[]): T | undefined {
  return errors.toSorted((a, b) => treatmentOf(b.code).severity - treatmentOf(a.code).severity)[0];
}

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
