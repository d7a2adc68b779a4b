/** The Kubernetes manifests, and the schemas they are held to, which come from npm: nothing is fetched. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Deployment } from 'kubernetes-models/apps/v1';
import { CronJob, Job } from 'kubernetes-models/batch/v1';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1';
import { ConfigMap, Namespace, Secret, Service } from 'kubernetes-models/v1';
import { parse } from 'yaml';
import { ROOT } from '../support/root.ts';

export const FOLDER = join(ROOT, 'deploy', 'kubernetes');

export const kustomization = parse(readFileSync(join(FOLDER, 'kustomization.yaml'), 'utf8')) as {
  resources: string[];
  images: { name: string; newName: string; newTag: string }[];
};

/** The kustomization, and what an operator fills in. */
const NO_MANIFESTS = ['kustomization.yaml', 'secret.yaml', 'owner-secret.yaml', 'ca.yaml'];

/** By the name of the file; the kustomization is none of them. */
export const manifests = new Map<string, Manifest>(
  readdirSync(FOLDER)
    .filter((name) => name.endsWith('.yaml') && !NO_MANIFESTS.includes(name))
    .map((name) => [name, parse(readFileSync(join(FOLDER, name), 'utf8'))]),
);

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name?: string; namespace?: string };
  // biome-ignore lint/suspicious/noExplicitAny: whatever a kind has; the schema says what it may be.
  [field: string]: any;
}

const MODELS = {
  ConfigMap,
  CronJob,
  Deployment,
  Job,
  Namespace,
  NetworkPolicy,
  PodDisruptionBudget,
  Secret,
  Service,
};

/** What the schema of its kind has against a manifest. A field it does not know is one that it never looks at. */
export function problemsOf(manifest: Manifest): string[] {
  const Model = MODELS[manifest.kind as keyof typeof MODELS];
  if (!Model) return [`kind ${manifest.kind} has no schema here`];
  const known = new (Model as new () => { apiVersion: string; kind: string })();
  if (known.apiVersion !== manifest.apiVersion) return [`${manifest.kind} is of ${known.apiVersion}`];
  const seen = new Set<string>();
  try {
    Model.prototype.validate.call(watch(manifest, '', seen));
  } catch (error) {
    return [(error as Error).message];
  }
  return pathsOf(manifest, '').filter((path) => !seen.has(path));
}

function watch<T extends object>(value: T, path: string, seen: Set<string>): T {
  return new Proxy(value, {
    get(target, name) {
      const found = Reflect.get(target, name);
      if (typeof name !== 'string') return found;
      seen.add(`${path}/${name}`);
      return typeof found === 'object' && found !== null ? watch(found, `${path}/${name}`, seen) : found;
    },
  });
}

function pathsOf(value: unknown, path: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const here = `${path}/${name}`;
    return [here, ...pathsOf(inner, here)];
  });
}
