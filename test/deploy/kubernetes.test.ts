import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseConfig } from '../../src/config/config.ts';
import { createLog } from '../../src/log.ts';
import { createHealth } from '../../src/status/health.ts';
import { createMetrics } from '../../src/status/metrics.ts';
import { createStatusServer } from '../../src/status/server.ts';
import { activity, statusReport } from '../status/support.ts';
import { runProgram } from '../support/program.ts';
import { FOLDER, kustomization, type Manifest, manifests, problemsOf } from './manifests.ts';

const manifest = (name: string) => manifests.get(name)!;
const deployment = manifest('deployment.yaml');
const job = manifest('backfill-job.yaml');
const secret = manifest('secret.example.yaml');
const pods = [deployment, job].map((one) => [one.kind, one.spec.template] as const);

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
    const byHand = ['backfill-job.yaml', 'secret.example.yaml'];
    expect([...kustomization.resources, ...byHand].sort()).toEqual([...manifests.keys()].sort());
    for (const name of kustomization.resources) expect(existsSync(join(FOLDER, name))).toBe(true);
    expect(kustomization.images.map(({ name }) => name)).toEqual([
      deployment.spec.template.spec.containers[0].image,
    ]);
  });
});

describe.each(pods)('a pod of the %s', (_kind, { metadata, spec }) => {
  const container = spec.containers[0];

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
      const { config, warnings } = parseConfig(environment, 'source');
      expect(warnings).toEqual([]);
      expect(config.database).toEqual({ kind: 'url', url: secret.stringData['database-url'] });
      const files = Object.values(environment).filter((value) => value.startsWith(directory));
      expect(files.map((file) => basename(file)).sort()).toEqual(Object.keys(secret.stringData).sort());
    } finally {
      rmSync(directory, { recursive: true });
    }
    const [volume] = spec.volumes;
    expect(volume.secret.secretName).toBe(secret.metadata.name);
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
    expect(container.resources.limits.memory).toBe('256Mi');
    const writable = container.volumeMounts.filter(({ readOnly }: { readOnly?: boolean }) => !readOnly);
    expect(writable).toEqual([{ name: 'tmp', mountPath: '/tmp' }]);
    const mounted = container.volumeMounts.map(({ name }: { name: string }) => name).sort();
    expect(mounted).toEqual(spec.volumes.map(({ name }: { name: string }) => name).sort());
  });

  test('may talk to what it needs, by its label', () => {
    const { values } = manifest('network-policy.yaml').spec.podSelector.matchExpressions[0];
    expect(values).toContain(metadata.labels['app.kubernetes.io/name']);
  });

  test('calls a command that there is', async () => {
    const { code } = await runProgram([...container.args, '--help'], {});
    expect(code).toBe(0);
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

test('service, budget and deployment mean the same pods', () => {
  const labels = deployment.spec.template.metadata.labels;
  expect(deployment.spec.selector.matchLabels).toEqual(labels);
  expect(manifest('service.yaml').spec.selector).toEqual(labels);
  expect(manifest('disruption-budget.yaml').spec.selector.matchLabels).toEqual(labels);
  expect(job.spec.template.metadata.labels).not.toEqual(labels);
  expect(deployment.spec.replicas).toBe(2);
});
