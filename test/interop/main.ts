/**
 * `npm run interop`: Go's golang.org/x/mod/sumdb/note and github.com/transparency-dev/merkle verify what this program's library
 * signs and proves, and reject it after a change; this program verifies notes that Go signed.
 *
 * `npm run interop -- --key KEY FILE...`: verifies files of real commands instead, each a signed checkpoint or a tlog-proof. KEY is a
 * verifier key, or a file of verifier keys or PEM public keys. Exits with 1 on a mismatch.
 */
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  openCheckpoint,
  parseCheckpoint,
  parseTrustedKeys,
  vkeyOf,
} from '../../src/core/transparency-log/checkpoint.ts';
import { openNote, parseNote, parseVkey } from '../../src/core/transparency-log/note.ts';
import { checkProof, parseProof } from '../../src/core/transparency-log/tlog-proof.ts';
import { allCases, rowTreeOf } from './cases.ts';
import { hasGo, runGo } from './go.ts';

const print = (line: string) => process.stdout.write(`${line}\n`);

function checkCases(): boolean {
  const cases = [...allCases()];
  const results = runGo(cases.map(({ request }) => request));
  const counts = new Map<string, { accepted: number; rejected: number; mismatches: number }>();
  for (const [at, { kind, isValid, request, accepts }] of cases.entries()) {
    const count = counts.get(kind) ?? { accepted: 0, rejected: 0, mismatches: 0 };
    counts.set(kind, count);
    const [go, own] = [results[at]!.error === '', accepts()];
    if (go === isValid && own === isValid) count[isValid ? 'accepted' : 'rejected']++;
    else if (++count.mismatches <= 3) {
      const found = `Go: ${results[at]!.error || 'valid'}, this program: ${own ? 'valid' : 'not valid'}`;
      print(
        `MISMATCH, ${kind}, expected ${isValid ? 'valid' : 'not valid'}; ${found}\n  ${JSON.stringify(request)}`,
      );
    }
  }
  for (const [kind, { accepted, rejected, mismatches }] of counts) {
    print(`${kind.padEnd(12)} ${accepted} valid, ${rejected} not valid, ${mismatches} mismatches`);
  }
  return [...counts.values()].every(({ mismatches }) => mismatches === 0);
}

/** Notes and checkpoints that Go signs with its own keys. */
function checkNotesOfGo(): boolean {
  const texts = [
    'One line\n',
    'Ä\n\nthree — lines\n',
    `example.com/log\n3\n${Buffer.alloc(32, 1).toString('base64')}\n`,
  ];
  const requests = texts.map((text) => ({
    check: 'sign',
    name: 'example.com/log',
    text: Buffer.from(text).toString('base64'),
  }));
  const mismatches = runGo(requests).filter(({ text: note = '', keys = [], error }, at) => {
    const verifier = parseVkey(keys[0]!, 'The verifier key of Go');
    const isOpened = error === '' && openNote(note, [verifier]).text === texts[at];
    return !isOpened || !isRejected(() => openNote(`More\n${note}`, [verifier]));
  }).length;
  print(
    `${'notes of Go'.padEnd(12)} ${texts.length} valid, ${texts.length} not valid, ${mismatches} mismatches`,
  );
  return mismatches === 0;
}

function checkFiles(paths: readonly string[], key: string): boolean {
  const keys = existsSync(key)
    ? parseTrustedKeys(readFileSync(key, 'utf8'), key)
    : parseTrustedKeys(key, '--key');
  const files = paths.map((path) => {
    const bytes = readFileSync(path);
    const isProof = bytes.toString().startsWith('c2sp.org/tlog-proof');
    const { origin } = parseCheckpoint(parseNote(isProof ? parseProof(bytes).checkpoint : bytes).text);
    const vkeys = keys.map(({ publicKey, origin: own }) => vkeyOf(own ?? origin, publicKey));
    const request = { check: isProof ? 'file' : 'note', text: bytes.toString('base64'), vkeys };
    return { path, bytes, isProof, request };
  });
  const results = runGo(files.map(({ request }) => request));
  const mismatches = files.filter(({ path, bytes, isProof }, at) => {
    const { error, text, keys: names } = results[at]!;
    const isOwn = !isRejected(() =>
      isProof ? checkProof(bytes, { keys, rowTreeOf }) : openCheckpoint(bytes, keys),
    );
    print(
      `${path}: Go: ${error || `valid, signed by ${names!.join(', ')}`}; this program: ${isOwn ? '' : 'not '}valid`,
    );
    if (error === '') print(text!.trimEnd().replace(/^/gm, '  '));
    return error !== '' || !isOwn;
  });
  return mismatches.length === 0;
}

function isRejected(verify: () => unknown): boolean {
  try {
    verify();
    return false;
  } catch {
    return true;
  }
}

const { values, positionals } = parseArgs({ options: { key: { type: 'string' } }, allowPositionals: true });
if (!hasGo()) {
  print('Skipped: `go` is not installed, so Go cannot verify what this program signs.');
} else if (positionals.length > 0) {
  if (values.key === undefined)
    throw new Error('FILE needs --key KEY: a verifier key, or a file with public keys');
  process.exitCode = checkFiles(positionals, values.key) ? 0 : 1;
} else {
  const isMatch = [checkCases(), checkNotesOfGo()].every(Boolean);
  print(isMatch ? 'Go and this program agree.' : 'Go and this program do not agree.');
  process.exitCode = isMatch ? 0 : 1;
}
