import { join } from 'node:path';
import { ExportError } from '../core/errors.ts';
import { closest } from '../text/suggest.ts';
import { parseDotenv } from './dotenv.ts';
import { EncodingError, NO_UTF8, readTextFile } from './files.ts';
import { type Findings, quote } from './problems.ts';
import { knownNames, type VariableName, variableOf } from './variables.ts';

/** Environment variables as a process gets them: untrusted, an empty one counts as unset. */
export type Environment = Record<string, string | undefined> & { [fileWarnings]?: readonly string[] };

/** Under it an environment carries what was noticed in its file, also to copies of it. No variable has such a name. */
export const fileWarnings: unique symbol = Symbol('warnings of the .env file');

/** The texts that were given. `null`: given, but not readable, which is a problem already. */
export type GivenTexts = ReadonlyMap<VariableName, string | null>;

const prefixes = ['UIPATH_', 'EXPORT_', 'HTTP_', 'RETRY_', 'STATUS_', 'DATABASE_', 'EMBEDDED_', 'LOG_'];
/** Read by other programs, or set by Kubernetes for a service named like one of the prefixes. */
const foreign =
  /^(HTTP_PROXY(_.*)?|HTTP_VERSION|LOG_DIR|.*_SERVICE_(HOST|PORT(_.*)?)|.*_PORT_\d+_(TCP|UDP)(_.*)?)$/s;

/**
 * The process environment over the values of `envFile`, or of `.env` in `directory` where that exists. Changes
 * neither of them and prints nothing. Throws `configuration` for a file that cannot be read.
 */
export function loadEnvironment(
  { envFile, directory = process.cwd() }: { envFile?: string; directory?: string },
  processEnv: Environment,
): Environment {
  const path = envFile ?? join(directory, '.env');
  try {
    const { values, warnings } = parseDotenv(readTextFile(path, { isLenient: true }));
    // In a comment a character of another encoding does no harm.
    if (Object.values(values).some((value) => value.includes('\uFFFD'))) throw new EncodingError(NO_UTF8);
    const noticed = warnings.map((warning) => `${path}, ${warning}`);
    return {
      ...values,
      ...processEnv,
      ...(noticed.length > 0 && { [fileWarnings]: noticed }),
    };
  } catch (error) {
    if (envFile === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return { ...processEnv };
    const remedy =
      envFile === undefined ? 'Fix or remove it' : 'Give the path of a readable file to --env-file';
    const advice = error instanceof EncodingError ? '' : ` ${remedy}.`;
    throw new ExportError('configuration', `Cannot read ${path}: ${reasonOf(error)}.${advice}`, {
      cause: error,
    });
  }
}

/** Collects what was given for each of `names`, secrets also from the file that `NAME_FILE` names. */
export function readGiven(env: Environment, names: readonly VariableName[], findings: Findings): GivenTexts {
  const given = new Map<VariableName, string | null>();
  for (const name of names) {
    const text = readPlain(env, name, findings);
    const path = variableOf(name).secret ? clean(env[`${name}_FILE`] ?? '') : '';
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

/** Warns of each variable that has one of our prefixes and no meaning, which is a typing mistake as a rule. */
export function warnOfUnknown(env: Environment, findings: Findings): void {
  for (const name of Object.keys(env).sort()) {
    const upper = name.toUpperCase();
    const isOurs = prefixes.some((prefix) => upper.startsWith(prefix));
    if (!isOurs || knownNames.includes(name) || foreign.test(upper)) continue;
    const shown = /^\w{1,100}$/.test(name) ? name : quote(name);
    findings.warnings.push(
      `${shown} is not known and has no effect. The nearest known variable is ${closest(upper, knownNames)}.`,
    );
  }
}

function readPlain(env: Environment, name: VariableName, findings: Findings): string {
  const found = env[name] ?? '';
  const text = clean(found);
  if (variableOf(name).secret && text !== '' && text !== found) {
    findings.warnings.push(`${name}: the spaces or quotes around its value were left out.`);
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
    const text = readTextFile(path).replace(/(?<![\r\n])[\r\n]+$/, '');
    return text.trim() === '' ? fail('which is empty') : text;
  } catch (error) {
    return fail(`which cannot be read (${reasonOf(error)})`);
  }
}

/** What does not look like a path may be the secret itself, put into the wrong variable. */
export function showPath(path: string): string {
  const isPath = /^(~|\.{0,2}[/\\]|[a-z]:[/\\])|^[\w.-]+\.json$/i.test(path);
  return isPath ? quote(path, 500) : 'a text that is not shown';
}

/** Without the white space and the pair of quotes that `docker --env-file` and YAML leave around a value. */
function clean(text: string): string {
  const trimmed = text.trim();
  return (/^(["'])(.*)\1$/s.exec(trimmed)?.[2] ?? trimmed).trim();
}

/** Node's own words without the path, which the sentence around them names already. */
export function reasonOf(error: unknown): string {
  const { message } = error as NodeJS.ErrnoException;
  return error instanceof EncodingError ? message : message.split(',')[0]!;
}
