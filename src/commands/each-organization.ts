/** One-off commands over several organizations: one that fails keeps none of the others from being done. */
import type { App } from '../app.ts';
import { ExportError, isInterrupted, mostSevereOf } from '../core/errors.ts';

export interface Failure {
  organization: string;
  error: ExportError;
}

/**
 * Does `work` for each organization, this many at once; `onFailure` receives each failure when it happens. Then throws
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

function summarize(failures: readonly Failure[], count: number): ExportError {
  const gravest = mostSevereOf(failures.map(({ error }) => error))!;
  const lines = failures.map(({ organization, error }) => `  ${organization}: ${error.message}`);
  const heading = `${failures.length} of ${count} organizations failed:`;
  return new ExportError(gravest.code, [heading, ...lines].join('\n'), { cause: gravest });
}
