import { ExportError } from '../../../src/core/errors.ts';

/** The code and the message of the ExportError that `run` throws. */
export function rejectionOf(run: () => unknown): [code: string, message: string] {
  try {
    run();
  } catch (error) {
    if (error instanceof ExportError) return [error.code, error.message];
    throw error;
  }
  throw new Error('Nothing was rejected');
}
