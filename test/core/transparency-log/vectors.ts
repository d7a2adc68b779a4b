import { readFileSync } from 'node:fs';

interface RawInclusion {
  file: string;
  leafIdx: number;
  treeSize: number;
  leafHash: string;
  root: string;
  proof: string[] | null;
  wantErr: boolean;
}

interface RawConsistency {
  file: string;
  size1: number;
  size2: number;
  root1: string;
  root2: string;
  proof: string[] | null;
  wantErr: boolean;
}

const bytes = (text: string) => Buffer.from(text, 'base64');

/** The vectors of transparency-dev/merkle, as claims for `verifyInclusion` and `verifyConsistency`. */
export function readVectors() {
  const text = readFileSync(new URL('merkle-vectors.json', import.meta.url), 'utf8');
  const { inclusion, consistency } = JSON.parse(text) as {
    inclusion: RawInclusion[];
    consistency: RawConsistency[];
  };
  return {
    inclusion: inclusion.map(({ file, wantErr, leafIdx, treeSize, leafHash, root, proof }) => ({
      file,
      wantErr,
      index: leafIdx,
      size: treeSize,
      leafHash: bytes(leafHash),
      root: bytes(root),
      proof: (proof ?? []).map(bytes),
    })),
    consistency: consistency.map(({ file, wantErr, size1, size2, root1, root2, proof }) => ({
      file,
      wantErr,
      oldSize: size1,
      oldRoot: bytes(root1),
      size: size2,
      root: bytes(root2),
      proof: (proof ?? []).map(bytes),
    })),
  };
}
