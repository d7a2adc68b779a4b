import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { variables } from '../src/config-variables.ts';
import { createMigratedDatabase } from './support/database.ts';
import { runProgram } from './support/program.ts';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

describe('README', () => {
  test('its configuration table names every variable with its default', () => {
    const section = readme.slice(readme.indexOf('## Configuration'), readme.indexOf('### Other products'));
    const rows = section.split('\n').filter((line) => line.startsWith('| `'));
    for (const [name, variable] of Object.entries(variables)) {
      const row = rows.find((line) => line.includes(`\`${name}\``));
      expect([name, row]).toEqual([name, expect.any(String)]);
      const fallback = 'default' in variable ? variable.default : undefined;
      if (fallback !== undefined) expect([name, row]).toEqual([name, expect.stringContaining(fallback)]);
    }
  });

  test('its command table names every command of --help and no other', async () => {
    const { stdout } = await runProgram(['--help'], {});
    const offered = [...stdout.matchAll(/^ {2}([a-z]+)(?: \[|\s{2,})/gm)].map(([, name]) => name);
    const section = readme.slice(readme.indexOf('| command | does |'), readme.indexOf('Each takes `--help`'));
    const described = [...section.matchAll(/`([a-z]+)[ `]/g)].map(([, name]) => name);
    expect(offered.length).toBeGreaterThan(5);
    for (const name of offered) if (name !== 'help') expect(described).toContain(name);
  });

  test('its queries run', async () => {
    const database = await createMigratedDatabase();
    const pool = new pg.Pool({ connectionString: database.url });
    try {
      const blocks = [...readme.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, sql]) => sql!);
      expect(blocks.length).toBeGreaterThan(0);
      for (const sql of blocks) await pool.query(sql);
    } finally {
      await pool.end();
      await database.drop();
    }
  });
});
