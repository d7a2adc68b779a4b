import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseAllDocuments } from 'yaml';
import { parseConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer } from '../../src/status/server.ts';
import { activity, statusReport } from '../status/support.ts';
import { hasKustomize, kustomize } from '../support/kustomize.ts';
import { runProgram } from '../support/program.ts';
import { FOLDER, kustomization, type Manifest, manifests, problemsOf } from './manifests.ts';

const manifest = (name: string) => manifests.get(name)!;
const deployment = manifest('deployment.yaml');
const job = manifest('backfill-job.yaml');
const template = ({ kind, spec }: Manifest) => (kind === 'CronJob' ? spec.jobTemplate.spec : spec).template;
const pods = [...manifests]
  .filter(([, { kind }]) => ['CronJob', 'Deployment', 'Job'].includes(kind))
  .map(([name, one]) => [name, template(one)] as const);
/** By hand, because they are created anew each time, or hold what only the operator knows. */
const BY_HAND = [
  'backfill-job.yaml',
  'ca.example.yaml',
  'migrate-job.yaml',
  'owner-secret.example.yaml',
  'secret.example.yaml',
];
const named = (kind: string, name: string) =>
  [...manifests.values()].find((one) => one.kind === kind && one.metadata.name === name);

describe('each manifest', () => {
  test.each([...manifests])('%s is what the schema of its kind says, and no more', (_name, given) => {
    expect(problemsOf(given)).toEqual([]);
  });

  test('with a fault or a misspelled field would be found', () => {
    const spoil = (change: (copy: Manifest) => void) => {
      const copy = structuredClone(deployment);
      change(copy);
      return problemsOf(copy);
    };
    const containers = (copy: Manifest) => copy.spec.template.spec.containers[0];
    expect(spoil((copy) => delete copy.spec.selector)).toEqual([expect.stringContaining('selector')]);
    expect(spoil((copy) => Object.assign(containers(copy), { imagePullPolicies: 'Always' }))).toEqual([
      '/spec/template/spec/containers/0/imagePullPolicies',
    ]);
    expect(spoil((copy) => Object.assign(containers(copy).ports[0], { containerPort: 'http' }))).toEqual([
      expect.stringContaining('must be integer'),
    ]);
    expect(spoil((copy) => Object.assign(copy, { apiVersion: 'apps/v1beta1' }))).toHaveLength(1);
  });

  test('is in the kustomization, but for what is applied by hand', () => {
    expect([...kustomization.resources, ...BY_HAND].sort()).toEqual([...manifests.keys()].sort());
    for (const name of kustomization.resources) expect(existsSync(join(FOLDER, name))).toBe(true);
    expect(kustomization.images.map(({ name }) => name)).toEqual([
      deployment.spec.template.spec.containers[0].image,
    ]);
  });
});

