import type { CommandContext } from '../app.ts';
import type { CommonOptions } from '../commands/options.ts';
import type { Environment } from '../config/config.ts';
import { coloursFor } from './screen.ts';

type Scope = Pick<CommonOptions, 'envFile' | 'organization'>;

/**
 * A command to type next, so that it runs as this process does: by npx or not, with the same file of variables and the same
 * organization.
 */
export function commandLine(
  name: string,
  { envFile, organization }: Scope,
  environment: Environment,
): string {
  const file = envFile === undefined ? '' : ` --env-file ${shellQuote(envFile)}`;
  const one = organization === undefined ? '' : ` --organization ${shellQuote(organization)}`;
  const npx = calledBy(environment);
  // Without the dashes Node 20 takes the option for its own.
  const dashes = npx === '' || file === '' ? '' : '-- ';
  return `${npx}${dashes}uipath-audit-export ${name}${file}${one}`;
}

/** What stands before the program's name on the command line that started this process. */
export function calledBy({ npm_command: command }: Environment): string {
  return command === 'exec' ? 'npx ' : '';
}

/** Tells a person which command comes next. Nothing where nobody looks on: a result in a pipe or a mail is only that. */
export function tellNext({ environment, out }: CommandContext, name: string, options: Scope): void {
  if (!process.stdout.isTTY) return;
  out(coloursFor(environment).dim(`Next: ${commandLine(name, options, environment)}`));
}

/** `text` as one word of a POSIX shell. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
