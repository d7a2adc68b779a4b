import type { CommandContext } from '../app.ts';
import { coloursFor } from './screen.ts';

interface Scope {
  envFile?: string | undefined;
  organization?: string | undefined;
}

/** How a command line begins in a clone: no registry is asked, as npx would ask it. */
export const PROGRAM = 'node dist/main.js';

/** A command to type next, with the same file of variables and the same organization as this process. */
export function commandLine(name: string, { envFile, organization }: Scope): string {
  const file = envFile === undefined ? '' : ` --env-file ${shellQuote(envFile)}`;
  const one = organization === undefined ? '' : ` --organization ${shellQuote(organization)}`;
  // Without the dashes Node 20 takes the option for its own.
  const program = file === '' ? PROGRAM : PROGRAM.replace(' ', ' -- ');
  return `${program} ${name}${file}${one}`;
}

/** Tells a person which command comes next. Nothing where nobody looks on: a result in a pipe or a mail is only that. */
export function printNextStep({ environment, out }: CommandContext, name: string, options: Scope): void {
  if (!process.stdout.isTTY) return;
  out(coloursFor(environment).dim(`Next: ${commandLine(name, options)}`));
}

/** `text` as one word of a POSIX shell. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
