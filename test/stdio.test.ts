/** Standard error that becomes writable again, a terminal that is closed during a run, and results that cannot be written. */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createSimulator, type Simulator } from '../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from './support/database.ts';
import { environmentFor } from './support/program.ts';
import { ROOT } from './support/root.ts';
import { canMount, hasTerminals, openFullDisk, openPipe, openTerminal, until } from './support/sinks.ts';

const MAIN = join(ROOT, 'dist', 'main.js');
const EVENTS = 200;

let database: TestDatabase;
let pool: pg.Pool;
let directory: string;
let simulator: Simulator;
let environment: Record<string, string>;
let organizations = 0;

beforeAll(async () => {
  database = await createMigratedDatabase();
  pool = new pg.Pool({ connectionString: database.url });
  directory = mkdtempSync(join(tmpdir(), 'audit-stdio-'));
});
afterAll(async () => {
  await pool.end();
  await database.drop();
  rmSync(directory, { recursive: true });
});
beforeEach(async () => {
  simulator = await createSimulator({ organization: `stdio${organizations++}`, events: EVENTS });
  environment = {
    ...environmentFor(simulator, database.url),
    ...{ EXPORT_PAGE_SIZE: '20', EXPORT_SCHEDULE: '* * * * * *', LOG_LEVEL: 'debug' },
  };
});
afterEach(() => simulator.close());

async function countStored(): Promise<number> {
  const { rows } = await pool.query('select count(*)::int as n from audit.events where organization = $1', [
    simulator.organization,
  ]);
  return rows[0].n;
}

/** Runs a command with standard output on a descriptor, which is closed afterwards. */
async function runOnto(args: string[], descriptor: number): Promise<{ code: number | null; stderr: string }> {
  const child = spawn(process.execPath, ['--', MAIN, ...args], {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: directory, ...environment, LOG_LEVEL: 'warn' },
    stdio: ['ignore', descriptor, 'pipe'],
  });
  let stderr = '';
  child.stderr!.setEncoding('utf8').on('data', (text) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  closeSync(descriptor);
  return { code, stderr };
}

function pipeWithoutReader(): number {
  const path = join(directory, `pipe-${organizations}`);
  spawnSync('mkfifo', [path]);
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const write = openSync(path, constants.O_WRONLY);
  closeSync(read);
  return write;
}

