import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExportError } from '../../../src/core/errors.ts';
import { originOf, parseTrustedKeys, signCheckpoint } from '../../../src/core/transparency-log/checkpoint.ts';
import { formatPublicKey, generatePrivateKey, publicKeyOf } from '../../../src/core/transparency-log/keys.ts';
import { leafHash, rootOf } from '../../../src/core/transparency-log/merkle.ts';
import { inclusionProof } from '../../../src/core/transparency-log/merkle-proof.ts';
import {
  checkProof,
  parseProof,
  type RowProof,
  writeProof,
} from '../../../src/core/transparency-log/tlog-proof.ts';
import { rejectionOf } from './rejection.ts';

const key = generatePrivateKey();
const origin = originOf({ organization: 'acme', log: 'classic' });
const trust = {
  keys: parseTrustedKeys(formatPublicKey(publicKeyOf(key)), '--key'),
  rowTreeOf: (entry: string) => {
    const { rows, root } = JSON.parse(entry) as { rows: number; root: string };
    return { count: rows, root: Buffer.from(root, 'hex') };
  },
};

/** A log in which entry i lists the rows of `sizes[i]`. */
function logOf(sizes: readonly number[]) {
  const records = sizes.map((size, entry) =>
    Array.from({ length: size }, (_, row) => `["é",${entry},${row}]`),
  );
  const rowLeaves = records.map((rows) => rows.map((record) => leafHash(record)));
  const texts = rowLeaves.map((rows, entry) =>
    JSON.stringify({ entry, rows: rows.length, root: Buffer.from(rootOf(rows)).toString('hex') }),
  );
  const leaves = texts.map((text) => leafHash(text));
  const checkpoint = signCheckpoint({ origin, size: leaves.length, root: rootOf(leaves) }, [key]);
  const proofOf = (entry: number, row: number): RowProof => ({
    checkpoint,
    entryIndex: entry,
    entryPath: inclusionProof(leaves, entry),
    entryText: texts[entry]!,
    record: Buffer.from(records[entry]![row]!),
    rowIndex: row,
    rowCount: sizes[entry]!,
    rowPath: inclusionProof(rowLeaves[entry]!, row),
  });
  return { proofOf, checkpoint };
}

const log = logOf([3, 1, 7, 2, 4]);
const proof = log.proofOf(2, 5);
const file = writeProof(proof);
const flip = (hash: Uint8Array) => Uint8Array.from(hash, (byte, at) => (at === 7 ? byte ^ 4 : byte));
const invalid = (reason: string) => [
  'differences',
  `The proof is not valid: ${reason}. The file or what it proves was changed.`,
];

