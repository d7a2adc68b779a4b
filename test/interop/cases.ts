/** What `npm run interop` lets Go verify: each with whether it is valid, and what this program's library says. */
import type { KeyObject } from 'node:crypto';
import {
  openCheckpoint,
  originOf,
  parseTrustedKeys,
  signCheckpoint,
  vkeyOf,
} from '../../src/core/transparency-log/checkpoint.ts';
import { generatePrivateKey, publicKeyOf } from '../../src/core/transparency-log/keys.ts';
import { leafHash, rootOf } from '../../src/core/transparency-log/merkle.ts';
import {
  consistencyProof,
  inclusionProof,
  verifyConsistency,
  verifyInclusion,
} from '../../src/core/transparency-log/merkle-proof.ts';
import { openNote, parseVkey, signNote } from '../../src/core/transparency-log/note.ts';
import { checkProof, writeProof } from '../../src/core/transparency-log/tlog-proof.ts';
import type { GoRequest } from './go.ts';

export interface Case {
  kind: 'inclusion' | 'consistency' | 'note' | 'checkpoint' | 'tlog-proof';
  isValid: boolean;
  request: GoRequest;
  /** Whether this program's library accepts it. */
  accepts: () => boolean;
}

/** All trees up to this size, with all their leaves and all their older trees. */
const WHOLE = 48;
const LARGE = [63, 64, 65, 100, 127, 128, 129, 1000, 1023, 1024, 1025, 4097];

const leaves = Array.from({ length: LARGE.at(-1)! }, (_, at) => leafHash(`leaf ${at}`));
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const flip = (hash: Uint8Array) => Uint8Array.from(hash, (byte, at) => (at === 31 ? byte ^ 128 : byte));

/** The row tree of an entry, from its text: docs/ledger.md. */
export function rowTreeOf(entryText: string): { root: Uint8Array; count: number } {
  const { rows, rows_root } = JSON.parse(entryText) as { rows: number; rows_root: string };
  return { root: Buffer.from(rows_root, 'hex'), count: rows };
}

export function* allCases(): Generator<Case> {
  yield* inclusionCases();
  yield* consistencyCases();
  yield* noteCases();
  yield* checkpointCases();
  yield* proofCases();
}

function* sizes(): Generator<[size: number, parts: number[]]> {
  for (let size = 1; size <= WHOLE; size++) yield [size, Array.from({ length: size }, (_, at) => at)];
  for (const size of LARGE) yield [size, [...new Set([0, 1, size >> 1, size - 2, size - 1])]];
}

function* inclusionCases(): Generator<Case> {
  for (const [size, indexes] of sizes()) {
    const tree = leaves.slice(0, size);
    const root = rootOf(tree);
    for (const index of indexes) {
      const claim = { index, size, leafHash: tree[index]!, root, proof: inclusionProof(tree, index) };
      yield inclusionCase(claim, true);
      yield inclusionCase({ ...claim, root: flip(root) }, false);
      yield inclusionCase({ ...claim, leafHash: flip(claim.leafHash) }, false);
      yield inclusionCase({ ...claim, index: size - 1 - index === index ? size : size - 1 - index }, false);
      for (const proof of changedPaths(claim.proof)) yield inclusionCase({ ...claim, proof }, false);
    }
  }
}

function inclusionCase(claim: Parameters<typeof verifyInclusion>[0], isValid: boolean): Case {
  const { index, size } = claim;
  const hashes = {
    leafHash: base64(claim.leafHash),
    root: base64(claim.root),
    proof: claim.proof.map(base64),
  };
  const request = { check: 'inclusion', index, size, ...hashes };
  return { kind: 'inclusion', isValid, request, accepts: () => verifyInclusion(claim) };
}

