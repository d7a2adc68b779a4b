import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { ROOT } from '../support/root.ts';

interface Service {
  profiles?: string[];
  volumes?: string[];
  environment?: Record<string, string>;
  depends_on?: string[] | Record<string, unknown>;
}

const read = (name: string) => parse(readFileSync(join(ROOT, name), 'utf8'));
const compose = read('compose.yaml') as {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
};
const mounts = Object.entries(compose.services).flatMap(([service, { volumes = [] }]) =>
  volumes.map((volume) => [service, ...volume.split(':')] as [string, string, string]),
);

test('everything that is mounted is there', () => {
  expect(mounts.length).toBeGreaterThan(5);
  for (const [, from] of mounts) {
    if (from.startsWith('./')) expect([from, existsSync(join(ROOT, from))]).toEqual([from, true]);
    else expect(Object.keys(compose.volumes)).toContain(from);
  }
});

test('without the profile it is the worker and its database alone', () => {
  const plain = Object.entries(compose.services).filter(([, { profiles }]) => profiles === undefined);
  expect(plain.map(([name]) => name)).toEqual(['worker', 'postgres']);
  const rest = Object.values(compose.services).flatMap(({ profiles }) => profiles ?? []);
  expect([...new Set(rest)]).toEqual(['monitoring']);
});

test('Grafana finds its dashboard, its data sources and the password of its login', () => {
  const place = (from: string) => mounts.find((mount) => mount[1] === from)?.[2];
  const { providers } = read('deploy/grafana/provisioning/dashboards/dashboards.yaml');
  expect(place('./deploy/grafana/dashboard.json')).toBe(`${providers[0].options.path}/dashboard.json`);
  expect(place('./deploy/grafana/provisioning')).toBe('/etc/grafana/provisioning');
  const { datasources } = read('deploy/grafana/provisioning/datasources/datasources.yaml');
  const sql = datasources.find(({ uid }: { uid: string }) => uid === 'audit');
  const variable = sql.secureJsonData.password.slice(1);
  expect(compose.services.grafana?.environment).toHaveProperty(variable);
  expect(compose.services['grafana-login']?.environment).toHaveProperty(variable);
  expect(readFileSync(join(ROOT, 'deploy/grafana/reader.sql'), 'utf8')).toContain(`create role ${sql.user} `);
  expect(Object.keys(compose.services)).toContain(sql.url.split(':')[0]);
});
