/**
 * Which of jest's projects a test file belongs to. A test that imports `pg` or `node:child_process`, itself or through another
 * file under test/ (`support/database.ts`, `support/program.ts`, …), is an integration test. Every other test is a unit test: its
 * run builds nothing and starts no server.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';

const INTEGRATION = ['pg', 'node:child_process'];

/** Paths of the test files of each project, under `root`. */
export function sortTests(root) {
  const directory = join(root, 'test');
  const files = readdirSync(directory, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(directory, name))
    .sort();
  const isIntegration = (file) =>
    packagesOf(file, `${directory}${sep}`).some((name) => INTEGRATION.includes(name));
  return { unit: files.filter((file) => !isIntegration(file)), integration: files.filter(isIntegration) };
}

/** Packages that `file` imports for their values, itself or through files under `directory`. */
function packagesOf(file, directory, seen = new Set()) {
  if (seen.has(file)) return [];
  seen.add(file);
  return importsOf(readFileSync(file, 'utf8')).flatMap((name) => {
    if (!name.startsWith('.')) return [name];
    const path = join(dirname(file), name);
    return path.startsWith(directory) && existsSync(path) ? packagesOf(path, directory, seen) : [];
  });
}

/** What a source text imports, statically or by `import()`; types are no import. */
export function importsOf(text) {
  const statements = text.matchAll(
    /^(?:import|export)\s+(?!type\s)(?:[^;'"]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm,
  );
  return Array.from(statements, ([, name, dynamic]) => name ?? dynamic);
}