/** Without empty old trees: Go's package has no proof for them. */
function* consistencyCases(): Generator<Case> {
  for (const [size, parts] of sizes()) {
    const tree = leaves.slice(0, size);
    const root = rootOf(tree);
    for (const oldSize of parts.map((part) => part + 1)) {
      const oldRoot = rootOf(tree.slice(0, oldSize));
      const claim = { oldSize, oldRoot, size, root, proof: consistencyProof(tree, oldSize) };
      yield consistencyCase(claim, true);
      yield consistencyCase({ ...claim, root: flip(root) }, false);
      yield consistencyCase({ ...claim, oldRoot: flip(oldRoot) }, false);
      yield consistencyCase({ ...claim, oldSize: size + 1 }, false);
      for (const proof of changedPaths(claim.proof)) yield consistencyCase({ ...claim, proof }, false);
    }
  }
}

function consistencyCase(claim: Parameters<typeof verifyConsistency>[0], isValid: boolean): Case {
  const { oldSize, size } = claim;
  const hashes = { oldRoot: base64(claim.oldRoot), root: base64(claim.root), proof: claim.proof.map(base64) };
  const request = { check: 'consistency', oldSize, size, ...hashes };
  return { kind: 'consistency', isValid, request, accepts: () => verifyConsistency(claim) };
}

function changedPaths(path: readonly Uint8Array[]): Uint8Array[][] {
  const last = path.length - 1;
  const longer = [...path, leafHash('more')];
  return path.length === 0
    ? [longer]
    : [
        longer,
        path.slice(1),
        path.slice(0, last),
        path.with(0, flip(path[0]!)),
        path.with(last, flip(path[last]!)),
      ];
}

function* noteCases(): Generator<Case> {
  const [alice, bob, eve] = ['example.com/alice', 'example.com/bob', 'example.com/alice'].map((name) => ({
    name,
    privateKey: generatePrivateKey(),
  })) as [Signer, Signer, Signer];
  const both = [vkeyFor(alice), vkeyFor(bob)];
  for (const text of ['One line\n', 'Two\nlines\n', 'An empty\n\nline\n', '\n', 'Ä — \u{1F600}\n']) {
    const note = signNote(text, [alice, bob]);
    yield noteCase(note, both, true);
    for (const vkey of both) yield noteCase(note, [vkey], true);
    yield noteCase(signNote(text, [eve, alice]), [vkeyFor(alice)], true);
    yield noteCase(note + note.split('\n').at(-2)!.replace('bob', 'witness').concat('\n'), both, true);
    yield noteCase(note, [vkeyFor(eve)], false);
    yield noteCase(note, [], false);
    for (const changed of changedNotes(note)) yield noteCase(changed, both, false);
  }
}

interface Signer {
  name: string;
  privateKey: KeyObject;
}

function vkeyFor({ name, privateKey }: Signer): string {
  return vkeyOf(name, publicKeyOf(privateKey));
}

function noteCase(note: string | Uint8Array, vkeys: readonly string[], isValid: boolean): Case {
  const request = { check: 'note', text: base64(Buffer.from(note)), vkeys };
  const verifiers = vkeys.map((vkey) => parseVkey(vkey, 'vkey'));
  return { kind: 'note', isValid, request, accepts: () => isAccepted(() => openNote(note, verifiers)) };
}

function changedNotes(note: string): (string | Uint8Array)[] {
  const half = note.lastIndexOf('\n\n');
  return [
    `More\n${note}`,
    ` ${note}`,
    note.slice(0, -1),
    `${note}\n`,
    `${note}More\n`,
    note.slice(0, half + 1),
    note.slice(0, half + 2),
    note.replaceAll('\n', '\r\n'),
    `${note.slice(0, half)}\t${note.slice(half)}`,
    note.replaceAll('— ', '- '),
    note.replace(/(.*— \S+ .{20})./s, (_, start) => `${start}*`),
    Buffer.concat([Buffer.from([0xff]), Buffer.from(note)]),
    // One signature of 64 zero bytes with the right key id.
    note.replace(/ ([\w+/=]{92})\n/, (_, signature) => {
      const id = Buffer.from(signature, 'base64').subarray(0, 4);
      return ` ${Buffer.concat([id, Buffer.alloc(64)]).toString('base64')}\n`;
    }),
  ];
}

