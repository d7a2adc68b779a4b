import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from '@jest/globals';

const SRC = fileURLToPath(new URL('../src', import.meta.url));
const IMPORT = /^(?:import|export)\b[^'";]*?\bfrom\s*'([^']+)'|^import\s*'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** A layer imports layers of later lines only. A layer is a folder of src/, or a file of src/ itself. */
const LAYERS = [
  ['main', 'healthcheck'],
  ['commands'],
  ['terminal', 'checks', 'worker', 'simulator'],
  ['status'],
  ['runs'],
  ['app'],
  ['uipath', 'postgres', 'embedded-postgres', 'config', 'log'],
  ['calendar', 'recording'],
  ['core', 'stdio', 'version'],
  ['stdio-writer'],
  ['text'],
];

/** Inside a layer: each folder, and the folders beside it that it may import. */
const FOLDERS: Record<string, Record<string, string[]>> = {
  core: {
    'core/offset-list/rank': ['core/offset-list', 'core'],
    // Only the reader: it opens the prover of its list.
    'core/offset-list': ['core/offset-list/rank', 'core'],
    'core/ledger': ['core/transparency-log', 'core'],
    'core/transparency-log': ['core'],
    core: [],
  },
  uipath: { 'uipath/classic': ['uipath/http'], 'uipath/http': [] },
  postgres: {
    'postgres/write': ['postgres/connection', 'postgres/format', 'postgres/read'],
    'postgres/read': ['postgres/connection', 'postgres/format', 'postgres/schema'],
    'postgres/read/state': ['postgres/connection', 'postgres/format', 'postgres/read'],
    'postgres/schema': ['postgres/connection'],
    'postgres/format': [],
    'postgres/connection': [],
  },
  status: { status: ['status/page'], 'status/page': ['status'] },
};

/** Packages imported from more than one place, and why. */
const IN_TWO_PLACES: Record<string, string[]> = {
  // main.ts builds the program from the commands; terminal/ formats the help of each.
  commander: ['commands', 'main', 'terminal'],
  // embedded-postgres/ creates the database that a pool of postgres/ connects to.
  pg: ['embedded-postgres', 'postgres'],
};

interface Import {
  from: string;
  /** Path below src, or the name of a package. */
  to: string;
  /** Removed by the compiler. */
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
const layerOf = (file: string) => file.split('/')[0]!.replace(/\.ts$/, '');
const levelOf = (file: string) => LAYERS.findIndex((layers) => layers.includes(layerOf(file)));
const shown = (found: Import[]) => found.map(({ from, to }) => `${from} imports ${to}`);

describe('the layers', () => {
  test('are all known, and every import leads to a file', () => {
    expect([...new Set(files.map(layerOf))].sort()).toEqual(LAYERS.flat().sort());
    expect(imports.length).toBeGreaterThan(150);
    expect(imports.filter(isInternal).filter(({ to }) => !files.includes(to))).toEqual([]);
  });

  test('import only layers below them', () => {
    const upwards = imports
      .filter(isInternal)
      .filter(({ from, to }) => layerOf(from) !== layerOf(to) && levelOf(to) <= levelOf(from));
    expect(shown(upwards)).toEqual([]);
  });

  test('have folders that import only the folders they name', () => {
    const sideways = imports.filter(isInternal).filter(({ from, to }) => {
      const folders = FOLDERS[layerOf(from)];
      const [importer, imported] = [dirname(from), dirname(to)];
      if (!folders || layerOf(from) !== layerOf(to) || importer === imported) return false;
      return !folders[importer]!.includes(imported);
    });
    expect(shown(sideways)).toEqual([]);
  });

  test('have a core that imports nothing but itself, text and hashing', () => {
    const outside = imports.filter(
      ({ from, to }) => layerOf(from) === 'core' && !['core', 'text'].includes(layerOf(to)),
    );
    expect([...new Set(outside.map(({ to }) => to))]).toEqual(['node:crypto']);
  });

  test('have no modules that import each other in a circle', () => {
    expect(circles()).toEqual([]);
  });
});

test('each package is imported from one layer', () => {
  const places = new Map<string, Set<string>>();
  for (const { from, to } of imports.filter(isPackage)) {
    places.set(to, (places.get(to) ?? new Set()).add(layerOf(from)));
  }
  const several = [...places]
    .filter(([, found]) => found.size > 1)
    .map(([name, found]) => [name, [...found].sort()]);
  expect(Object.fromEntries(several)).toEqual(IN_TWO_PLACES);
});

test('each imported package is a dependency of the program', async () => {
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