describe('standard error that becomes writable again', () => {
  /** Runs `start` on a sink until lines are dropped, then until a line reports them. */
  async function expectNotice(
    sink: ReturnType<typeof openPipe> | ReturnType<typeof openFullDisk>,
    repair: () => () => string,
  ): Promise<void> {
    const port = 20_000 + (process.pid % 20_000);
    const program = sink.launch({
      args: ['start'],
      environment: { ...environment, STATUS_PORT: String(port) },
      directory,
    });
    try {
      const dropped = async () => {
        const response = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined);
        const text = (await response?.text()) ?? '';
        return Number(/^uipath_audit_export_log_lines_dropped_total (\d+)$/m.exec(text)?.[1] ?? 0);
      };
      await until(async () => (await dropped()) > 3, 'lines were dropped');
      const page = await (await fetch(`http://127.0.0.1:${port}/`)).text();
      expect(page).toMatch(/\d+ lines dropped/);
      const read = repair();
      let text = '';
      await until(() => {
        text += read();
        return /log lines before this one were dropped/.test(text) && text.endsWith('}\n');
      }, 'the log reports dropped lines');
      const lines = text
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
      const [notice] = lines.filter(({ msg }) => /before this one were dropped/.test(msg));
      expect(notice).toMatchObject({ level: 'warn', dropped: await dropped() });
      expect(lines.length).toBeGreaterThan(1);
      await until(async () => (await countStored()) === EVENTS, 'start has stored everything');
      process.kill(await program.pid(), 'SIGTERM');
      expect((await program.ended).code).toBe(0);
    } finally {
      program.kill();
      sink.close();
    }
  }

  test('a pipe that gets a reader again: one line reports the number of dropped lines', async () => {
    const sink = openPipe('gone');
    let descriptor: number | undefined;
    await expectNotice(sink, () => {
      descriptor = openSync(sink.path, constants.O_RDONLY | constants.O_NONBLOCK);
      return () => readSome(descriptor!);
    });
    closeSync(descriptor!);
  });

  (canMount() ? test : test.skip)(
    'a disk that has room again: one line says how many were dropped',
    async () => {
      const sink = openFullDisk();
      await expectNotice(sink, () => {
        sink.makeRoom();
        let seen = 0;
        return () => {
          const text = readFileSync(sink.file, 'utf8').slice(seen);
          seen += text.length;
          return text;
        };
      });
    },
  );

  test('a late reader gets every line in order, including the last before the exit', async () => {
    const script = `
      import { createLog } from ${JSON.stringify(new URL('../dist/log.js', import.meta.url))};
      const log = createLog({ level: 'info' });
      for (let n = 0; n < 1_000; n++) log.info({ n }, 'x'.repeat(500));
      setTimeout(() => { log.info({ n: 1_000 }, 'last'); process.exit(); }, 300);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    // Longer than a write waits for a reader.
    await sleep(1_000);
    let text = '';
    for await (const part of child.stderr!.setEncoding('utf8')) text += part;
    const numbers = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).n);
    expect(numbers).toEqual(Array.from({ length: 1_001 }, (_, n) => n));
  });
});

function readSome(descriptor: number): string {
  const buffer = Buffer.alloc(65_536);
  try {
    return buffer.toString('utf8', 0, readSync(descriptor, buffer));
  } catch {
    return '';
  }
}

describe('a terminal that is closed during a command', () => {
  const cases = [['run'], ['backfill'], ['verify --repair'], ['start']];

  (hasTerminals() ? test.each(cases) : test.skip.each(cases))(
    'does not stop the command: %s',
    async (line) => {
      const args = line.split(' ');
      simulator.set({ latencyMs: 150 });
      const sink = openTerminal(() => until(() => simulator.counts.list > 1, 'the program reads the list'));
      const program = sink.launch({
        args,
        environment: { ...environment, EXPORT_CONCURRENCY: '1' },
        directory,
      });
      try {
        if (args[0] === 'start') {
          await until(async () => (await countStored()) === EVENTS, 'start has stored everything');
          process.kill(await program.pid(), 'SIGTERM');
        }
        expect((await program.ended).code).toBe(0);
        expect(await countStored()).toBe(EVENTS);
      } finally {
        program.kill();
        sink.close();
      }
    },
  );
});

describe('a result that cannot be written', () => {
  const storing = [['run'], ['backfill'], ['verify', '--repair'], ['migrate']];
  const reading = [
    ['status', '--json'],
    ['status'],
    ['check', '--json'],
    ['--help'],
    ['--version'],
    ['verify', '--help'],
  ];

  test.each([...storing, ...reading].map((args) => [args.join(' '), args] as const))(
    'to a full disk is exit code 1 with a message, and all events are stored: %s',
    async (_, args) => {
      const { code, stderr } = await runOnto(args, openSync('/dev/full', 'w'));
      expect(stderr).toMatch(/Could not write the result to standard output: ENOSPC/);
      expect(code).toBe(1);
      if (storing.slice(0, 3).includes(args)) expect(await countStored()).toBe(EVENTS);
    },
  );

  test.each([...storing, ...reading].map((args) => [args.join(' '), args] as const))(
    'because the reader is gone is quiet, and all is stored: %s',
    async (_, args) => {
      expect(await runOnto(args, pipeWithoutReader())).toEqual({ code: 0, stderr: '' });
      if (storing.slice(0, 3).includes(args)) expect(await countStored()).toBe(EVENTS);
    },
  );

  test('does not change the exit code of a failed command', async () => {
    const { code } = await runOnto(
      ['status', '--organization', 'nobody', '--json'],
      openSync('/dev/full', 'w'),
    );
    expect(code).toBe(2);
  });

  const WRITE_MUCH = `
    import { standardOutput } from ${JSON.stringify(new URL('../dist/stdio.js', import.meta.url))};
    const output = standardOutput();
    for (let n = 0; n < 1_000; n++) output.write('x'.repeat(999) + '\\n');
    await output.written();
    process.exit(output.hasFailed() ? 1 : 0);`;

  test('that is read late is complete', async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', WRITE_MUCH], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await sleep(1_000);
    let bytes = 0;
    for await (const part of child.stdout!) bytes += part.length;
    expect(bytes).toBe(1_000_000);
  });

  (canMount() ? test : test.skip)('completely, because the disk fills up, is a failure', () => {
    const sink = openFullDisk();
    sink.makeRoom();
    const descriptor = openSync(join(sink.directory, 'result'), 'w');
    spawnSync('mount', ['-o', 'remount,size=16k', sink.directory]);
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', WRITE_MUCH], {
      stdio: ['ignore', descriptor, 'pipe'],
      encoding: 'utf8',
    });
    closeSync(descriptor);
    sink.close();
    expect([status, stderr]).toEqual([1, expect.stringContaining('ENOSPC')]);
  });
});
