/**
 * Proofs about Merkle trees, as in RFC 9162, section 2.1.3 (inclusion) and 2.1.4 (consistency). RFC 6962 has the same proofs.
 *
 * An inclusion proof shows that a leaf is in a tree, a consistency proof that a tree begins with all leaves of an older one. Both are
 * lists of hashes from the leaves' side up to the root's.
 */
import { HASH_BYTES, isIndex, nodeHash, rootOf } from './merkle.ts';

/** Proves that leaf `index` is in the tree of these leaf hashes. Throws a RangeError if there is no such leaf. */
export function inclusionProof(leafHashes: readonly Uint8Array[], index: number): Uint8Array[] {
  if (!isIndex(index) || index >= leafHashes.length) {
    throw new RangeError(`A tree of ${leafHashes.length} leaves has no leaf ${index}; the first is 0`);
  }
  const path: Uint8Array[] = [];
  let [from, to] = [0, leafHashes.length];
  while (to - from > 1) {
    const middle = from + leftSize(to - from);
    if (index < middle) {
      path.push(rootOf(leafHashes.slice(middle, to)));
      to = middle;
    } else {
      path.push(rootOf(leafHashes.slice(from, middle)));
      from = middle;
    }
  }
  return path.reverse();
}

/** Whether the proof shows that the tree of this size and root has this leaf hash at this index. */
export function verifyInclusion(claim: {
  index: number;
  size: number;
  leafHash: Uint8Array;
  root: Uint8Array;
  proof: readonly Uint8Array[];
}): boolean {
  const { index, size, leafHash, root, proof } = claim;
  if (!isIndex(index) || !isIndex(size) || index >= size || ![leafHash, root, ...proof].every(isHash))
    return false;
  let [at, last] = [index, size - 1];
  let found = leafHash;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      found = nodeHash(sibling, found);
      while (at % 2 === 0 && at > 0) [at, last] = parents(at, last);
    } else {
      found = nodeHash(found, sibling);
    }
    [at, last] = parents(at, last);
  }
  return last === 0 && isSame(found, root);
}

/**
 * Proves that the tree of these leaf hashes begins with all leaves of its first `oldSize`. Empty if the old tree is empty or the
 * same. Throws a RangeError if the old tree is larger.
 */
export function consistencyProof(leafHashes: readonly Uint8Array[], oldSize: number): Uint8Array[] {
  if (!isIndex(oldSize) || oldSize > leafHashes.length) {
    throw new RangeError(`A tree of ${leafHashes.length} leaves does not begin with ${oldSize} leaves`);
  }
  const path: Uint8Array[] = [];
  if (oldSize === 0) return path;
  let [from, to] = [0, leafHashes.length];
  while (to !== oldSize) {
    const middle = from + leftSize(to - from);
    if (oldSize <= middle) {
      path.push(rootOf(leafHashes.slice(middle, to)));
      to = middle;
    } else {
      path.push(rootOf(leafHashes.slice(from, middle)));
      from = middle;
    }
  }
  // Where it is the old tree, the verifier knows its root.
  if (from > 0) path.push(rootOf(leafHashes.slice(from, to)));
  return path.reverse();
}

/** Whether the proof shows that the tree of this size and root begins with all leaves of the old one. Every tree does of an empty one. */
export function verifyConsistency(claim: {
  oldSize: number;
  oldRoot: Uint8Array;
  size: number;
  root: Uint8Array;
  proof: readonly Uint8Array[];
}): boolean {
  const { oldSize, oldRoot, size, root, proof } = claim;
  if (!isIndex(oldSize) || !isIndex(size) || oldSize > size || ![oldRoot, root, ...proof].every(isHash))
    return false;
  if (oldSize === size)
    return proof.length === 0 && isSame(oldRoot, root) && (size > 0 || isSame(root, rootOf([])));
  if (oldSize === 0) return proof.length === 0 && isSame(oldRoot, rootOf([]));

  let [at, last] = [oldSize - 1, size - 1];
  while (at % 2 === 1) [at, last] = parents(at, last);
  // A perfect old tree is a node of the new one, and not repeated in the proof.
  const [seed, ...path] = at === 0 ? [oldRoot, ...proof] : proof;
  if (!seed) return false;
  let [foundOld, found] = [seed, seed];
  for (const sibling of path) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      foundOld = nodeHash(sibling, foundOld);
      found = nodeHash(sibling, found);
      while (at % 2 === 0 && at > 0) [at, last] = parents(at, last);
    } else {
      found = nodeHash(found, sibling);
    }
    [at, last] = parents(at, last);
  }
  return last === 0 && isSame(foundOld, oldRoot) && isSame(found, root);
}

/** Leaves in the left subtree of a tree of `size` > 1: the largest power of two below it. */
function leftSize(size: number): number {
  let left = 1;
  while (2 * left < size) left *= 2;
  return left;
}

/** The same two nodes one level higher. Without bit operators: those end at 2^31. */
function parents(at: number, last: number): [number, number] {
  return [Math.floor(at / 2), Math.floor(last / 2)];
}

function isHash(value: Uint8Array): boolean {
  return value.length === HASH_BYTES;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
