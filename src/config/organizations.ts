/**
 * Builds one environment for each organization: the process environment alone, or each entry of the file that
 * `UIPATH_ORGANIZATIONS_FILE` names, merged over it. An entry uses the names of the environment variables, so that one parser and
 * one reference serve both.
 */
import { closest } from '../text/suggest.ts';
import { type Environment, reasonOf, showPath } from './environment.ts';
import { readTextFile } from './files.ts';
import { type Findings, quote } from './problems.ts';
import type { SourceConfig } from './source.ts';
import { ORGANIZATIONS_FILE, sourceNames, variableOf } from './variables.ts';

/** The environment of one organization's source, and a label that identifies it in error messages. */
interface OrganizationInput {
  env: Environment;
  /** `entry 3 (acme)`; `undefined` without an organizations file. */
  label: string | undefined;
}

/** Names that an entry may set: the variables of a source, and `NAME_FILE` for each secret. */
const ENTRY_NAMES = sourceNames.flatMap((name) =>
  variableOf(name).secret ? [name, `${name}_FILE`] : [name],
);
const MAX_ENTRIES = 1_000;
/** Limits of one error message: entries named per problem, and problems. */
const MAX_LABELS = 5;
const MAX_PROBLEMS = 50;

/** Each kind of credentials replaces the other; so do a secret and its file. */
const CLIENT = withFiles('UIPATH_CLIENT_ID', 'UIPATH_CLIENT_SECRET');
const TOKEN = withFiles('UIPATH_ACCESS_TOKEN');
/** Variables that identify one organization. */
const IDENTITY = ['UIPATH_ORGANIZATION', 'UIPATH_PARTITION_GLOBAL_ID'];

/** Returns one input for each organization, in file order. If the file is invalid: none, and the problems are in `findings`. */
export function readOrganizations(
  env: Environment,
  path: string | undefined,
  findings: Findings,
): OrganizationInput[] {
  if (path === undefined) return [{ env, label: undefined }];
  const problems: string[] = [];
  const entries = readEntries(path, problems);
  findings.problems.push(...truncated(problems).map((problem) => `${ORGANIZATIONS_FILE}: ${problem}`));
  return entries.flatMap((entry, i) => (entry ? { env: overlay(env, entry), label: labelOf(entry, i) } : []));
}

/**
 * Merges the findings of all organizations. A finding that applies to several is listed once, with their labels: most findings
 * come from variables they share.
 */
export function mergeFindings(
  found: readonly { label: string | undefined; findings: Findings }[],
  into: Findings,
): void {
  for (const kind of ['problems', 'warnings'] as const) {
    const labels = new Map<string, (string | undefined)[]>();
    for (const { label, findings } of found) {
      for (const text of findings[kind]) labels.set(text, [...(labels.get(text) ?? []), label]);
    }
    const texts: string[] = [];
    for (const [text, of] of labels) {
      const isShared = of.length === found.length && of.length > 1;
      const more = of.length > MAX_LABELS ? ` and ${of.length - MAX_LABELS} more` : '';
      const labelled = of.slice(0, MAX_LABELS).join(', ') + more;
      texts.push(isShared || of[0] === undefined ? text : `${ORGANIZATIONS_FILE}, ${labelled}: ${text}`);
    }
    into[kind].push(...truncated(texts));
  }
}

/** Finds organizations that are listed more than once, ignoring case: their rows would be mixed or stored twice. */
export function findDuplicates(
  organizations: readonly { organization: string; label: string | undefined }[],
): string[] {
  const first = new Map<string, string | undefined>();
  const problems = organizations.flatMap(({ organization, label }) => {
    const key = organization.toLowerCase();
    if (!first.has(key)) {
      first.set(key, label);
      return [];
    }
    return [
      `${ORGANIZATIONS_FILE}: expected each organization once, found ${first.get(key)} and ${label}. Remove one of them.`,
    ];
  });
  return truncated(problems);
}

