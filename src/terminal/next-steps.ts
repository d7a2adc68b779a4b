import type { CommandContext } from '../app.ts';
import { coloursFor } from './screen.ts';

interface Scope {
  envFile?: string | undefined;
  organization?: string | undefined;
}

/** The start of a command line in a clone. Unlike npx it sends no request to a registry. */
export const PROGRAM = 'node dist/main.js';

/** Returns a command line with the same --env-file and --organization as this process. */
export function commandLine(name: string, { envFile, organization }: Scope): string {
  const file = envFile === undefined ? '' : ` --env-file ${shellQuote(envFile)}`;
  const one = organization === undefined ? '' : ` --organization ${shellQuote(organization)}`;
  // Without the dashes Node 20 reads --env-file as its own option.
  const program = file === '' ? PROGRAM : PROGRAM.replace(' ', ' -- ');
  return `${program} ${name}${file}${one}`;
}

/** Prints the next command, only to a terminal: piped output contains the result alone. */
export function printNextStep({ environment, out }: CommandContext, name: string, options: Scope): void {
  if (!process.stdout.isTTY) return;
  out(coloursFor(environment).dim(`Next: ${commandLine(name, options)}`));
}

/** Quotes `text` as one word of a POSIX shell, where it needs quotes. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
