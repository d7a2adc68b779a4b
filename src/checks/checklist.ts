import { type ErrorCode, ExportError, isInterrupted, mostSevereOf } from '../core/errors.ts';

/** What a check that did not fail found. A `warning` lets later checks go on. */
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
  /** `needs` names earlier checks. Throws `interrupted`, and whatever is no `ExportError`. */
  try(name: string, needs: readonly string[], work: () => Promise<Finding>): Promise<void>;
  /** The same list, for checks of one organization of several: what they need is its own, or everybody's. */
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
    async try(name, needs, work) {
      const known = checks.filter((check) => [undefined, organization].includes(check.organization));
      const lacking = needs.filter((need) => !passed(known, need));
      if (lacking.length > 0) {
        add({ name, outcome: 'skipped', found: `not tried: needs ${lacking.join(' and ')}` });
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
