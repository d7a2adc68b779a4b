import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const IMPORT = /^(?:import|export)\b[^'";]*?\bfrom\s*'([^']+)'|^import\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** The layers a layer may import beside itself; `root` are the files of src/ itself, which wire the others. */
const ALLOWED: Record<string, string[]> = {
  core: [],
  uipath: ['core'],
  postgres: ['core'],
  simulator: ['core'],
  status: ['core', 'postgres', 'root'],
  commands: ['core', 'uipath', 'postgres', 'status', 'simulator', 'root'],
  root: ['core', 'uipath', 'postgres', 'status'],
};

/** Files of src/ that stand below the wiring: they know nothing of the program's layers but core. */
const BELOW_THE_WIRING = /^(config.*|log|redaction.*|schedule|stdio)\.ts$/;

/** Needs nothing, and whoever quotes an answer needs it. */
const FREE = 'redaction.ts';

/** Packages imported from more than one place, and why. */
const IN_TWO_PLACES: Record<string, string[]> = {
  // The command table is built in main.ts.
  commander: ['commands', 'main.ts'],
  // Checks an expression where the configuration is read; runs it where the schedule is.
  'node-cron': ['config', 'schedule.ts'],
};

interface Import {
  from: string;
  /** Path below src, or the name of a package. */
  to: string;
  /** Gone once it is compiled. */
  isOfTypes: boolean;
}

let imports: Import[];
let files: string[];

beforeAll(async () => {
  const names = await readdir(SRC, { recursive: true });
  files = names.filter((name) => name.endsWith('.ts'));
  const found = await Promise.all(
    files.map(async (file) => importsOf(file, await readFile(join(SRC, file), 'utf8'))),
  );
  imports = found.flat();
});

function importsOf(file: string, text: string): Import[] {
  return [...text.matchAll(IMPORT)].map((match) => {
    const name = (match[1] ?? match[2] ?? match[3])!;
    const to = name.startsWith('.') ? relative(SRC, join(SRC, dirname(file), name)) : name;
    return { from: file, to, isOfTypes: match[0].startsWith('import type') };
  });
}

const isInternal = ({ to }: Import) => to.endsWith('.ts');
const isPackage = ({ to }: Import) => !to.endsWith('.ts') && !to.startsWith('node:');
const layerOf = (file: string) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : 'root');
const shown = (found: Import[]) => found.map(({ from, to }) => `${from} imports ${to}`);

describe('the layers', () => {
  test('are all known, and their imports are found', () => {
    expect([...new Set(files.map(layerOf))].sort()).toEqual(Object.keys(ALLOWED).sort());
    expect(imports.length).toBeGreaterThan(150);
    expect(imports.filter(isInternal).filter(({ to }) => !files.includes(to))).toEqual([]);
  });

  test('import only downwards', () => {
    const upwards = imports.filter(isInternal).filter(({ from, to }) => {
      const [importer, imported] = [layerOf(from), layerOf(to)];
      const isAllowed = ALLOWED[importer]!.includes(imported) || to === FREE;
      return importer !== imported && !isAllowed && from !== 'main.ts';
    });
    expect(shown(upwards)).toEqual([]);
  });

  test('have a core that knows nothing but itself and hashing', () => {
    const outside = imports.filter(({ from, to }) => layerOf(from) === 'core' && !to.startsWith('core/'));
    expect([...new Set(outside.map(({ to }) => to))]).toEqual(['node:crypto']);
  });

  test('have a source and a store that know nothing of each other', () => {
    const between = imports.filter(
      ({ from, to }) =>
        [layerOf(from), layerOf(to)].sort().join() === 'postgres,uipath' && to.endsWith('.ts'),
    );
    expect(shown(between)).toEqual([]);
  });

  test('have configuration and log below the wiring', () => {
    const upwards = imports
      .filter(isInternal)
      .filter(({ from }) => BELOW_THE_WIRING.test(from))
      .filter(({ to }) => layerOf(to) !== 'core' && !BELOW_THE_WIRING.test(to));
    expect(shown(upwards)).toEqual([]);
  });

  test('have no modules that need each other to be loaded', () => {
    expect(circles()).toEqual([]);
  });
});

test('each package is imported from one place', () => {
  const places = new Map<string, Set<string>>();
  for (const { from, to } of imports.filter(isPackage)) {
    const place = from.includes('/') ? layerOf(from) : from.replace(/^config.*/, 'config');
    places.set(to, (places.get(to) ?? new Set()).add(place));
  }
  const several = [...places]
    .filter(([, found]) => found.size > 1)
    .map(([name, found]) => [name, [...found].sort()]);
  expect(Object.fromEntries(several)).toEqual(IN_TWO_PLACES);
});

test('each package that is imported is a dependency of the program', async () => {
  const manifest = JSON.parse(await readFile(join(SRC, '../package.json'), 'utf8'));
  const known = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
  const imported = [...new Set(imports.filter(isPackage).map(({ to }) => to))];
  expect(imported.filter((name) => !known.includes(name))).toEqual([]);
});

function circles(): string[][] {
  const loaded = imports.filter(({ isOfTypes }) => !isOfTypes);
  const targetsOf = (file: string) => loaded.filter(({ from }) => from === file).map(({ to }) => to);
  const done = new Set<string>();
  const found: string[][] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) found.push([...path.slice(path.indexOf(file)), file]);
    if (done.has(file) || path.includes(file)) return;
    for (const target of targetsOf(file)) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  return found;
}
