/** Parses a head of a ledger of which someone kept a copy: a checkpoint, or the form of versions before 0.3. */
import { ExportError } from '../errors.ts';
import { CLASSIC_LOG } from '../log-key.ts';
import { parseCheckpoint } from '../transparency-log/checkpoint.ts';
import type { NotedHead } from './tree-check.ts';

const ORIGIN = /^uipath-audit-export\/([^/]+)\/([^/]+)$/;
/** No organization's name holds a slash. */
const ENTRY = /^([^/]+)(?:\/(.+))?\/(\d{1,18})\/([0-9a-f]{64})$/;

/**
 * Parses `ORGANIZATION/NUMBER/DIGEST`, `ORGANIZATION/LOG/NUMBER/DIGEST`, or a checkpoint (c2sp.org/tlog-checkpoint) with or without
 * its signatures, which are not verified here: the copy is trusted for where it was kept. Throws `configuration`.
 */
export function parseNotedHead(text: string): NotedHead {
  const trimmed = text.trim();
  const entry = ENTRY.exec(trimmed);
  if (entry) {
    const [, organization, log = CLASSIC_LOG, batch, digest] = entry;
    return { organization: organization!, log, batch: BigInt(batch!), digest: digest! };
  }
  const [body] = trimmed.replaceAll('\r\n', '\n').split('\n\n');
  if (!body!.startsWith('uipath-audit-export/')) {
    throw new ExportError(
      'configuration',
      'Expected a head as `ledger head` or `verify` prints it: a checkpoint of several lines, or ORGANIZATION/NUMBER/DIGEST.',
    );
  }
  const { origin, size, root } = parseCheckpoint(`${body}\n`);
  const [, organization, log] = ORIGIN.exec(origin) ?? [];
  if (organization === undefined || log === undefined)
    throw new ExportError(
      'configuration',
      `The origin of the checkpoint names no organization and log: ${origin}.`,
    );
  return {
    organization: decodeURIComponent(organization),
    log: decodeURIComponent(log),
    batch: BigInt(size),
    root: Buffer.from(root).toString('hex'),
  };
}
