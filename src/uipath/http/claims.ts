/** Reads claims of a token without verifying its signature: they only tell sources apart, and grant nothing. */
import type { Redactor } from '../../text/redaction.ts';

/**
 * The claim `prt_id` of a JWT, in lower case: the GUID of the organization. `null` for another kind of token, such as a personal
 * access token, and for a value that is no plain id or that contains a credential.
 */
export function readPartition(token: string, redact: Redactor): string | null {
  const parts = token.split('.');
  if (parts.length !== 3) return null;
  const found = readClaims(parts[1]!)?.prt_id;
  if (typeof found !== 'string' || !/^[\w-]{1,64}$/.test(found)) return null;
  return found.includes(token) || redact.holdsSecret([found]) ? null : found.toLowerCase();
}

function readClaims(part: string): Record<string, unknown> | null {
  try {
    const claims: unknown = JSON.parse(Buffer.from(part, 'base64url').toString());
    return typeof claims === 'object' ? (claims as Record<string, unknown> | null) : null;
  } catch {
    return null;
  }
}
