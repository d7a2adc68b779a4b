import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { leafHash, rootOf } from '../../../src/core/transparency-log/merkle.ts';
import {
  consistencyProof,
  inclusionProof,
  verifyConsistency,
  verifyInclusion,
} from '../../../src/core/transparency-log/merkle-proof.ts';
import { readVectors } from './vectors.ts';

const vectors = readVectors();
const leavesOf = (size: number) => Array.from({ length: size }, (_, at) => leafHash(`leaf ${at}`));
const flip = (hash: Uint8Array) => Uint8Array.from(hash, (byte, at) => (at === 7 ? byte ^ 4 : byte));

/** Every list that differs from this one by one hash: changed, left out, doubled, and with a hash added at either end. */
function mutations(proof: readonly Uint8Array[]): Uint8Array[][] {
  return [
    ...proof.flatMap((hash, at) => [
      proof.with(at, flip(hash)),
      proof.toSpliced(at, 1),
      proof.toSpliced(at, 0, hash),
      proof.with(at, hash.slice(0, 31)),
    ]),
    [...proof, leafHash('more')],
    [leafHash('more'), ...proof],
  ];
}

describe('the vectors of transparency-dev/merkle', () => {
  test('are all there', () => {
    expect([vectors.inclusion.length, vectors.consistency.length]).toEqual([98, 98]);
  });

  test.each(vectors.inclusion)('inclusion $file', ({ wantErr, ...claim }) => {
    expect(verifyInclusion(claim)).toBe(!wantErr);
  });

  test.each(vectors.consistency)('consistency $file', ({ file, wantErr, ...claim }) => {
    // This vector compares two texts that are no hashes. Here a root has 32 bytes.
    const isText = file === 'additional/sizes-are-equal-one-and-proof-is-empty';
    expect(verifyConsistency(claim)).toBe(!wantErr && !isText);
  });
});

describe('an inclusion proof', () => {
  test('of every leaf of every tree up to 24 leaves verifies, and no changed claim does', () => {
    for (let size = 1; size <= 24; size++) {
      const leaves = leavesOf(size);
      const root = rootOf(leaves);
      for (let index = 0; index < size; index++) {
        const claim = { index, size, leafHash: leaves[index]!, root, proof: inclusionProof(leaves, index) };
        expect(verifyInclusion(claim)).toBe(true);
        const changed = [
          { ...claim, root: flip(root) },
          { ...claim, leafHash: flip(claim.leafHash) },
          ...mutations(claim.proof).map((proof) => ({ ...claim, proof })),
          ...[...leaves.keys()].toSpliced(index, 1).map((other) => ({ ...claim, index: other })),
        ];
        expect(changed.filter(verifyInclusion)).toEqual([]);
      }
    }
  });

  test('verifies in a tree with more than 2^32 leaves', () => {
    // The left subtree is known by its root only; the leaf is the last one.
    const [left, leaf] = [leafHash('left'), leafHash('leaf')];
    const claim = {
      index: 2 ** 40,
      size: 2 ** 40 + 1,
      leafHash: leaf,
      root: rootOf([left, leaf]),
      proof: [left],
    };
    expect(verifyInclusion(claim)).toBe(true);
    expect(verifyInclusion({ ...claim, index: 0 })).toBe(false);
  });

  test.each([-1, 3, 0.5, Number.NaN])('of leaf %d of 3 is an error, and never verifies', (index) => {
    const leaves = leavesOf(3);
    expect(() => inclusionProof(leaves, index)).toThrow(
      new RangeError(`A tree of 3 leaves has no leaf ${index}; the first is 0`),
    );
    const claim = { index, size: 3, leafHash: leaves[0]!, root: rootOf(leaves) };
    expect(verifyInclusion({ ...claim, proof: inclusionProof(leaves, 0) })).toBe(false);
  });
});

describe('a consistency proof', () => {
  test('between all trees up to 24 leaves verifies, and no changed claim does', () => {
    for (let size = 0; size <= 24; size++) {
      const leaves = leavesOf(size);
      const root = rootOf(leaves);
      for (let oldSize = 0; oldSize <= size; oldSize++) {
        const proof = consistencyProof(leaves, oldSize);
        const claim = { oldSize, oldRoot: rootOf(leaves.slice(0, oldSize)), size, root, proof };
        expect(verifyConsistency(claim)).toBe(true);
        const changed = [
          { ...claim, oldRoot: flip(claim.oldRoot) },
          ...mutations(proof).map((mutation) => ({ ...claim, proof: mutation })),
          // Every root is consistent with an empty tree.
          ...(oldSize > 0 ? [{ ...claim, root: flip(root) }] : []),
          ...(oldSize < size && oldSize > 0
            ? [
                { ...claim, size: oldSize },
                { ...claim, oldSize: size },
              ]
            : []),
        ];
        expect(changed.filter(verifyConsistency)).toEqual([]);
      }
    }
  });

  test('cannot be made for a history with one other old leaf', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.nat(), fc.nat(), (size, oldNumber, changedNumber) => {
        const oldSize = 1 + (oldNumber % size);
        const leaves = leavesOf(size);
        const rewritten = leaves.with(changedNumber % oldSize, leafHash('rewritten'));
        const claim = { oldSize, oldRoot: rootOf(leaves.slice(0, oldSize)), size, root: rootOf(rewritten) };
        for (const from of [leaves, rewritten]) {
          expect(verifyConsistency({ ...claim, proof: consistencyProof(from, oldSize) })).toBe(false);
        }
      }),
    );
  });

  test.each([-1, 4, 0.5])('from %d of 3 leaves is an error, and never verifies', (oldSize) => {
    const leaves = leavesOf(3);
    expect(() => consistencyProof(leaves, oldSize)).toThrow(
      new RangeError(`A tree of 3 leaves does not begin with ${oldSize} leaves`),
    );
    const root = rootOf(leaves);
    expect(verifyConsistency({ oldSize, oldRoot: root, size: 3, root, proof: [] })).toBe(false);
  });
});
