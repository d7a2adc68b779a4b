/** Proof of one event for somebody who has neither the database nor the source. */
import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { proveRow, rowTreeOf } from '../core/ledger/prove.ts';
import { formatTicks } from '../core/ticks.ts';
import { parseTrustedKeys } from '../core/transparency-log/checkpoint.ts';
import { checkProof } from '../core/transparency-log/tlog-proof.ts';
import { decodeRecord, type EventRecord, uuidBytes } from '../postgres/format/record.ts';
import { withLedger } from '../postgres/read/ledger.ts';
import { withHelp } from '../terminal/help.ts';
import { printable } from '../terminal/screen.ts';
import { readFile, writeFile } from './files.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

interface ProveOptions extends CommonOptions {
  out?: string;
  check?: string;
  key?: string;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const HELP = {
  notes: [
    'Writes a c2sp.org/tlog-proof file: this event, with every field, was in the ledger at its newest signed head. --check verifies such a ' +
      'file with the public key alone, on any machine. Exits with 3 if the proof does not hold.',
  ],
  examples: [
    'node dist/main.js prove 1e4cca09-8e4b-0f93-6ecd-788a955c4e57 --out event.tlog-proof',
    'node dist/main.js prove --check event.tlog-proof --key ledger.key.pub',
  ],
};

export function proveCommand(context: CommandContext): Command {
  const command = new Command('prove')
    .description('write or check a proof that one event is in the ledger')
    .argument('[event-id]', 'event_id of the event, as in bi.events')
    .option('--out <file>', 'write the proof to this file instead of standard output')
    .option('--check <file>', 'check this proof; needs no database')
    .option('--key <file>', 'public key to check it with: PEM, or a verifier key');
  withHelp(command, HELP);
  return withJson(withOrganization(withEnvFile(command))).action(
    async (eventId: string | undefined, options: ProveOptions) => {
      if (options.check !== undefined) return check(context, options.check, options);
      if (eventId === undefined)
        throw new ExportError('configuration', 'prove needs the id of an event, or --check FILE.');
      await prove(context, eventId.toLowerCase(), options);
    },
  );
}

async function prove(context: CommandContext, eventId: string, options: ProveOptions): Promise<void> {
  if (!UUID.test(eventId))
    throw new ExportError(
      'configuration',
      `Expected an event_id such as 1e4cca09-8e4b-0f93-6ecd-788a955c4e57, found ${eventId}.`,
    );
  const { envFile, organization } = options;
  const proof = await withApp(
    withLogLevel(context, envFile, 'warn'),
    { envFile, needs: 'database' },
    ({ pool }) =>
      withLedger(pool, async (ledger) => {
        const found = (await ledger.findEvent(eventId)).filter(
          (event) => organization === undefined || event.organization === organization,
        );
        const [event] = found;
        if (!event) throw new ExportError('configuration', `No stored event has the id ${eventId}.`);
        if (found.length > 1)
          throw new ExportError(
            'configuration',
            `${found.length} organizations have an event ${eventId}: select one with --organization.`,
          );
        const entry = await ledger.readEntry(event, event.batch);
        const signed = await ledger.readSigned(event);
        if (!entry)
          throw new ExportError(
            'differences',
            `No entry of the ledger lists event ${eventId}: it was inserted by hand.`,
          );
        if (!signed || signed.batch < entry.batch) {
          throw new ExportError(
            'configuration',
            `The head of the ledger of ${event.organization} is not signed, so a proof would convince nobody. Create a key with \`ledger keygen\`, ` +
              'set EXPORT_LEDGER_KEY_FILE, and run `ledger sign`.',
          );
        }
        const digests = await ledger.readDigests(event, signed.batch);
        return proveRow({
          entry,
          key: uuidBytes(eventId),
          record: event.record,
          digests,
          checkpoint: signed.checkpoint,
        });
      }),
  );
  if (options.out === undefined) return context.out(proof.trimEnd());
  writeFile(options.out, proof);
  context.out(
    `Wrote ${options.out}. Check it with: node dist/main.js prove --check ${options.out} --key PUBLIC_KEY_FILE`,
  );
}

function check({ out }: CommandContext, path: string, { key, json }: ProveOptions): void {
  if (key === undefined)
    throw new ExportError(
      'configuration',
      '--check needs --key FILE: the public key of the ledger, from somebody you trust.',
    );
  const keys = parseTrustedKeys(readFile(key).toString(), `--key ${key}`);
  const proven = checkProof(readFile(path), { keys, rowTreeOf });
  const event = eventOf(proven.record);
  const entry = JSON.parse(proven.entryText) as Record<string, unknown>;
  const signedBy = proven.signedBy.map(({ name, keyId }) => `${name}+${keyId}`);
  if (json) {
    out(
      JSON.stringify({
        valid: true,
        event,
        entry,
        origin: proven.checkpoint.origin,
        size: proven.checkpoint.size,
        signedBy,
      }),
    );
    return;
  }
  out(
    `✓ This event was in the log ${proven.checkpoint.origin} with ${proven.checkpoint.size} entries, signed by ${signedBy.join(', ')}.`,
  );
  out(
    `  entry ${entry.entry} (${entry.kind}), committed ${entry.committed_at}, row ${proven.rowIndex + 1} of ${proven.rowCount}`,
  );
  for (const [name, value] of Object.entries(event)) {
    if (value !== null) out(`  ${name.padEnd(16)}${printable(String(value))}`);
  }
}

/** The columns of a record, times as text. */
function eventOf(bytes: Uint8Array): Record<string, string | null> {
  let record: EventRecord;
  try {
    record = decodeRecord(Buffer.from(bytes));
  } catch {
    throw new ExportError('configuration', 'Cannot read the proof: it is not the record of an event.');
  }
  const { created_on_ticks: ticks, ...columns } = record;
  const shown = [
    'event_id',
    'created_on_raw',
    'category',
    'action',
    'source',
    'user_name',
    'email',
    'message',
  ] as const;
  return {
    created_on: ticks === null ? null : formatTicks(ticks),
    ...Object.fromEntries(shown.map((name) => [name, columns[name]])),
    details_version: columns.details_version,
    details_raw: columns.details_raw,
    extra: columns.extra,
    raw: columns.raw,
  };
}
