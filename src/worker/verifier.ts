/**
 * Verifies all logs in the database on a schedule, offline, for `start`. It uses connections of its own and takes no lease, so that no run
 * waits for it. A tick during a verification is skipped.
 */
import type { DatabaseApp } from '../app.ts';
import { ExportError, isInterrupted } from '../core/errors.ts';
import { logVerification, verifyOffline } from '../runs/verify.ts';

export interface Verifier {
  /** Starts a verification, unless one is in progress. */
  trigger(): void;
  /** Resolves once no verification is in progress. Call it after the signal was aborted. */
  settled(): Promise<void>;
}

export function createVerifier(app: DatabaseApp, signal: AbortSignal): Verifier {
  let running: Promise<void> | undefined;

  const verify = async () => {
    const startedAt = performance.now();
    app.log.info('verify started');
    try {
      const verifications = await verifyOffline(app, {
        from: undefined,
        to: undefined,
        signal,
        onLedgerRows: () => {},
      });
      for (const verification of verifications) logVerification(app.log, verification);
      const durationMs = Math.round(performance.now() - startedAt);
      app.log.info({ logs: verifications.length, durationMs }, 'verify ended');
    } catch (error) {
      if (isInterrupted(error)) return;
      const message = error instanceof Error ? error.message : String(error);
      const unexpected = error instanceof ExportError ? {} : { err: error };
      app.log.error(unexpected, `verify failed: ${message}. The next one follows on the schedule`);
    }
  };

  return {
    trigger() {
      if (running || signal.aborted) return;
      running = verify().finally(() => {
        running = undefined;
      });
    },
    settled: async () => running,
  };
}
