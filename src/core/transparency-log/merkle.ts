/** RFC 6962 Merkle trees over SHA-256. (Placeholder until the library is merged.) */
import { hash } from 'node:crypto';

/** The hashes of the perfect subtrees of a tree, largest first. */
export type Peaks = readonly Uint8Array[];
export const NO_PEAKS: Peaks = [];

export function leafHash(data: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from([0]), data]), 'buffer');
}
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from([1]), left, right]), 'buffer');
}
export function appendLeaf(peaks: Peaks, size: number, leaf: Uint8Array): Peaks {
  const all = [...peaks];
  let last = leaf;
  for (let n = size; n % 2 === 1; n = (n - 1) / 2) last = nodeHash(all.pop()!, last);
  all.push(last);
  return all;
}
export function peaksFrom(leaves: Iterable<Uint8Array>): Peaks {
  let peaks = NO_PEAKS;
  let size = 0;
  for (const leaf of leaves) peaks = appendLeaf(peaks, size++, leaf);
  return peaks;
}
export function rootOfPeaks(peaks: Peaks): Uint8Array {
  if (peaks.length === 0) return hash('sha256', '', 'buffer');
  return peaks.reduceRight((right, left) => nodeHash(left, right));
}
export function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  return rootOfPeaks(peaksFrom(leaves));
}
export function peaksToBytes(peaks: Peaks): Buffer {
  return Buffer.concat(peaks);
}
export function peaksOfBytes(bytes: Uint8Array): Peaks {
  const peaks: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 32) peaks.push(bytes.subarray(at, at + 32));
  return peaks;
}