/** Finds organizations with the same list and the same credentials: the same events would be stored for both. */
export function findSameLists(
  sources: readonly (Pick<SourceConfig, 'organization' | 'auditUrl' | 'credentials'> & {
    label: string | undefined;
  })[],
): string[] {
  const first = new Map<string, (typeof sources)[number]>();
  const problems = sources.flatMap((source) => {
    const { label, organization, auditUrl, credentials } = source;
    const client = credentials.kind === 'client' ? credentials.clientId : credentials.accessToken;
    const key = JSON.stringify([auditUrl, credentials.kind, client]);
    const other = first.get(key) ?? source;
    first.set(key, other);
    // `findDuplicates` reports this case.
    if (other.organization.toLowerCase() === organization.toLowerCase()) return [];
    return [
      `${ORGANIZATIONS_FILE}: expected a different audit log for each organization, found ${quote(auditUrl, 500)} for ` +
        `${other.label} and ${label}. Set what distinguishes them in each entry, such as UIPATH_PARTITION_GLOBAL_ID.`,
    ];
  });
  return truncated(problems);
}

function readEntries(path: string, problems: string[]): (Environment | undefined)[] {
  const expected = 'expected a JSON list of objects, one for each organization';
  let list: unknown;
  try {
    list = JSON.parse(readTextFile(path));
  } catch (error) {
    // The message of JSON.parse may quote the file and reveal a secret.
    const reason =
      error instanceof SyntaxError
        ? `which is not JSON${placeOf(error)}`
        : `which cannot be read (${reasonOf(error)})`;
    problems.push(
      `${expected}, found ${showPath(path)}, ${reason}. Fix the file, its permissions or the path.`,
    );
    return [];
  }
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_ENTRIES) {
    const found = Array.isArray(list) ? `a list of ${list.length}` : typeOf(list);
    problems.push(
      `${expected}, found ${found} in ${showPath(path)}. The minimum is [{"UIPATH_ORGANIZATION": "acme"}].`,
    );
    return [];
  }
  return list.map((entry: unknown, i) => readEntry(entry, i, problems));
}

function readEntry(entry: unknown, i: number, problems: string[]): Environment | undefined {
  if (typeOf(entry) !== 'an object') {
    problems.push(`entry ${i + 1}: expected an object of variables, found ${typeOf(entry)}.`);
    return undefined;
  }
  const given: Environment = Object.create(null);
  for (const [name, value] of Object.entries(entry as object)) {
    if (!ENTRY_NAMES.includes(name)) problems.push(`entry ${i + 1}: ${explainName(name)}`);
    else if (['string', 'number', 'boolean'].includes(typeof value)) given[name] = String(value);
    else problems.push(`entry ${i + 1}: ${name}: expected a string, found ${typeOf(value)}.`);
  }
  return given;
}

function explainName(name: string): string {
  const shown = quote(name);
  const isShared =
    /^(DATABASE|EMBEDDED|EXPORT|STATUS|LOG)_[A-Z_]+$/.test(name) || name === ORGANIZATIONS_FILE;
  if (isShared) return `${shown} applies to all organizations. Set it in the environment.`;
  return `${shown} is not known. The nearest name that an entry may set is ${closest(name.toUpperCase(), ENTRY_NAMES)}.`;
}

function truncated(problems: readonly string[]): string[] {
  const more = problems.length - MAX_PROBLEMS;
  return more > 0
    ? [...problems.slice(0, MAX_PROBLEMS), `and ${more} more problems like these.`]
    : [...problems];
}

function overlay(env: Environment, entry: Environment): Environment {
  const given = Object.keys(entry).filter((name) => entry[name]!.trim() !== '');
  const replaced = new Set(given.flatMap((name) => withFiles(name.replace(/_FILE$/, ''))));
  if (given.some((name) => TOKEN.includes(name))) for (const name of CLIENT) replaced.add(name);
  if (given.some((name) => CLIENT.includes(name))) for (const name of TOKEN) replaced.add(name);
  // The environment's organization never applies to an entry.
  for (const name of IDENTITY) replaced.add(name);
  const kept = Object.entries(env).filter(([name]) => !replaced.has(name));
  return Object.fromEntries([...kept, ...given.map((name) => [name, entry[name]])]);
}

function withFiles(...names: string[]): string[] {
  return names.flatMap((name) => [name, `${name}_FILE`]);
}

function labelOf({ UIPATH_ORGANIZATION: organization }: Environment, i: number): string {
  return organization?.trim()
    ? `entry ${i + 1} (${quote(organization.trim()).slice(1, -1)})`
    : `entry ${i + 1}`;
}

function placeOf({ message }: SyntaxError): string {
  const position = /position (\d+)/.exec(message)?.[1];
  return position === undefined ? '' : ` (at character ${Number(position) + 1})`;
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
