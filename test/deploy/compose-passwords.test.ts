/** compose.yaml as docker-compose reads it: it starts with passwords of any characters, and not without them. */
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config/config.ts';
import { composeConfig, hasDockerCompose } from '../support/docker-compose.ts';
import { ROOT } from '../support/root.ts';

const PASSWORDS = ['POSTGRES_PASSWORD', 'GRAFANA_PASSWORD', 'GRAFANA_DATABASE_PASSWORD'];
const HARD = `p@ss:w/o%20rd?&=#$HOME\\"{}`;
const isolated = hasDockerCompose ? describe : describe.skip;
if (!hasDockerCompose) console.warn('docker-compose is not installed: its tests are skipped');

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'audit-compose-'));
  copyFileSync(join(ROOT, 'compose.yaml'), join(directory, 'compose.yaml'));
});
afterAll(() => rmSync(directory, { recursive: true }));

/** .env.example with the given values, as an operator fills it in. */
function fillIn(values: Record<string, string>): void {
  const example = readFileSync(join(ROOT, '.env.example'), 'utf8');
  const lines = example.split('\n').map((line) => {
    const value = values[line.replace(/=$/, '')];
    return value === undefined ? line : `${line}'${value}'`;
  });
  writeFileSync(join(directory, '.env'), lines.join('\n'));
}

const filled = { POSTGRES_PASSWORD: HARD, GRAFANA_PASSWORD: 'b', GRAFANA_DATABASE_PASSWORD: 'c' };

test('each password is required, and none has a default', () => {
  const text = readFileSync(join(ROOT, 'compose.yaml'), 'utf8');
  const used = [...text.matchAll(/(?<!\$)\$\{(\w+)(:\?)?/g)];
  expect([...new Set(used.map(([, name]) => name))].sort()).toEqual([...PASSWORDS].sort());
  expect(used.filter(([, , isRequired]) => isRequired === undefined)).toEqual([]);
});

isolated('docker-compose config', () => {
  test.each(PASSWORDS)('refuses without %s, and says what to do', (name) => {
    fillIn({ ...filled, [name]: '' });
    const { status, stderr } = composeConfig(directory);
    expect(status).not.toBe(0);
    expect(stderr).toContain(`Set ${name} in .env, for example to the output of openssl rand -hex 24`);
  });

  test('passes a password of any characters to PostgreSQL and to the worker', () => {
    fillIn(filled);
    const { status, stdout, stderr } = composeConfig(directory);
    expect([status, stderr]).toEqual([0, '']);
    const { services } = parse(stdout);
    // What `config` prints is a compose file again, in which a $ is doubled.
    const environmentOf = (service: string): Record<string, string> =>
      Object.fromEntries(
        Object.entries<string>(services[service].environment).map(([name, value]) => [
          name,
          String(value).replaceAll('$$', '$'),
        ]),
      );
    expect(environmentOf('postgres').POSTGRES_PASSWORD).toBe(HARD);
    const { config, warnings } = parseConfig(environmentOf('worker'), 'database');
    expect(warnings).toEqual([]);
    expect(config.database).toEqual({
      kind: 'url',
      url: `postgres://audit:${encodeURIComponent(HARD)}@postgres:5432/audit`,
    });
    expect(config.status).toEqual({ host: '0.0.0.0', port: 8080 });
  });
});
