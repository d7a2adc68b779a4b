/** Finds a password in libpq's password file. pg does so too, but prints a warning that this is deprecated. */
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Environment } from './parameters.ts';
import { isReadableByOthers } from './tls-files.ts';

export interface Login {
  host: string;
  port: number;
  database: string;
  user: string;
}

export interface PasswordFile {
  /** The first password whose line matches; `undefined` if there is none. */
  find(login: Login): string | undefined;
  /** Why the file is not used. */
  note?: string;
}

/** Reads `path`, or ~/.pgpass. As in libpq, an absent file is no error and one that other users may read is not used. */
export function readPasswordFile(path: string | undefined, environment: Environment): PasswordFile {
  const file = path ?? join(environment.HOME ?? homedir(), '.pgpass');
  try {
    if (isReadableByOthers(file))
      return {
        find: () => undefined,
        note: `The password file ${file} is not used, because other users may read it: chmod 600.`,
      };
    const lines = readFileSync(file, 'utf8')
      .split(/\r?\n/)
      .filter((line) => line !== '' && !line.startsWith('#'));
    const entries = lines.map(fieldsOf);
    return {
      find({ host, port, database, user }) {
        // The file calls the default directory of Unix sockets localhost.
        const named = host.startsWith('/') ? 'localhost' : host;
        const wanted = [named, String(port), database, user];
        return entries.find((fields) => wanted.every((value, i) => [value, '*'].includes(fields[i]!)))?.[4];
      },
    };
  } catch (error) {
    const isNamed = path !== undefined;
    const note = `The password file ${file} cannot be read (${(error as Error).message.split(',')[0]}).`;
    return { find: () => undefined, ...(isNamed && { note }) };
  }
}

/** Splits at colons; a backslash keeps the next character. */
function fieldsOf(line: string): string[] {
  const fields = [''];
  for (const [, escaped, character] of line.matchAll(/\\(.)|(.)/gu)) {
    if (character === ':' && fields.length < 5) fields.push('');
    else fields.push(fields.pop()! + (escaped ?? character));
  }
  return fields;
}
