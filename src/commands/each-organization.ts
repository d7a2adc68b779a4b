/** One-off commands over several organizations: the failure of one does not stop the others. */
import type { App } from '../app.ts';
import { addFacts, ExportError, factsOf, isInterrupted, mostSevereOf } from '../core/errors.ts';

export interface Failure {
  organization: string;
  error: ExportError;
}

/**
 * Runs `work` for each organization, `atOnce` of them at a time; `onFailure` receives each failure when it happens. With one
 * organization it throws that error unchanged; with several, one error that lists all failures and has the code of the most
 * severe. Rethrows errors of the program.
 */
export async function forEachOrganization(
  apps: readonly App[],
  { atOnce, onFailure }: { atOnce: number; onFailure?: (failure: Failure) => void },
  work: (app: App) => Promise<void>,
): Promise<void> {
  const failures: Failure[] = [];
  const waiting = [...apps];
  const workOff = async () => {
    for (let app = waiting.shift(); app; app = waiting.shift()) {
      try {
        await work(app);
      } catch (error) {
        if (!(error instanceof ExportError) || apps.length === 1) throw error;
        const failure = { organization: app.config.source.organization, error };
        failures.push(failure);
        onFailure?.(failure);
        // The remaining ones would be interrupted too.
        if (isInterrupted(error)) waiting.length = 0;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, workOff));
  for (const { reason } of ended.filter((each) => each.status === 'rejected')) throw reason;
  if (failures.length > 0) throw summarize(failures, apps.length);
}

function summarize(failures: readonly Failure[], count: number): ExportError {
  const mostSevere = mostSevereOf(failures.map(({ error }) => error))!;
  const lines = failures.map(({ organization, error }) => `  ${organization}: ${error.message}`);
  const heading = `${failures.length} of ${count} organizations failed:`;
  const summary = new ExportError(mostSevere.code, [heading, ...lines].join('\n'), { cause: mostSevere });
  addFacts(summary, {
    failures: failures.map(({ organization, error }) => ({
      organization,
      code: error.code,
      ...factsOf(error),
    })),
  });
  return summary;
}
