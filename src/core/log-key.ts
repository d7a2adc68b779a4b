import { count } from '../text/format.ts';

/** Identifies one stream of audit events. All stored data is keyed by it. */
export interface LogKey {
  organization: string;
  log: string;
}

/** UiPath's classic audit log (Get Audit Logs), the only log that this version exports. */
export const CLASSIC_LOG = 'classic';

/** The organizations that have more than one log in `keys`. Only for these is the log shown. */
export function findSeveralLogs(keys: readonly LogKey[]): ReadonlySet<string> {
  const seen = new Set<string>();
  const several = new Set<string>();
  for (const { organization } of keys) (seen.has(organization) ? several : seen).add(organization);
  return several;
}

/** `acme`, or `acme (classic)` if the organization is in `several` (from `findSeveralLogs`). */
export function nameLog({ organization, log }: LogKey, several: ReadonlySet<string>): string {
  return several.has(organization) ? `${organization} (${log})` : organization;
}

export function isSameLog(a: LogKey, b: LogKey): boolean {
  return a.organization === b.organization && a.log === b.log;
}

/** `4 organizations`, or `5 logs of 4 organizations` if one has several. */
export function countLogs(keys: readonly LogKey[]): string {
  const names = new Set(keys.map(({ organization }) => organization));
  const organizations = count(names.size, 'organization');
  return names.size === keys.length ? organizations : `${count(keys.length, 'log')} of ${organizations}`;
}
