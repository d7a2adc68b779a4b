import { createHash, hash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  appendLeaf,
  leafHash,
  NO_PEAKS,
  nodeHash,
  peaksFrom,
  peaksOfBytes,
  peaksToBytes,
  rootOf,
  rootOfList,
  rootOfPeaks,
} from '../../../src/core/transparency-log/merkle.ts';

/** LeafInputs and RootHashes of testonly/constants.go in github.com/transparency-dev/merkle; those of Certificate Transparency. */
const INPUTS = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const ROOTS = [
  'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];
/** CompactTrees of the same file, as subtrees [from, to) of the inputs. */
const PEAKS = [
  [],
  [[0, 1]],
  [[0, 2]],
  [
    [0, 2],
    [2, 3],
  ],
  [[0, 4]],
  [
    [0, 4],
    [4, 5],
  ],
  [
    [0, 4],
    [4, 6],
  ],
  [
    [0, 4],
    [4, 6],
    [6, 7],
  ],
  [[0, 8]],
];

const leaves = INPUTS.map((input) => leafHash(Buffer.from(input, 'hex')));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Leaf hashes of a tree of up to 80 leaves. */
const anyLeaves = fc
  .array(fc.uint8Array({ maxLength: 8 }), { maxLength: 80 })
  .map((all) => all.map((data) => leafHash(data)));

/** MTH of RFC 6962, section 2.1, as it is defined there, over leaf hashes. */
function definedRoot(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return createHash('sha256').digest();
  if (hashes.length === 1) return hashes[0]!;
  let split = 1;
  while (split * 2 < hashes.length) split *= 2;
  const halves = [definedRoot(hashes.slice(0, split)), definedRoot(hashes.slice(split))];
  return createHash('sha256').update('\x01').update(halves[0]!).update(halves[1]!).digest();
}

describe('a tree', () => {
  test.each(ROOTS.map((root, size) => [size, root]))(
    'of %d known leaves has its known root',
    (size, root) => {
      expect(hex(rootOf(leaves.slice(0, Number(size))))).toBe(root);
      expect(hex(rootOfPeaks(peaksFrom(leaves.slice(0, Number(size)))))).toBe(root);
    },
  );

  test.each(PEAKS.map((ranges, size) => [size, ranges] as const))(
    'of %d known leaves has its known peaks',
    (size, ranges) => {
      const expected = ranges.map(([from, to]) => hex(definedRoot(leaves.slice(from, to))));
      expect(peaksFrom(leaves.slice(0, size)).map(hex)).toEqual(expected);
    },
  );

  test('of any leaves has the root that the RFC defines, from its leaves and from its peaks', () => {
    fc.assert(
      fc.property(anyLeaves, (hashes) => {
        const root = hex(definedRoot(hashes));
        expect(hex(rootOf(hashes))).toBe(root);
        let peaks = NO_PEAKS;
        for (const [size, leaf] of hashes.entries()) {
          // As a log does: what was stored is read again before each append.
          peaks = appendLeaf(peaksOfBytes(peaksToBytes(peaks)), size, leaf);
        }
        expect(hex(rootOfPeaks(peaks))).toBe(root);
      }),
    );
  });

  test('is built without changing the hashes or the peaks that were passed', () => {
    const peaks = peaksFrom(leaves.slice(0, 7));
    const before = [...leaves, ...peaks].map(hex);
    rootOf(leaves);
    rootOfPeaks(peaks);
    appendLeaf(peaks, 7, leaves[7]!);
    expect(peaks).toHaveLength(3);
    expect([...leaves, ...peaks].map(hex)).toEqual(before);
  });
});

describe('a leaf', () => {
  test.each(['', 'a', 'é — \u{1F600}', '\0', '\ud800', 'x'.repeat(70_000)])(
    'of a text has the hash of its UTF-8 (%#)',
    (text) => {
      expect(hex(leafHash(text))).toBe(hex(leafHash(Buffer.from(text))));
      expect(hex(leafHash(text))).toBe(hash('sha256', Buffer.concat([Buffer.from([0]), Buffer.from(text)])));
    },
  );

  test('is no node with the same bytes', () => {
    const [left, right] = [leaves[0]!, leaves[1]!];
    expect(hex(leafHash(Buffer.concat([left, right])))).not.toBe(hex(nodeHash(left, right)));
  });
});

test.each([
  [31, 32],
  [32, 33],
  [0, 32],
])('a node has no children of %d and %d bytes', (left, right) => {
  expect(() => nodeHash(Buffer.alloc(left), Buffer.alloc(right))).toThrow(
    new RangeError(`A node has two hashes of 32 bytes, not ${left} and ${right}`),
  );
});

describe('peaks', () => {
  test.each([
    [7, 2, 'A tree of 7 leaves has 3 peaks, not 2'],
    [8, 0, 'A tree of 8 leaves has 1 peaks, not 0'],
    [0, 1, 'A tree of 0 leaves has 0 peaks, not 1'],
    [2 ** 40 + 1, 1, 'A tree of 1099511627777 leaves has 2 peaks, not 1'],
    [-1, 1, 'The size of a tree is an integer from 0 on, not -1'],
    [1.5, 1, 'The size of a tree is an integer from 0 on, not 1.5'],
    [2 ** 53, 1, 'The size of a tree is an integer from 0 on, not 9007199254740992'],
  ])('of a tree of %d leaves are not %d: nothing is appended', (size, count, message) => {
    expect(() => appendLeaf(leaves.slice(0, count), size, leaves[0]!)).toThrow(new RangeError(message));
  });

  test('are whole hashes', () => {
    expect(() => peaksOfBytes(Buffer.alloc(33))).toThrow(
      new RangeError('Peaks are hashes of 32 bytes each; these are 33 bytes'),
    );
  });
});

test('the root of a list of hashes with other bytes between them is that of the hashes', () => {
  const layout = fc.record({ offset: fc.nat(20), gap: fc.nat(20), count: fc.nat(70) });
  fc.assert(
    fc.property(layout, ({ offset, gap, count }) => {
      const leaves = Array.from({ length: count }, (_, i) => leafHash(`leaf ${i}`));
      const stride = 32 + gap;
      const list = Buffer.alloc(offset + count * stride, 7);
      for (const [i, leaf] of leaves.entries()) list.set(leaf, offset + i * stride);
      expect(Buffer.from(rootOfList(list, { offset, stride }))).toEqual(Buffer.from(rootOf(leaves)));
    }),
  );
});
