import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startScript } from '../../bench/processes.ts';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'audit-bench-test-'));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function scriptOf(text: string): string {
  const file = join(directory, `${Math.random()}.mjs`);
  writeFileSync(file, text);
  return file;
}

test('a small process is small, however large the one that started it is', async () => {
  const large = Buffer.alloc(400e6, 1);
  const { ended } = await startScript(scriptOf(`console.log('done')`), [], {});
  const { code, stdout, usage } = await ended;
  expect({ code, stdout, isAlive: large.length > 0 }).toEqual({ code: 0, stdout: 'done\n', isAlive: true });
  expect(usage!.peakBytes).toBeGreaterThan(20e6);
  expect(usage!.peakBytes).toBeLessThan(200e6);
});

test('memory that was given back still counts', async () => {
  const script = `let held = Buffer.alloc(300e6, 1); held = undefined; globalThis.gc?.();`;
  const { usage } = await (await startScript(scriptOf(script), [], {})).ended;
  expect(usage!.peakBytes).toBeGreaterThan(300e6);
});

test('a process gets what it is given, and nothing else of ours but PATH', async () => {
  const { ended } = await startScript(scriptOf('console.log(JSON.stringify(process.env))'), [], {
    GIVEN: 'a',
  });
  const names = Object.keys(JSON.parse((await ended).stdout)).sort();
  expect(names).toEqual(['GIVEN', 'HOME', 'PATH']);
});

test('one that a signal ends has no usage', async () => {
  const started = await startScript(scriptOf('setInterval(() => {}, 1000)'), [], {});
  started.kill('SIGKILL');
  const { code, usage } = await started.ended;
  expect({ code, usage, hasEnded: started.hasEnded() }).toEqual({
    code: 'SIGKILL',
    usage: undefined,
    hasEnded: true,
  });
});
