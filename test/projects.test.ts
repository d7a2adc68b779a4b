import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { importsOf, sortTests } from './support/projects.js';
import { ROOT } from './support/root.ts';

const { unit, integration } = sortTests(ROOT);
const named = (files: string[]) => files.map((file) => relative(ROOT, file));

describe('the projects of jest.config.js', () => {
  test('share all test files', () => {
    expect(unit.length).toBeGreaterThan(30);
    expect(integration.length).toBeGreaterThan(30);
    expect(unit.filter((file) => integration.includes(file))).toEqual([]);
  });

  test('leave nothing to a unit test that only the integration tests are given', () => {
    const needing = unit.filter((file) =>
      /TEST_SERVER_URL|DATABASE_URL: process\.env/.test(readFileSync(file, 'utf8')),
    );
    const starting = unit.filter((file) =>
      importsOf(readFileSync(file, 'utf8')).includes('node:child_process'),
    );
    expect(named([...needing, ...starting]).filter((name) => name !== 'test/projects.test.ts')).toEqual([]);
  });

  test.each([
    ['core', 'unit'],
    ['layering', 'unit'],
    ['commands', 'integration'],
  ])('have the tests of %s in %s', (name, project) => {
    const files = named(project === 'unit' ? integration : unit);
    expect(files.filter((file) => file.startsWith(`test/${name}`))).toEqual([]);
  });
});

test.each([
  [`import pg from 'pg';`, ['pg']],
  [`import type pg from 'pg';`, []],
  [`import {\n  a,\n  type B,\n} from './a.ts';`, ['./a.ts']],
  [`import './a.ts';`, ['./a.ts']],
  [`export { a } from './a.ts';`, ['./a.ts']],
  [`export type { A } from './a.ts';`, []],
  [`const { a } = await import('./a.ts');`, ['./a.ts']],
  [`export const a = 'pg';\nconst b = "from 'pg'";`, []],
])('the imports of %j are %j', (text, names) => {
  expect(importsOf(text)).toEqual(names);
});
