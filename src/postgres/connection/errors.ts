import { types } from 'node:util';
import { ExportError } from '../../core/errors.ts';

/** SQLSTATE classes and codes, see "PostgreSQL Error Codes" in its manual. */
const ADVICE: Record<string, string> = {
  '25006': 'It is a standby, or default_transaction_read_only is on.',
  '53300':
    'All connections of the server, the database or the user are in use: raise the limit, or end connections of others.',
};
const UNAVAILABLE = /^(08|57P0[1-5]|57014|53|25P03|25006|40|55P03)/;
const CONFIGURATION = /^(28|3D|3F|42501|0P|42P01)/;
const NETWORK =
  /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL|ENOENT)/;

/** Converts the error of a database call to an `ExportError`. `doing` completes "PostgreSQL failed while …". */
export function translateDatabaseError(error: unknown, doing: string): ExportError {
  if (error instanceof ExportError) return error;
  const cause = isError(error) ? error : new Error(String(error));
  const code = 'code' in cause ? String(cause.code) : '';
  const found = `PostgreSQL failed while ${doing}: ${describe(cause)}${code && ` (${code})`}.`;
  const remedy = remedyOf(code, cause);
  if (remedy) return new ExportError('configuration', `${found} ${remedy}`, { cause });
  // Every write is one transaction.
  const state = doing.startsWith('storing') ? ' Nothing was stored partially.' : '';
  if (UNAVAILABLE.test(code) || NETWORK.test(code) || isConnectionLoss(cause)) {
    const advice = ADVICE[code] ?? 'Check that the database is up, reachable and has space.';
    return new ExportError(
      'database-away',
      `${found}${state} ${advice} The next run continues where this one stopped.`,
      { cause },
    );
  }
  return new ExportError('database', `${found}${state}`, { cause });
}

/** What the operator has to fix; `undefined` where a later attempt may succeed. */
function remedyOf(code: string, cause: Error): string | undefined {
  // pg sets no code on it.
  if (/^SASL/.test(cause.message)) return 'Check user and password in DATABASE_URL.';
  if (!CONFIGURATION.test(code)) return undefined;
  if (code.startsWith('28')) return 'Check user and password in DATABASE_URL.';
  if (code.startsWith('3D')) return 'Create that database, or name another one in DATABASE_URL.';
  if (code === '42P01' || code.startsWith('3F')) return 'Run `node dist/main.js migrate`.';
  return 'The user of DATABASE_URL lacks a right: the worker needs the role audit_writer; migrate and verify --repair need the owner of the tables.';
}

/** pg's message for a query on a connection that is closed already. */
const CLOSED_CLIENT = 'Client was closed and is not queryable';

/** An AggregateError (all addresses of a host refused) has no message of its own. */
function describe(error: Error): string {
  if ('errors' in error && Array.isArray(error.errors)) {
    return error.errors.map((part) => part.message).join(', ');
  }
  // A query that waited for its turn while an earlier one, such as the heartbeat, timed out and closed the connection.
  if (error.message === CLOSED_CLIENT) return 'Connection terminated after an earlier query timeout or loss';
  return error.message;
}

/** Also true for an error of another realm, such as Node's own errors inside jest. */
function isError(value: unknown): value is Error {
  return value instanceof Error || types.isNativeError(value);
}

/** pg sets no code where a connection ends during a query or is not established in time. */
function isConnectionLoss(error: Error): boolean {
  return (
    !('code' in error && error.code) &&
    /connection|not queryable|timeout/i.test(`${error.name} ${error.message}`)
  );
}
