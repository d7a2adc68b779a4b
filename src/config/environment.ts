import { join } from 'node:path';
import { ExportError } from '../core/errors.ts';
import { closest } from '../text/suggest.ts';
import { parseDotenv } from './dotenv.ts';
import { EncodingError, NOT_UTF8, readTextFile } from './files.ts';
import { type Findings, quote } from './problems.ts';
import { explainServiceLink, isServiceLink, withoutServiceLinks } from './service-links.ts';
import { knownNames, type VariableName, variableOf } from './variables.ts';

/** Raw environment variables, not validated. An empty variable counts as unset. */
export type Environment = Record<string, string | undefined> & { [fileWarnings]?: readonly string[] };

/** Key of the warnings about the `.env` file. A symbol, so that copies keep them and no variable has this name. */
export const fileWarnings: unique symbol = Symbol('warnings of the .env file');

/** The raw text of each variable that is set. `null`: set but unreadable, which is already reported as a problem. */
export type RawValues = ReadonlyMap<VariableName, string | null>;

const prefixes = ['UIPATH_', 'EXPORT_', 'HTTP_', 'RETRY_', 'STATUS_', 'DATABASE_', 'EMBEDDED_', 'LOG_'];
/** Variables of other programs, and those that Kubernetes sets for a service whose name matches a prefix. */
const foreign =
  /^(HTTP_PROXY(_.*)?|HTTP_VERSION|LOG_DIR|.*_SERVICE_(HOST|PORT(_.*)?)|.*_PORT_\d+_(TCP|UDP)(_.*)?)$/s;

/**
 * Merges the process environment over the values of `envFile`, or of `.env` in `directory` if it exists. Changes neither and
 * prints nothing. Throws `configuration` if the file cannot be read.
 */
export function loadEnvironment(
  { envFile, directory = process.cwd() }: { envFile?: string; directory?: string },
  processEnv: Environment,
): Environment {
  const path = envFile ?? join(directory, '.env');
  try {
    const { values, warnings } = parseDotenv(readTextFile(path, { isLenient: true }));
    // Another encoding is harmless in a comment, so only values are checked.
    if (Object.values(values).some((value) => value.includes('\uFFFD'))) throw new EncodingError(NOT_UTF8);
    const located = warnings.map((warning) => `${path}, ${warning}`);
    return {
      ...values,
      ...withoutServiceLinks(processEnv, values),
      ...(located.length > 0 && { [fileWarnings]: located }),
    };
  } catch (error) {
    if (envFile === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return { ...processEnv };
    const remedy =
      envFile === undefined ? 'Fix or remove it' : 'Pass the path of a readable file to --env-file';
    const advice = error instanceof EncodingError ? '' : ` ${remedy}.`;
    throw new ExportError('configuration', `Cannot read ${path}: ${reasonOf(error)}.${advice}`, {
      cause: error,
    });
  }
}

/** Reads the raw text of each of `names`; a secret also from the file that `NAME_FILE` names. */
export function readRawValues(
  env: Environment,
  names: readonly VariableName[],
  findings: Findings,
): RawValues {
  const given = new Map<VariableName, string | null>();
  for (const name of names) {
    const text = readPlain(env, name, findings);
    const path = variableOf(name).secret ? (secretFile(env, name) ?? '') : '';
    if (text !== '' && path !== '') {
      findings.problems.push(
        `${name}: expected either ${name} or ${name}_FILE, found both. Remove one of them.`,
      );
      given.set(name, null);
    } else if (path !== '') given.set(name, readSecretFile(`${name}_FILE`, path, findings));
    else if (text !== '') given.set(name, text);
  }
  return given;
}

/** The path in `NAME_FILE`, if it is set. */
export function secretFile(env: Environment, name: VariableName): string | undefined {
  return clean(env[`${name}_FILE`] ?? '') || undefined;
}

/** The text of a file that holds a secret, without line breaks at its end. Throws as `readTextFile`. */
export function readSecretText(path: string): string {
  return readTextFile(path).replace(/(?<![\r\n])[\r\n]+$/, '');
}

/** Warns about each unknown variable that has one of our prefixes: usually a typing error. */
export function warnAboutUnknown(env: Environment, findings: Findings): void {
  for (const name of Object.keys(env).sort()) {
    const upper = name.toUpperCase();
    const isOurs = prefixes.some((prefix) => upper.startsWith(prefix));
    const isForeign = foreign.test(upper) || isServiceLink(upper, env[name]);
    if (!isOurs || knownNames.includes(name) || isForeign) continue;
    const shown = /^\w{1,100}$/.test(name) ? name : quote(name);
    findings.warnings.push(
      `${shown} is not known and has no effect. The nearest known variable is ${closest(upper, knownNames)}.`,
    );
  }
}

function readPlain(env: Environment, name: VariableName, findings: Findings): string {
  const found = env[name] ?? '';
  const text = clean(found);
  const serviceLink = explainServiceLink(name, text);
  if (serviceLink !== undefined) {
    findings.warnings.push(serviceLink);
    return '';
  }
  if (variableOf(name).secret && text !== '' && text !== found) {
    findings.warnings.push(`${name}: the spaces or quotes around its value were removed.`);
  }
  return text;
}

function readSecretFile(name: string, path: string, findings: Findings): string | null {
  const shown = showPath(path);
  const fail = (found: string) => {
    findings.problems.push(
      `${name}: expected the path of a file that holds the value, found ${shown}, ${found}. ` +
        'Fix the file, its permissions or the path.',
    );
    return null;
  };
  try {
    const text = readSecretText(path);
    return text.trim() === '' ? fail('which is empty') : text;
  } catch (error) {
    return fail(`which cannot be read (${reasonOf(error)})`);
  }
}

/** Hides text that does not look like a path: it may be a secret in the wrong variable. */
export function showPath(path: string): string {
  const isPath = /^(~|\.{0,2}[/\\]|[a-z]:[/\\])|^[\w.-]+\.json$/i.test(path);
  return isPath ? quote(path, 500) : 'a text that is not shown';
}

/** Removes the white space and the quotes that `docker --env-file` and YAML leave around a value. */
function clean(text: string): string {
  const trimmed = text.trim();
  return (/^(["'])(.*)\1$/s.exec(trimmed)?.[2] ?? trimmed).trim();
}

/** Node's error message without the path, which the surrounding sentence already names. */
export function reasonOf(error: unknown): string {
  const { message } = error as NodeJS.ErrnoException;
  return error instanceof EncodingError ? message : message.split(',')[0]!;
}
