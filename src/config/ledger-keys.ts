/** The keys of the ledger: those that sign it, and those that `verify` trusts. */
import type { KeyObject } from 'node:crypto';
import { ExportError } from '../core/errors.ts';
import { parseTrustedKeys, type TrustedKey } from '../core/transparency-log/checkpoint.ts';
import { parsePrivateKeys, publicKeyOf } from '../core/transparency-log/keys.ts';
import type { Environment } from './environment.ts';
import type { Findings } from './problems.ts';
import type { Values } from './variables.ts';

export interface LedgerKeys {
  /** Sign the heads. Empty: they are not signed. */
  privateKeys: readonly KeyObject[];
  /** Must have signed the heads, for `verify`. Empty: no key is known. */
  trusted: readonly TrustedKey[];
}

export function parseLedgerKeys(
  { EXPORT_LEDGER_KEY: privateText, EXPORT_LEDGER_PUBLIC_KEY: publicText }: Partial<Values>,
  env: Environment,
  findings: Findings,
): LedgerKeys {
  const read = <T>(
    name: string,
    text: string | undefined,
    parse: (text: string, from: string) => T[],
  ): T[] => {
    if (text === undefined) return [];
    try {
      return parse(text, env[`${name}_FILE`] === undefined ? name : `${name}_FILE`);
    } catch (error) {
      if (!(error instanceof ExportError)) throw error;
      findings.problems.push(error.message);
      return [];
    }
  };
  const privateKeys = read('EXPORT_LEDGER_KEY', privateText, parsePrivateKeys);
  const given = read('EXPORT_LEDGER_PUBLIC_KEY', publicText, parseTrustedKeys);
  const own = privateKeys.map((key): TrustedKey => ({ publicKey: publicKeyOf(key), origin: null }));
  return { privateKeys, trusted: given.length > 0 ? given : own };
}

/** The parts of a PEM text that must never be shown. */
export function pemSecrets(keys: readonly KeyObject[]): string[] {
  return keys.map((key) => key.export({ type: 'pkcs8', format: 'der' }).toString('base64'));
}