describe('a proof', () => {
  test('has the lines of the specification', () => {
    const [header, extra, index, ...rest] = file.split('\n');
    expect([header, index]).toEqual(['c2sp.org/tlog-proof@v1', 'index 2']);
    expect(JSON.parse(Buffer.from(extra!.replace('extra ', ''), 'base64').toString())).toEqual({
      entry: proof.entryText,
      record: Buffer.from(proof.record).toString('base64'),
      row: { index: 5, count: 7, path: proof.rowPath.map((hash) => Buffer.from(hash).toString('base64')) },
    });
    const path = proof.entryPath.map((hash) => Buffer.from(hash).toString('base64'));
    expect(rest.join('\n')).toBe(`${path.join('\n')}\n\n${log.checkpoint}`);
  });

  test('of every row of logs of any shape is valid and says what it proves', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(sizes, fc.nat(), fc.nat(), (rows, entryNumber, rowNumber) => {
        const entry = entryNumber % rows.length;
        const { proofOf } = logOf(rows);
        const { checkpoint, entryPath, rowPath, ...claim } = proofOf(entry, rowNumber % rows[entry]!);
        const written = writeProof({ checkpoint, entryPath, rowPath, ...claim });
        expect(parseProof(Buffer.from(written))).toMatchObject({ checkpoint, ...claim });
        const proven = checkProof(Buffer.from(written), trust);
        expect(proven).toMatchObject({ ...claim, checkpoint: { origin, size: rows.length } });
        expect(proven.signedBy.map(({ name }) => name)).toEqual([origin]);
      }),
      { numRuns: 30 },
    );
  });

  const notRow = (row: number) =>
    invalid(`the record and the path of row ${row} do not lead to the root of the rows of its entry`);
  const notLeaf = (leaf: number) =>
    invalid(
      `the text and the path of leaf ${leaf} do not lead to the root of the checkpoint of ${origin} with size 5`,
    );
  const other = log.proofOf(0, 1);
  test.each<[string, Partial<RowProof>, string[]]>([
    ['record', { record: other.record }, notRow(5)],
    ['record of the same entry', { record: log.proofOf(2, 4).record }, notRow(5)],
    ['row index', { rowIndex: 4 }, notRow(4)],
    ['row index beyond the entry', { rowIndex: 7 }, notRow(7)],
    ['row path', { rowPath: proof.rowPath.with(1, flip(proof.rowPath[1]!)) }, notRow(5)],
    ['row path cut off', { rowPath: proof.rowPath.slice(1) }, notRow(5)],
    ['row count', { rowCount: 8 }, invalid('it says that the entry lists 8 rows; the entry lists 7')],
    ['entry', { entryText: other.entryText }, notLeaf(2)],
    ['space in the entry', { entryText: `${proof.entryText} ` }, notLeaf(2)],
    ['entry index', { entryIndex: 3 }, notLeaf(3)],
    [
      'entry index beyond the log',
      { entryIndex: 5 },
      invalid(`it is about leaf 5; the last leaf of the checkpoint of ${origin} with size 5 is 4`),
    ],
    ['entry path', { entryPath: proof.entryPath.with(0, flip(proof.entryPath[0]!)) }, notLeaf(2)],
    ['entry path with a hash more', { entryPath: [...proof.entryPath, proof.entryPath[0]!] }, notLeaf(2)],
    ['entry and row of another proof', { ...other, entryIndex: 2 }, notLeaf(2)],
  ])('with another %s is not valid', (_, change, expected) => {
    expect(rejectionOf(() => checkProof(writeProof({ ...proof, ...change }), trust))).toEqual(expected);
  });

  test('with the head of a rewritten log is not valid', () => {
    const { checkpoint } = logOf([3, 1, 7, 2, 5]);
    expect(rejectionOf(() => checkProof(writeProof({ ...proof, checkpoint }), trust))).toEqual(notLeaf(2));
  });

  test('of a log that another key signed is rejected before any text of it is used', () => {
    const forged = {
      ...proof,
      checkpoint: signCheckpoint({ origin, size: 5, root: leafHash('') }, [generatePrivateKey()]),
    };
    const rowTreeOf = () => {
      throw new Error('The text was used');
    };
    const [code, message] = rejectionOf(() => checkProof(writeProof(forged), { ...trust, rowTreeOf }));
    expect([code, message]).toEqual([
      'configuration',
      expect.stringContaining('no signature of a key that is trusted here'),
    ]);
    expect(
      rejectionOf(() =>
        checkProof(writeProof({ ...proof, record: Buffer.from('x'), entryText: 'y' }), {
          ...trust,
          rowTreeOf,
        }),
      ),
    ).toEqual(notLeaf(2));
  });

  test('in which any one byte is changed is rejected', () => {
    const bytes = Buffer.from(writeProof(log.proofOf(1, 0)));
    for (const at of bytes.keys()) {
      const changed = Buffer.from(bytes);
      changed[at]! ^= 1;
      expect(() => checkProof(changed, trust)).toThrow(ExportError);
    }
  });
});

const extraOf = (value: unknown) => `extra ${Buffer.from(JSON.stringify(value)).toString('base64')}`;
const extra = {
  entry: proof.entryText,
  record: Buffer.from(proof.record).toString('base64'),
  row: { index: 5, count: 7, path: [] },
};
const withExtra = (line: string) => file.replace(/^extra .*$/m, line);
const NO_TEXTS = 'the line "extra" has not the text "entry", "record" in base64, and the object "row"';
const NO_ROW = 'the row in the line "extra" has not the integers "index" and "count" and the list "path"';
const NO_INDEX =
  'it has no line "index" with the number of a leaf: a decimal integer without leading zeros, below 2^53';

