import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { ROOT } from './support/root.ts';

const BIN = join(ROOT, 'bin.js');
const firstLine = (path: string) => readFileSync(path, 'utf8').split('\n')[0];

test('before a build, npm start says how to build', () => {
  const clone = mkdtempSync(join(tmpdir(), 'audit-clone-'));
  try {
    for (const name of ['package.json', 'bin.js']) cpSync(join(ROOT, name), join(clone, name));
    const { status, stderr } = spawnSync('npm', ['start', '--silent'], { cwd: clone, encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, 'error: Not built yet. Run: npm ci && npm run build\n']);
  } finally {
    rmSync(clone, { recursive: true });
  }
});

test('after it, the command is the program, with the same options of Node.js', () => {
  const { stdout } = spawnSync(BIN, ['--version'], { encoding: 'utf8' });
  expect(stdout).toMatch(/^\d+\.\d+\.\d+ \(/);
  expect(firstLine(BIN)).toBe(firstLine(join(ROOT, 'src/main.ts')));
});