describe.each(pods)('a pod of %s', (_name, { metadata, spec }) => {
  const container = spec.containers[0];
  const volume = (name: string) => spec.volumes.find((one: { name: string }) => one.name === name);
  const secret = named('Secret', volume('secrets').secret.secretName)!;

  test('gives the program a configuration without a fault, from files that the secret has', () => {
    const directory = mkdtempSync(join(tmpdir(), 'audit-kubernetes-'));
    try {
      for (const [key, value] of Object.entries<string>(secret.stringData)) {
        writeFileSync(join(directory, key), `${value}\n`);
      }
      const mount = container.volumeMounts.find(({ name }: { name: string }) => name === 'secrets');
      const environment: Record<string, string> = { ...manifest('config.yaml').data };
      for (const { name, value } of container.env) {
        environment[name] = value.startsWith(`${mount.mountPath}/`)
          ? join(directory, basename(value))
          : value;
      }
      const needs = container.args[0] === 'migrate' ? 'database' : 'source';
      const { config, warnings } = parseConfig(environment, needs);
      expect(warnings).toEqual([]);
      expect(config.database).toEqual({ kind: 'url', url: secret.stringData['database-url'] });
      const files = Object.values(environment).filter((value) => value.startsWith(directory));
      expect(files.map((file) => basename(file)).sort()).toEqual(Object.keys(secret.stringData).sort());
    } finally {
      rmSync(directory, { recursive: true });
    }
    expect(container.envFrom).toEqual([{ configMapRef: { name: manifest('config.yaml').metadata.name } }]);
  });

  test('runs as an ordinary user who can change nothing but /tmp', () => {
    expect(spec.securityContext).toMatchObject({
      ...{ runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
    });
    expect(container.securityContext).toEqual({
      ...{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
    });
    expect(spec.automountServiceAccountToken).toBe(false);
    expect(container.resources.limits.memory).toBe('384Mi');
    const writable = container.volumeMounts.filter(({ readOnly }: { readOnly?: boolean }) => !readOnly);
    expect(writable).toEqual([{ name: 'tmp', mountPath: '/tmp' }]);
    const mounted = container.volumeMounts.map(({ name }: { name: string }) => name).sort();
    expect(mounted).toEqual(spec.volumes.map(({ name }: { name: string }) => name).sort());
  });

  test('mounts the certificates of private authorities, where there are any', () => {
    const { name, optional } = volume('ca').configMap;
    expect(optional).toBe(true);
    const example = readFileSync(join(FOLDER, 'ca.example.yaml'), 'utf8');
    const { mountPath } = container.volumeMounts.find((one: { name: string }) => one.name === 'ca');
    const [file] = Object.keys(named('ConfigMap', name)!.data);
    expect(example).toContain(`NODE_EXTRA_CA_CERTS: ${mountPath}/${file} in config.yaml`);
    expect(example).toContain(`sslrootcert=${mountPath}/${file} in the URLs`);
    expect(readFileSync(join(FOLDER, 'config.yaml'), 'utf8')).toContain(
      `# NODE_EXTRA_CA_CERTS: ${mountPath}/${file}`,
    );
  });

  test('has the image of the kustomization', () => {
    const { name, newName, newTag } = kustomization.images[0]!;
    const isByHand = BY_HAND.some(
      (file) => manifests.get(file)!.spec && template(manifests.get(file)!)?.spec === spec,
    );
    expect(container.image).toBe(isByHand ? `${newName}:${newTag}` : name);
  });

  test('may talk to what it needs, by its label', () => {
    const { values } = manifest('network-policy.yaml').spec.podSelector.matchExpressions[0];
    expect(values).toContain(metadata.labels['app.kubernetes.io/name']);
  });

  test('calls a command that there is', async () => {
    const { code, stdout } = await runProgram([container.args[0], '--help'], {});
    expect(code).toBe(0);
    for (const option of container.args.filter((arg: string) => arg.startsWith('--')))
      expect(stdout).toContain(option);
  });
});

test('the probes ask for paths that are served, on the port that is open everywhere', async () => {
  const server = await createStatusServer({
    ...{ host: '127.0.0.1', port: 0, health: createHealth(['acme']), metrics: createMetrics() },
    ...{
      readStatus: async () => statusReport(),
      readActivity: async () => activity(),
      log: createLog({ level: 'silent' }),
      nextRunAt: () => undefined,
    },
  });
  const [container] = deployment.spec.template.spec.containers;
  try {
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { path, port } = container[probe].httpGet;
      expect([probe, (await fetch(server.url + path)).status]).toEqual([probe, 200]);
      expect(port).toBe('http');
    }
  } finally {
    await server.close();
  }
  const { value } = container.env.find(({ name }: { name: string }) => name === 'STATUS_PORT');
  expect(container.ports).toEqual([{ name: 'http', containerPort: Number(value) }]);
  expect(manifest('service.yaml').spec.ports[0]).toMatchObject({ port: Number(value), targetPort: 'http' });
  expect(manifest('network-policy.yaml').spec.ingress[0].ports[0].port).toBe(Number(value));
});

test.each(pods.filter(([name]) => name !== 'deployment.yaml'))(
  'the job of %s gives up after an error that it cannot fix',
  (name) => {
    const one = manifest(name);
    const spec = one.kind === 'CronJob' ? one.spec.jobTemplate.spec : one.spec;
    const [{ action, onExitCodes }] = spec.podFailurePolicy.rules;
    const { containers, restartPolicy } = template(one).spec;
    expect([action, restartPolicy, onExitCodes.containerName]).toEqual([
      'FailJob',
      'Never',
      containers[0].name,
    ]);
    expect(onExitCodes.values).toContain(2);
    expect(onExitCodes.values).not.toContain(75);
  },
);

(hasKustomize ? describe : describe.skip)('kustomize', () => {
  const build = (folder: string) => parseAllDocuments(kustomize(folder)).map((one) => one.toJS() as Manifest);
  const imagesOf = (all: Manifest[]) =>
    all.flatMap((one) =>
      'template' in one.spec || one.kind === 'CronJob' ? template(one).spec.containers[0].image : [],
    );

  test('builds what the files say', () => {
    const built = build(FOLDER);
    expect(built.flatMap(problemsOf)).toEqual([]);
    const kinds = kustomization.resources.map((name) => manifest(name).kind);
    expect(built.map(({ kind }) => kind).sort()).toEqual(kinds.sort());
    expect(imagesOf(built.filter(({ spec }) => spec))).toEqual(Array(3).fill('uipath-audit-export:0.1.0'));
  });

  test('builds an overlay on it', () => {
    const overlay = mkdtempSync(join(tmpdir(), 'audit-overlay-'));
    try {
      writeFileSync(
        join(overlay, 'kustomization.yaml'),
        [
          'apiVersion: kustomize.config.k8s.io/v1beta1',
          'kind: Kustomization',
          'namespace: audit-test',
          `resources: [${relative(realpathSync(overlay), FOLDER)}]`,
          'images: [{ name: uipath-audit-export, newName: registry.example.org/audit, newTag: 9.9.9 }]',
          'patches:',
          '  - target: { kind: CronJob, name: uipath-audit-export-verify }',
          '    patch: \'[{ "op": "replace", "path": "/spec/schedule", "value": "5 5 * * *" }]\'',
        ].join('\n'),
      );
      const built = build(overlay);
      const verify = built.find(({ metadata }) => metadata.name === 'uipath-audit-export-verify')!;
      expect([verify.metadata.namespace, verify.spec.schedule]).toEqual(['audit-test', '5 5 * * *']);
      expect(imagesOf(built.filter(({ spec }) => spec))).toEqual(
        Array(3).fill('registry.example.org/audit:9.9.9'),
      );
    } finally {
      rmSync(overlay, { recursive: true });
    }
  });
});

test('service, budget and deployment mean the same pods', () => {
  const labels = deployment.spec.template.metadata.labels;
  expect(deployment.spec.selector.matchLabels).toEqual(labels);
  expect(manifest('service.yaml').spec.selector).toEqual(labels);
  expect(manifest('disruption-budget.yaml').spec.selector.matchLabels).toEqual(labels);
  expect(job.spec.template.metadata.labels).not.toEqual(labels);
  expect(deployment.spec.replicas).toBe(2);
});
