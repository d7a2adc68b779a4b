import { type ErrorCode, ExportError, isInterrupted, mostSevereOf } from '../core/errors.ts';

/** The result of a check that passed. After a `warning`, dependent checks still run. */
export interface Finding {
  outcome: 'ok' | 'warning';
  found: string;
}

export type Check = { name: string; organization?: string } & (
  | Finding
  | { outcome: 'skipped'; found: string }
  | { outcome: 'failed'; found: string; code: ErrorCode }
);

/** A running list of checks: each is reported when it ends, and a failed one skips only those that depend on it. */
export interface Checklist {
  readonly checks: readonly Check[];
  /**
   * Runs `work`, or skips it when one of `needs`, earlier checks, did not pass. Throws `interrupted` and errors that are no
   * `ExportError`.
   */
  run(name: string, needs: readonly string[], work: () => Promise<Finding>): Promise<void>;
  /** The same list for the checks of one of several organizations. They may need its own checks and the common ones. */
  of(organization: string): Checklist;
}

export function createChecklist(onCheck: (check: Check) => void): Checklist {
  return extendChecklist([], onCheck, undefined);
}

function extendChecklist(
  checks: Check[],
  onCheck: (check: Check) => void,
  organization: string | undefined,
): Checklist {
  const add = (check: Check) => {
    const named = organization === undefined ? check : { ...check, organization };
    checks.push(named);
    onCheck(named);
  };
  return {
    checks,
    async run(name, needs, work) {
      const visible = checks.filter((check) => [undefined, organization].includes(check.organization));
      const unmet = needs.filter((need) => !passed(visible, need));
      if (unmet.length > 0) {
        add({ name, outcome: 'skipped', found: `skipped: needs ${unmet.join(' and ')}` });
        return;
      }
      try {
        add({ name, ...(await work()) });
      } catch (error) {
        if (!(error instanceof ExportError) || isInterrupted(error)) throw error;
        add({ name, outcome: 'failed', found: error.message, code: error.code });
      }
    },
    of: (named) => extendChecklist(checks, onCheck, named),
  };
}

export function ok(found: string): Finding {
  return { outcome: 'ok', found };
}

export function warning(found: string): Finding {
  return { outcome: 'warning', found };
}

/** The failure that decides the exit code. */
export function mostSevereFailure(checks: readonly Check[]): (Check & { outcome: 'failed' }) | undefined {
  return mostSevereOf(checks.filter((check) => check.outcome === 'failed'));
}

function passed(checks: readonly Check[], name: string): boolean {
  return checks.some(
    (check) => check.name === name && (check.outcome === 'ok' || check.outcome === 'warning'),
  );
}
