import type { Findings } from './problems.ts';
import type { Values } from './variables.ts';

/** Where the events go. `directory` is as configured. */
export type DatabaseSetting = { kind: 'url'; url: string } | { kind: 'embedded'; directory: string };

/** `postgres://`, the user, the password with its colon, and the rest from `@` on. */
const USER_INFO = /^(postgres(?:ql)?:\/\/)([^:@/?#]+)(:[^@/?#]*)?(@.*)$/is;

/** Puts DATABASE_PASSWORD into DATABASE_URL, percent-encoded. */
export function parseDatabase(values: Values, findings: Findings): DatabaseSetting {
  const { DATABASE_URL: url, DATABASE_PASSWORD: password, EMBEDDED_POSTGRES_DIR: directory } = values;
  if (url === undefined) {
    if (password !== undefined && findings.problems.length === 0)
      findings.warnings.push('DATABASE_PASSWORD has no effect: DATABASE_URL is not set.');
    return { kind: 'embedded', directory };
  }
  if (password === undefined) return { kind: 'url', url };
  const [, scheme, user, urlPassword, rest] = USER_INFO.exec(url) ?? [];
  if (user === undefined) {
    findings.problems.push(
      'DATABASE_PASSWORD: expected a user in DATABASE_URL, found none. Add it, as in postgres://user@host:5432/database',
    );
  } else if (urlPassword !== undefined || /[?&]password=/.test(rest!)) {
    findings.problems.push(
      'DATABASE_PASSWORD: expected one password, found another one in DATABASE_URL. Remove one of them.',
    );
  }
  return { kind: 'url', url: `${scheme}${user}:${encodeURIComponent(password ?? '')}${rest}` };
}
