/** One-off commands over several organizations: one that fails keeps none of the others from being done. */
import type { App } from '../app.ts';
import { type ErrorCode, ExportError, isInterrupted } from '../core/errors.ts';

export interface Failure {
  organization: string;
  error: ExportError;
}

/**
 * Does `work` for each organization, so many at once; `onFailure` hears of those that failed, as soon as they have. Then throws
 * the only organization's error as it is, or one that names all that failed, with the code of the gravest. Faults of the program
 * are thrown on.
 */
export async function forEachOrganization(
  apps: readonly App[],
  { atOnce, onFailure }: { atOnce: number; onFailure?: (failure: Failure) => void },
  work: (app: App) => Promise<void>,
): Promise<void> {
  const failures: Failure[] = [];
  const left = [...apps];
  const goOn = async () => {
    for (let app = left.shift(); app; app = left.shift()) {
      try {
        await work(app);
      } catch (error) {
        if (!(error instanceof ExportError) || apps.length === 1) throw error;
        const failure = { organization: app.config.source.organization, error };
        failures.push(failure);
        onFailure?.(failure);
        // Each of those that are left would end in the same way.
        if (isInterrupted(error)) left.length = 0;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, goOn));
  for (const { reason } of ended.filter((each) => each.status === 'rejected')) throw reason;
  if (failures.length > 0) throw summarize(failures, apps.length);
}

/** As `check` has it, after what asked the program to stop: what only a person can mend, what is broken, what may pass. */
const GRAVITY: Partial<Record<ErrorCode, number>> = {
  interrupted: 4,
  configuration: 3,
  'source-invalid': 2,
  database: 2,
  differences: 1,
};

function summarize(failures: readonly Failure[], count: number): ExportError {
  const gravity = ({ error }: Failure) => GRAVITY[error.code] ?? 0;
  const gravest = failures.reduce((worst, each) => (gravity(each) > gravity(worst) ? each : worst));
  const lines = failures.map(({ organization, error }) => `  ${organization}: ${error.message}`);
  const heading = `${failures.length} of ${count} organizations failed:`;
  return new ExportError(gravest.error.code, [heading, ...lines].join('\n'), { cause: gravest.error });
}
