import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Compiles and bundles `src` into `dist`, for the tests that start the program as a process of its own.
 * Only files that differ are replaced, each by one rename: a run beside this one never loads half a file.
 * Gives the compiler's complaints, empty when there are none; what could be compiled is in place either way.
 */
export async function buildDist(root: string): Promise<string> {
  const cache = join(root, 'node_modules', '.cache');
  await mkdir(cache, { recursive: true });
  const out = await mkdtemp(join(cache, 'test-dist-'));
  try {
    const complaints = await compile(root, out);
    await promisify(execFile)(process.execPath, ['bundle.js', root, out], { cwd: root });
    const entries = await readdir(out, { recursive: true, withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name));
    // Last comes what loads all the others.
    const main = join(out, 'main.js');
    for (const from of [...names.filter((name) => name !== main), main]) {
      await replace(from, join(root, 'dist', from.slice(out.length)));
    }
    return complaints;
  } finally {
    await rm(out, { recursive: true, force: true });
  }
}

async function compile(root: string, out: string): Promise<string> {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  return promisify(execFile)(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', out], {
    cwd: root,
  }).then(
    () => '',
    (error: { stdout?: string; message: string }) => error.stdout || error.message,
  );
}

async function replace(from: string, to: string): Promise<void> {
  const [fresh, present] = await Promise.all([readFile(from), readFile(to).catch(() => undefined)]);
  if (present?.equals(fresh)) return;
  await mkdir(dirname(to), { recursive: true });
  await rename(from, to);
}
