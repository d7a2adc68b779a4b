#!/usr/bin/env -S node --max-semi-space-size=4 --
/** Starts the built program, or says how to build it. The option above is that of the first line of src/main.ts. */
import { existsSync } from 'node:fs';

const main = new URL('./dist/main.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  process.stderr.write('error: Not built yet. Run: npm ci && npm run build\n');
  process.exitCode = 2;
}
