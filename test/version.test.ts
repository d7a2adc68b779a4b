import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { runProgram } from './support/program.ts';
import { ROOT } from './support/root.ts';

test('--version is that of package.json, with the commit', async () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const { code, stdout } = await runProgram(['--version'], {});
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^\S+ \(([0-9a-f]{7,}|unknown)\)\n$/)]);
  expect(stdout.startsWith(`${version} (`)).toBe(true);
});
