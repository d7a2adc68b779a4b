import { execFileSync, spawnSync } from 'node:child_process';

/** Whether `kustomize` is installed: go install sigs.k8s.io/kustomize/kustomize/v5. Without it its tests are skipped, and say so. */
export const hasKustomize = spawnSync('kustomize', ['version']).status === 0;

if (!hasKustomize) console.log('kustomize is not installed: the manifests are parsed, but not built.');

/** The manifests that a folder with a kustomization.yaml becomes. */
export function kustomize(folder: string): string {
  return execFileSync('kustomize', ['build', folder], { encoding: 'utf8' });
}
