/**
 * Merkle trees over SHA-256 as in RFC 6962 and RFC 9162, section 2.1.
 *
 * - A leaf is SHA-256(0x00 || data), a node SHA-256(0x01 || left || right), the root of an empty tree SHA-256 of nothing.
 * - A tree of n leaves splits at the largest power of two below n.
 * - All hashes have 32 bytes. A size is an integer below 2^53.
 *
 * The functions that build trees and proofs throw a RangeError if the caller breaks these rules. The functions that verify take
 * untrusted values and return false.
 */
import { hash } from 'node:crypto';

export const HASH_BYTES = 32;

/** The hashes of the perfect subtrees of a tree, largest first: what a log stores to append to a tree without its leaves. */
export type Peaks = readonly Uint8Array[];

/** The peaks of an empty tree. */
export const NO_PEAKS: Peaks = [];

const EMPTY_ROOT = sha256('');

/** The hash of a leaf. A string is hashed as UTF-8. */
export function leafHash(data: string | Uint8Array): Buffer {
  if (typeof data === 'string') return sha256(`\0${data}`);
  const prefixed = Buffer.allocUnsafe(1 + data.length);
  prefixed[0] = 0;
  prefixed.set(data, 1);
  return sha256(prefixed);
}

// Filled by each call before it is hashed: trees are built while events are stored, and an allocation costs as much as the hash.
const node = Buffer.alloc(1 + 2 * HASH_BYTES, 1);

/** The hash of a node with these two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  if (left.length !== HASH_BYTES || right.length !== HASH_BYTES) {
    throw new RangeError(
      `A node has two hashes of ${HASH_BYTES} bytes, not ${left.length} and ${right.length}`,
    );
  }
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return sha256(node);
}

/** The root of the tree of these leaf hashes. */
export function rootOf(leafHashes: readonly Uint8Array[]): Uint8Array {
  if (leafHashes.length === 0) return EMPTY_ROOT;
  const level = leafHashes.slice();
  for (let count = level.length; count > 1; count = Math.ceil(count / 2)) {
    for (let at = 0; at < count; at += 2) {
      level[at / 2] = at + 1 < count ? nodeHash(level[at]!, level[at + 1]!) : level[at]!;
    }
  }
  return level[0]!;
}

/**
 * The root of the tree of leaf hashes that lie in one buffer, the first at `offset` and the next each `stride` bytes later: a third faster
 * than `rootOf`, for trees that are built while events are stored.
 */
export function rootOfList(list: Uint8Array, { offset, stride }: { offset: number; stride: number }): Buffer {
  let count = Math.floor((list.length - offset + stride - HASH_BYTES) / stride);
  if (count <= 0) return EMPTY_ROOT;
  const level = Buffer.allocUnsafe(count * HASH_BYTES);
  for (let i = 0; i < count; i++)
    level.set(list.subarray(offset + i * stride, offset + i * stride + HASH_BYTES), i * HASH_BYTES);
  for (; count > 1; count = Math.ceil(count / 2)) {
    for (let at = 0; at < count; at += 2) {
      const from = at * HASH_BYTES;
      const to = from / 2;
      if (at + 1 < count) {
        level.copy(node, 1, from, from + 2 * HASH_BYTES);
        level.write(hash('sha256', node, 'binary'), to, 'binary');
      } else level.copyWithin(to, from, from + HASH_BYTES);
    }
  }
  return level.subarray(0, HASH_BYTES);
}

/** The peaks after one more leaf. `size`: the number of leaves before it. */
export function appendLeaf(peaks: Peaks, size: number, leaf: Uint8Array): Peaks {
  checkPeaks(peaks, size);
  const appended = peaks.slice();
  let last = leaf;
  for (let count = size; count % 2 === 1; count = (count - 1) / 2) last = nodeHash(appended.pop()!, last);
  appended.push(last);
  return appended;
}

/** The peaks of the tree of these leaf hashes. */
export function peaksFrom(leafHashes: Iterable<Uint8Array>): Peaks {
  let peaks = NO_PEAKS;
  let size = 0;
  for (const leaf of leafHashes) peaks = appendLeaf(peaks, size++, leaf);
  return peaks;
}

/** The root of the tree with these peaks. */
export function rootOfPeaks(peaks: Peaks): Uint8Array {
  if (peaks.length === 0) return EMPTY_ROOT;
  return peaks.reduceRight((right, left) => nodeHash(left, right));
}

/** The peaks one after the other, 32 bytes each. */
export function peaksToBytes(peaks: Peaks): Buffer {
  return Buffer.concat(peaks);
}

/** The inverse of `peaksToBytes`. Throws a RangeError if the bytes are not whole hashes. */
export function peaksOfBytes(bytes: Uint8Array): Peaks {
  if (bytes.length % HASH_BYTES !== 0) {
    throw new RangeError(`Peaks are hashes of ${HASH_BYTES} bytes each; these are ${bytes.length} bytes`);
  }
  return Array.from({ length: bytes.length / HASH_BYTES }, (_, at) =>
    bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );
}

/** A tree of n leaves has one peak for each 1 in the binary form of n. */
function checkPeaks(peaks: Peaks, size: number): void {
  checkSize(size);
  let expected = 0;
  for (let count = size; count > 0; count = Math.floor(count / 2)) expected += count % 2;
  if (peaks.length !== expected) {
    throw new RangeError(`A tree of ${size} leaves has ${expected} peaks, not ${peaks.length}`);
  }
}

function checkSize(size: number): void {
  if (!isIndex(size)) throw new RangeError(`The size of a tree is an integer from 0 on, not ${size}`);
}

/** Whether the value is an index or a size: an integer from 0 to 2^53 - 1. */
export function isIndex(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** SHA-256. In Node 20 the conversion from a string is twice as fast as the output of a buffer. */
function sha256(data: string | Uint8Array): Buffer {
  return Buffer.from(hash('sha256', data, 'binary'), 'binary');
}
