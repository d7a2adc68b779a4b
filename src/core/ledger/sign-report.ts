/** The signature of a report: a signed note (c2sp.org/signed-note) over its period and the SHA-256 of its JSON. */
import { hash, type KeyObject } from 'node:crypto';
import type { TrustedKey } from '../transparency-log/checkpoint.ts';
import { openNote, signNote, verifierOf } from '../transparency-log/note.ts';

/** Also the name of the key that signs. A key is not tied to a log here: a report has several. */
const REPORT = 'uipath-audit-export/report';

export function signReport(
  json: string,
  { period, privateKeys }: { period: string; privateKeys: readonly KeyObject[] },
): string {
  return signNote(
    textOf(json, period),
    privateKeys.map((privateKey) => ({ name: REPORT, privateKey })),
  );
}

/**
 * Checks the signature, and returns the ids of the keys that signed. Throws an ExportError: `configuration` if none of the keys has signed it,
 * `differences` if the report or the signature was changed.
 */
export function checkReportSignature(
  note: string,
  { json, period, keys }: { json: string; period: string; keys: readonly TrustedKey[] },
): { signedBy: string[]; isOfReport: boolean } {
  const { text, signedBy } = openNote(
    note,
    keys.map(({ publicKey }) => verifierOf(REPORT, publicKey)),
  );
  return {
    signedBy: signedBy.map(({ name, keyId }) => `${name}+${keyId}`),
    isOfReport: text === textOf(json, period),
  };
}

function textOf(json: string, period: string): string {
  return `${REPORT}\n${period}\n${hash('sha256', json)}\n`;
}
