/** Keys and heads of the ledger. */
import { existsSync, writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { type CommandContext, withApp } from '../app.ts';
import { ExportError } from '../core/errors.ts';
import { checkpointOf } from '../core/ledger/sign.ts';
import type { LogKey } from '../core/log-key.ts';
import { originOf, vkeyOf } from '../core/transparency-log/checkpoint.ts';
import {
  fingerprintOf,
  formatPrivateKey,
  formatPublicKey,
  generatePrivateKey,
  publicKeyOf,
} from '../core/transparency-log/keys.ts';
import { withLedger } from '../postgres/read/ledger.ts';
import { signLedgers } from '../runs/sign-ledger.ts';
import { withHelp } from '../terminal/help.ts';
import { count } from '../text/format.ts';
import { type CommonOptions, withEnvFile, withJson, withOrganization } from './options.ts';
import { withLogLevel } from './with-log-level.ts';

const DEFAULT_KEY_FILE = 'ledger.key';

const HELP = {
  notes: [
    'The ledger lists every stored row. Its head is a checkpoint (c2sp.org/tlog-checkpoint). Keep copies of it where database users ' +
      'cannot write: `verify --expect` proves later that the ledger was only appended to.',
  ],
  examples: ['node dist/main.js ledger head', 'node dist/main.js ledger keygen --out ledger.key'],
};

export function ledgerCommand(context: CommandContext): Command {
  const command = withHelp(new Command('ledger').description('keys and heads of the ledger'), HELP);
  const keygen = new Command('keygen')
    .description('create the Ed25519 key that signs the ledger, and write it to a file')
    .option('--out <file>', 'file of the private key; the public key goes to FILE.pub', DEFAULT_KEY_FILE);
  command.addCommand(
    withJson(keygen).action((options: { out: string; json?: boolean }) => keygenTo(context, options)),
  );
  const head = new Command('head').description(
    'print the head of each log: a checkpoint, signed if there is a key',
  );
  command.addCommand(
    withJson(withOrganization(withEnvFile(head))).action((options: CommonOptions) =>
      printHeads(context, options),
    ),
  );
  const sign = new Command('sign').description(
    'verify the ledgers that are not signed yet, and begin to sign them',
  );
  command.addCommand(withEnvFile(sign).action((options: CommonOptions) => signHeads(context, options)));
  return command;
}

function keygenTo({ out }: CommandContext, { out: path, json }: { out: string; json?: boolean }): void {
  const key = generatePrivateKey();
  const publicKey = publicKeyOf(key);
  for (const file of [path, `${path}.pub`]) {
    if (existsSync(file))
      throw new ExportError(
        'configuration',
        `${file} exists, and a key is never overwritten. Choose another --out.`,
      );
  }
  try {
    writeFileSync(path, formatPrivateKey(key), { mode: 0o600, flag: 'wx' });
    writeFileSync(`${path}.pub`, formatPublicKey(publicKey), { flag: 'wx' });
  } catch (error) {
    throw new ExportError('configuration', `Cannot write the key: ${(error as Error).message}.`);
  }
  const facts = { privateKeyFile: path, publicKeyFile: `${path}.pub`, fingerprint: fingerprintOf(publicKey) };
  if (json) {
    out(JSON.stringify(facts));
    return;
  }
  out(
    `Private key: ${facts.privateKeyFile} (EXPORT_LEDGER_KEY_FILE of the worker; keep it off the database server)`,
  );
  out(`Public key:  ${facts.publicKeyFile} (EXPORT_LEDGER_PUBLIC_KEY_FILE of everybody who verifies)`);
  out(`Fingerprint: SHA-256 ${facts.fingerprint}`);
}

async function printHeads(
  context: CommandContext,
  { envFile, organization, json }: CommonOptions,
): Promise<void> {
  await withApp(
    withLogLevel(context, envFile, 'warn'),
    { envFile, needs: 'database' },
    async ({ pool, config }) => {
      const heads = await withLedger(pool, async (ledger) => {
        const keys = (await ledger.logs()).filter(
          (key) => organization === undefined || key.organization === organization,
        );
        const found: (LogKey & { checkpoint: string; isSigned: boolean })[] = [];
        for (const key of keys) {
          const head = await ledger.readHead(key);
          if (head)
            found.push({
              ...key,
              checkpoint: head.checkpoint ?? checkpointOf(key, head),
              isSigned: head.checkpoint !== null,
            });
        }
        return found;
      });
      if (heads.length === 0)
        throw new ExportError('configuration', 'No log has entries yet: nothing is stored.');
      const vkeysOf = (key: LogKey) =>
        config.ledger.trusted.map(({ publicKey }) => vkeyOf(originOf(key), publicKey));
      if (json)
        return context.out(
          JSON.stringify({ heads: heads.map((head) => ({ ...head, verifierKeys: vkeysOf(head) })) }),
        );
      // Each ends with a newline; an empty line separates them.
      context.out(
        heads
          .map(({ checkpoint }) => checkpoint)
          .join('\n')
          .trimEnd(),
      );
    },
  );
}

async function signHeads(context: CommandContext, { envFile }: CommonOptions): Promise<void> {
  await withApp(context, { envFile, needs: 'database' }, async ({ pool, config }) => {
    const { privateKeys } = config.ledger;
    if (privateKeys.length === 0)
      throw new ExportError(
        'configuration',
        'EXPORT_LEDGER_KEY_FILE is not set: create a key with `ledger keygen`, and set it.',
      );
    const signed = await signLedgers(pool, { privateKeys, signal: context.signal });
    const names = signed.map(({ organization }) => organization).join(', ');
    context.out(
      signed.length === 0
        ? 'All ledgers are signed already.'
        : `Signed the ledgers of ${count(signed.length, 'log')}: ${names}.`,
    );
  });
}