function* checkpointCases(): Generator<Case> {
  const [key, successor] = [generatePrivateKey(), generatePrivateKey()];
  const logs = ['acme', 'Söhne + "Co" / 1', 'a b', '%'].map((organization) => ({
    organization,
    log: 'classic',
  }));
  for (const [at, origin] of logs.map(originOf).entries()) {
    const vkey = vkeyOf(origin, publicKeyOf(key));
    const note = signCheckpoint({ origin, size: at, root: rootOf(leaves.slice(0, at)) }, [key, successor]);
    yield checkpointCase(note, vkey, true);
    yield checkpointCase(note, vkeyOf(origin, publicKeyOf(successor)), true);
    yield checkpointCase(note, vkeyOf(origin, publicKeyOf(generatePrivateKey())), false);
    yield checkpointCase(
      note,
      vkeyOf(originOf({ organization: 'other', log: 'classic' }), publicKeyOf(key)),
      false,
    );
    yield checkpointCase(note.replace(`\n${at}\n`, `\n${at + 1}\n`), vkey, false);
  }
}

function checkpointCase(note: string, vkey: string, isValid: boolean): Case {
  const request = { check: 'note', text: base64(Buffer.from(note)), vkeys: [vkey] };
  const keys = parseTrustedKeys(vkey, 'vkey');
  return {
    kind: 'checkpoint',
    isValid,
    request,
    accepts: () => isAccepted(() => openCheckpoint(note, keys)),
  };
}

function* proofCases(): Generator<Case> {
  const key = generatePrivateKey();
  const origin = originOf({ organization: 'acme', log: 'classic' });
  const vkey = vkeyOf(origin, publicKeyOf(key));
  for (const counts of [[1], [3, 1, 7], Array.from({ length: 20 }, (_, at) => 1 + (at % 5))]) {
    const records = counts.map((count, entry) =>
      Array.from({ length: count }, (_, row) => `["é",${entry},${row}]`),
    );
    const rowLeaves = records.map((rows) => rows.map((record) => leafHash(record)));
    const texts = rowLeaves.map((rows, entry) =>
      JSON.stringify({ entry, rows: rows.length, rows_root: Buffer.from(rootOf(rows)).toString('hex') }),
    );
    const tree = texts.map((text) => leafHash(text));
    const checkpoint = signCheckpoint({ origin, size: tree.length, root: rootOf(tree) }, [key]);
    for (const [entryIndex, entryText] of texts.entries()) {
      for (const [rowIndex, record] of records[entryIndex]!.entries()) {
        const entryPath = inclusionProof(tree, entryIndex);
        const rowPath = inclusionProof(rowLeaves[entryIndex]!, rowIndex);
        const rowCount = counts[entryIndex]!;
        const proof = {
          checkpoint,
          entryIndex,
          entryPath,
          entryText,
          record: Buffer.from(record),
          rowIndex,
          rowCount,
          rowPath,
        };
        yield fileCase(writeProof(proof), vkey, true);
        yield fileCase(writeProof({ ...proof, record: Buffer.from(`${record} `) }), vkey, false);
        yield fileCase(writeProof({ ...proof, entryText: `${entryText} ` }), vkey, false);
        yield fileCase(writeProof({ ...proof, entryIndex: entryIndex + 1 }), vkey, false);
        yield fileCase(writeProof({ ...proof, rowIndex: rowIndex + 1 }), vkey, false);
        yield fileCase(writeProof({ ...proof, rowCount: rowCount + 1 }), vkey, false);
        for (const path of changedPaths(entryPath)) {
          yield fileCase(writeProof({ ...proof, entryPath: path }), vkey, false);
        }
        for (const path of changedPaths(rowPath))
          yield fileCase(writeProof({ ...proof, rowPath: path }), vkey, false);
      }
    }
  }
}

function fileCase(file: string, vkey: string, isValid: boolean): Case {
  const request = { check: 'file', text: base64(Buffer.from(file)), vkeys: [vkey] };
  const keys = parseTrustedKeys(vkey, 'vkey');
  return {
    kind: 'tlog-proof',
    isValid,
    request,
    accepts: () => isAccepted(() => checkProof(file, { keys, rowTreeOf })),
  };
}

function isAccepted(verify: () => unknown): boolean {
  try {
    verify();
    return true;
  } catch {
    return false;
  }
}
