import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { runProgram, startProgram } from '../support/program.ts';

async function withDirectory(work: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'audit-demo-'));
  try {
    await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** PostgreSQL keeps this file as long as it runs. */
function isServerRunning(directory: string): boolean {
  return existsSync(path.join(directory, 'cluster', 'postmaster.pid'));
}

describe('demo, as a process', () => {
  test('needs nothing configured, shows five results with their SQL, and leaves nothing running', async () => {
    await withDirectory(async (directory) => {
      const { code, stdout, stderr } = await runProgram(
        ['demo', '--events', '3000', '--directory', directory],
        {
          // What a user has set for production must not reach the demo.
          DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
          UIPATH_ORGANIZATION: 'production',
        },
      );
      expect([code, stderr.match(/.*error.*/gi) ?? []]).toEqual([0, []]);
      expect(stdout).toContain('Run 1: 3,000 new events');
      // The first run finds as many as it can while the list moves, the second one the others.
      const late = [...stdout.matchAll(/(\d+) of them late/g)].map(([, events]) => Number(events));
      expect(late).toHaveLength(2);
      expect(late[0]! + late[1]!).toBeGreaterThanOrEqual(25);
      expect(stdout).toContain('none missing, none stored twice');
      expect(stdout.match(/^ {2}select /gm)).toHaveLength(5);
      const results =
        /^ {2}(events {2}oldest|category {2}|user_name {2}|created_on {2}|organization {2}).*\n {2}/gm;
      expect(stdout.match(results)).toHaveLength(5);
      expect(isServerRunning(directory)).toBe(false);
    });
  });

  test('Ctrl-C in the middle leaves nothing running either', async () => {
    await withDirectory(async (directory) => {
      const program = startProgram(['demo', '--events', '200000', '--directory', directory], {});
      await program.logged(/Started PostgreSQL/);
      expect(isServerRunning(directory)).toBe(true);
      program.kill('SIGINT');
      expect((await program.ended).code).toBe(75);
      expect(isServerRunning(directory)).toBe(false);
    });
  });
});
