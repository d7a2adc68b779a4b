/** How the program handles an error code. */
interface Treatment {
  /** The exit code of the process. 75: temporary, the same command continues later. */
  exitCode: 1 | 2 | 3 | 75;
  /** Of several errors, the one with the highest number decides the exit code. */
  severity: number;
  /** Whether a running worker retries before the next scheduled run. */
  isRetryable: boolean;
  /** The level of the worker's log line. */
  logLevel: 'error' | 'info' | 'debug';
}

/** All error codes, and how each is handled. */
const TREATMENTS = {
  /** A variable, an address, a credential or a permission is wrong. A person must correct it. */
  configuration: { exitCode: 2, severity: 3, isRetryable: true, logLevel: 'error' },
  /** The source is not the one that the stored events came from. A person must decide. */
  'other-source': { exitCode: 2, severity: 3, isRetryable: false, logLevel: 'error' },
  /** No usable response from the source after all retries. */
  'source-away': { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The source broke its contract, for example by ignoring the requested order. */
  'source-invalid': { exitCode: 1, severity: 2, isRetryable: true, logLevel: 'error' },
  /** The database is unreachable or shutting down. */
  'database-away': { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The database rejected a statement. */
  database: { exitCode: 1, severity: 2, isRetryable: true, logLevel: 'error' },
  /** Another worker holds the lease of this log. */
  locked: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'info' },
  /** Another worker has already done the scheduled run. */
  superseded: { exitCode: 75, severity: 0, isRetryable: false, logLevel: 'debug' },
  /** The run was stopped by the stall timeout. */
  stalled: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** Another worker took over this worker's lease; this one must not write any more. */
  fenced: { exitCode: 75, severity: 0, isRetryable: true, logLevel: 'error' },
  /** The table differs from the source or the ledger. */
  differences: { exitCode: 3, severity: 1, isRetryable: false, logLevel: 'error' },
  /** A signal stopped the program. It ends all pending work, so it has the highest severity. */
  interrupted: { exitCode: 75, severity: 4, isRetryable: false, logLevel: 'info' },
} satisfies Record<string, Treatment>;

export type ErrorCode = keyof typeof TREATMENTS;

export function treatmentOf(code: ErrorCode): Readonly<Treatment> {
  return TREATMENTS[code];
}

/** The error with the highest severity; the first one of equals; `undefined` for an empty list. */
export function mostSevereOf<T extends { code: ErrorCode }>(errors: readonly T[]): T | undefined {
  return errors.toSorted((a, b) => treatmentOf(b.code).severity - treatmentOf(a.code).severity)[0];
}

/** The program's only error class. The message says what was attempted, what was found and what to do. */
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

const facts = new WeakMap<object, object>();

/** Adds fields for the one line that logs the error, such as the counters of the run that failed. */
export function addFacts(error: unknown, fields: object): void {
  if (typeof error === 'object' && error !== null) facts.set(error, { ...facts.get(error), ...fields });
}

/** The fields that were added. */
export function factsOf(error: unknown): object {
  return (typeof error === 'object' && error !== null && facts.get(error)) || {};
}

/** Whether the error is the result of a stop signal, not a failure. */
export function isInterrupted(error: unknown): boolean {
  return error instanceof ExportError && error.code === 'interrupted';
}
