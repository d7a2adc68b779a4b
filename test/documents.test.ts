import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const ROOT = new URL('../', import.meta.url);

test.each(['SECURITY.md', 'README.md', 'docs/hostile-input.md', 'docs/bi.md'])(
  '%s links to files that exist',
  (name) => {
    const text = readFileSync(new URL(name, ROOT), 'utf8');
    const links = [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path!);
    expect(links.filter((path) => !existsSync(new URL(path, new URL(name, ROOT))))).toEqual([]);
    if (name === 'SECURITY.md') expect(links.length).toBeGreaterThan(20);
  },
);