test.each<[string | Buffer, string]>([
  ['', 'its first line is not c2sp.org/tlog-proof@v1'],
  [file.replace('@v1', '@v2'), 'its first line is not c2sp.org/tlog-proof@v1'],
  [`\n${file}`, 'its first line is not c2sp.org/tlog-proof@v1'],
  [`\ufeff${file}`, 'its first line is not c2sp.org/tlog-proof@v1'],
  [log.checkpoint, 'its first line is not c2sp.org/tlog-proof@v1'],
  [file.replaceAll('\n', '\r\n'), 'it has carriage returns. Save it with the line ends of Unix (LF)'],
  [Buffer.concat([Buffer.from(file), Buffer.from([0xff])]), 'it is not UTF-8'],
  [file.replaceAll('\n\n', '\n'), 'no empty line separates the proof from its checkpoint'],
  [
    file.replace(/^extra .*\n/m, ''),
    'it has no line "extra" with the entry and the record, so another program wrote it',
  ],
  [withExtra('extra AAA'), 'the line "extra" is not base64'],
  [withExtra('extra ****'), 'the line "extra" is not base64'],
  [withExtra('extra '), 'the line "extra" is not a JSON object in UTF-8'],
  [withExtra('extra /w=='), 'the line "extra" is not a JSON object in UTF-8'],
  [withExtra(extraOf([])), 'the line "extra" is not a JSON object in UTF-8'],
  [withExtra(extraOf(null)), 'the line "extra" is not a JSON object in UTF-8'],
  [withExtra(extraOf({})), NO_TEXTS],
  [withExtra(extraOf({ ...extra, entry: 5 })), NO_TEXTS],
  [withExtra(extraOf({ ...extra, record: null })), NO_TEXTS],
  [withExtra(extraOf({ ...extra, record: 'not base64' })), NO_TEXTS],
  [withExtra(extraOf({ ...extra, row: [] })), NO_TEXTS],
  [withExtra(extraOf({ ...extra, row: { ...extra.row, index: '5' } })), NO_ROW],
  [withExtra(extraOf({ ...extra, row: { ...extra.row, index: -1 } })), NO_ROW],
  [withExtra(extraOf({ ...extra, row: { ...extra.row, count: 7.5 } })), NO_ROW],
  [withExtra(extraOf({ ...extra, row: { ...extra.row, path: '' } })), NO_ROW],
  [
    withExtra(extraOf({ ...extra, row: { ...extra.row, path: [5] } })),
    "hash 1 of the row's path is not 32 bytes in base64",
  ],
  [
    withExtra(extraOf({ ...extra, row: { ...extra.row, path: ['AAAA'] } })),
    "hash 1 of the row's path is not 32 bytes in base64",
  ],
  [file.replace('index 2', 'index 02'), NO_INDEX],
  [file.replace('index 2', 'index -2'), NO_INDEX],
  [file.replace('index 2', 'index'), NO_INDEX],
  [file.replace('index 2', 'Index 2'), NO_INDEX],
  [file.replace('index 2\n', ''), NO_INDEX],
  [file.replace('index 2\n', 'index 2\nAAAA\n'), 'hash 1 of the path is not 32 bytes in base64'],
  [file.replace('index 2\n', 'index 2\nindex 2\n'), 'hash 1 of the path is not 32 bytes in base64'],
])('a malformed proof is rejected (%#)', (text, reason) => {
  expect(rejectionOf(() => checkProof(text, trust))).toEqual([
    'configuration',
    `Cannot read the tlog-proof: ${reason}.`,
  ]);
});

test.each([
  [file.slice(0, file.indexOf('\n\n') + 2), 'signed note'],
  [file.slice(0, -1), 'signed note'],
  [file.replace(/\n\n— .*\n$/, '\n'), 'signed note'],
  [file.replace('\n5\n', '\n05\n'), 'checkpoint'],
])('a proof with a malformed checkpoint is rejected (%#)', (text, what) => {
  const [code, message] = rejectionOf(() => checkProof(text, trust));
  expect([code, message]).toEqual(['configuration', expect.stringMatching(`^Cannot read the ${what}: `)]);
});

test('a proof is not written with a checkpoint without signatures', () => {
  const checkpoint = log.checkpoint.slice(0, log.checkpoint.indexOf('\n\n') + 1);
  expect(rejectionOf(() => writeProof({ ...proof, checkpoint }))).toEqual([
    'configuration',
    'Cannot read the signed note: no empty line separates the text from its signatures.',
  ]);
});
