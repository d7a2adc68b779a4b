import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Command, CommanderError } from 'commander';
import type { CommandContext } from '../../src/app.ts';
import { createProgram, readArguments } from '../../src/commands/program.ts';
import type { ExportError } from '../../src/core/errors.ts';
import { createSimulator, type Simulator } from '../../src/simulator/simulator.ts';
import { createMigratedDatabase, type TestDatabase } from '../support/database.ts';
import { environmentFor, errorIn, runProgram } from '../support/program.ts';
import { ROOT } from '../support/root.ts';

const PROGRAM = 'node dist/main.js';
const COMMANDS = [
  'start',
  'run',
  'backfill',
  'verify',
  'status',
  'check',
  'migrate',
  'ledger',
  'prove',
  'report',
  'demo',
  'simulate',
];
/** These run until they are stopped, or have their own test of the whole tour. */
const LONG = ['start', 'demo', 'simulate'];
/** Their examples need files or a signed ledger: test/commands/report.test.ts and ledger.test.ts run them. */
const WITH_KEY = ['prove', 'report'];
const SHORT = COMMANDS.filter((name) => ![...LONG, ...WITH_KEY].includes(name));

const MANIFEST = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));

beforeAll(async () => {
  // Whoever called jest by npx is told to call the program so, too.
  delete process.env.npm_command;
  // One after the other: jest's loader of modules fails when several are imported at the same time.
  for (const name of COMMANDS) await import(`../../src/commands/${name}.ts`);
});

/** The command line in this process; `error` is what `main.ts` is thrown. */
async function callProgram(args: string[], environment: Record<string, string> = {}) {
  const told = { stdout: '', stderr: '', error: undefined as (Error & { exitCode?: number }) | undefined };
  const context = {
    environment,
    signal: new AbortController().signal,
    out: (line: string) => {
      told.stdout += `${line}\n`;
    },
  };
  const read = readArguments(args);
  const program = await createProgram(context, MANIFEST, read[0]);
  for (const command of [program, ...program.commands]) {
    command.configureOutput({
      writeOut: (text) => {
        told.stdout += text;
      },
      writeErr: (text) => {
        told.stderr += text;
      },
    });
  }
  await program.parseAsync(read, { from: 'user' }).catch((error) => {
    told.error = error;
  });
  return told;
}

async function examplesOf(name: string): Promise<string[]> {
  const { stdout } = await callProgram([name, '--help']);
  const [, examples = ''] = stdout.split(/^Examples:\n/m);
  return examples
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^ {2}/, ''));
}

test('--help names exactly these commands, and two examples or more', async () => {
  const { code, stdout } = await runProgram(['--help'], {});
  expect(code).toBe(0);
  expect([...stdout.matchAll(/^ {2}(\w+)(?: \[| {2,})/gm)].map(([, name]) => name)).toEqual([
    ...COMMANDS,
    'help',
  ]);
  expect(stdout.match(/^ {2}node dist\/main\.js /gm)!.length).toBeGreaterThanOrEqual(2);
  // The process says what the command line does in this one.
  expect(stdout).toBe((await callProgram(['--help'])).stdout);
});

describe.each(COMMANDS)('%s --help', (name) => {
  test('ends with two examples or more, whose options it takes', async () => {
    const examples = await examplesOf(name);
    expect(examples.length).toBeGreaterThanOrEqual(2);
    for (const example of examples) {
      expect(example).toMatch(new RegExp(`(^| )node (-- )?dist/main\\.js ${name}( |$)`));
      const [asked, ...args] = await wordsOf(example);
      expect(asked).toBe(name);
      const command = await createCommand(name);
      let wasRun = false;
      const noteRun = () => {
        wasRun = true;
      };
      for (const each of command.commands) each.exitOverride().action(noteRun);
      if (command.commands.length === 0) command.exitOverride().action(noteRun);
      await command.parseAsync(args, { from: 'user' });
      expect([example, wasRun]).toEqual([example, true]);
    }
  });
});

/** What a shell makes of an example: the arguments of the program. */
async function wordsOf(example: string): Promise<string[]> {
  const entry = `acme/1/${'0'.repeat(64)}`;
  const node = `node() { [ "$1" = -- ] && shift; shift; printf '%s\\n' "$@" >&3; }`;
  const script = `cat() { printf %s '${entry}'; }; jq() { :; }; ${node}; ${example}`;
  const { stdout } = await promisify(execFile)('bash', ['-c', `exec 3>&1; ${script}`]);
  return stdout.trimEnd().split('\n');
}

async function createCommand(name: string): Promise<Command> {
  const module = await import(`../../src/commands/${name}.ts`);
  const create: (context: CommandContext) => Command = module[`${name}Command`];
  return create({ environment: {}, signal: new AbortController().signal, out: () => {} });
}

describe('the examples', () => {
  let database: TestDatabase;
  let simulator: Simulator;
  let directory: string;

  beforeAll(async () => {
    database = await createMigratedDatabase();
    simulator = await createSimulator({ events: 50 });
    directory = await mkdtemp(join(tmpdir(), 'audit-examples-'));
    const variables = Object.entries(environmentFor(simulator, database.url));
    const text = variables.map(([name, value]) => `${name}='${value}'\n`).join('');
    for (const name of ['.env', 'production.env']) await writeFile(join(directory, name), text);
    await runProgram(['run'], {}, directory);
    const { stdout } = await runProgram(['verify', '--json'], {}, directory);
    const { organization, batch, digest } = JSON.parse(stdout).organizations[0].ledger.head;
    await writeFile(join(directory, 'noted-entry.txt'), `${organization}/${batch}/${digest}`);
  });

  afterAll(async () => {
    await simulator.close();
    await database.drop();
    await rm(directory, { recursive: true, force: true });
  });

  test.each(SHORT)('of %s work as they stand', async (name) => {
    for (const example of await examplesOf(name)) {
      const args = await wordsOf(example.replace('$(cat noted-entry.txt)', await readNoted()));
      const { code, stderr } = await runProgram(args, {}, directory);
      expect([example, code, stderr.includes('error')]).toEqual([example, 0, false]);
    }
  });

  function readNoted(): Promise<string> {
    return readFile(join(directory, 'noted-entry.txt'), 'utf8');
  }
});

describe('a mistake ends with 2, the nearest that there is, and where to read on', () => {
  const all = `\`${PROGRAM} --help\` shows all commands.`;
  const own = (name: string) => `\`${PROGRAM} ${name} --help\` shows its options and examples.`;

  test.each([
    [['stats'], "unknown command 'stats'. Did you mean status?", all],
    [['stats', '--help'], "unknown command 'stats'. Did you mean status?", all],
    [['help', 'stats'], "unknown command 'stats'. Did you mean status?", all],
    [['Status'], "unknown command 'Status'. Did you mean status?", all],
    [['backfil', '--form'], "unknown command 'backfil'. Did you mean backfill?", all],
    [['xyzzy'], `unknown command 'xyzzy'. The commands are ${COMMANDS.join(', ')}.`, all],
    [
      ['--json', 'status'],
      "unknown option '--json'. Options follow the command, as in `node dist/main.js status --json`.",
      all,
    ],
    [['backfill', '--form', 'x'], "unknown option '--form'. Did you mean --from?", own('backfill')],
    [['run', '--env-fil', 'x'], "unknown option '--env-fil'. Did you mean --env-file?", own('run')],
    [['migrate', '--dryrun'], "unknown option '--dryrun'. Did you mean --dry-run?", own('migrate')],
    [['run', '--env-file'], "option '--env-file <path>' argument missing", own('run')],
    [
      ['run', 'extra'],
      "too many arguments for 'run'. Expected 0 arguments but got 1. Options begin with two dashes, for example --json.",
      own('run'),
    ],
    [
      ['backfill', '--from', 'soon'],
      "option '--from <time>' argument 'soon' is invalid. Expected a date like 2026-01-31, a time like " +
        '2026-01-31T08:00:00Z, a time before now like 7d or 12h, today or yesterday.',
      own('backfill'),
    ],
    [
      ['simulate', '--port', '99999'],
      "option '--port <port>' argument '99999' is invalid. Expected a port from 0 to 65535, for example 8090.",
      own('simulate'),
    ],
  ])('%j', async (args, sentence, pointer) => {
    const { stdout, stderr, error } = await callProgram(args);
    expect([stdout, stderr]).toEqual(['', `error: ${sentence}\n${pointer}\n`]);
    expect(error).toBeInstanceOf(CommanderError);
    expect(error!.exitCode).not.toBe(0);
  });

  test('of a command line, as a process', async () => {
    const ended = await runProgram(['stats'], {});
    const { code, stdout, stderr } = ended;
    const told = `unknown command 'stats'. Did you mean status?\n${all}`;
    expect([code, stdout, errorIn(stderr)]).toEqual([2, '', told]);
  });

  test('of a value, as a process', async () => {
    const { code, stdout, stderr } = await runProgram(['simulate', '--fault', 'htm'], {});
    expect([code, stdout]).toEqual([2, '']);
    expect(errorIn(stderr)).toMatch(/Did you mean html\?/);
  });

  test.each([
    [['simulate', '--fault', 'htm'], {}, 'Did you mean html?'],
    [['simulate', '--fault', 'sielnce:every=3'], {}, 'Did you mean silence?'],
    [['status'], { LOG_LEVEL: 'debgu' }, 'found "debgu". Did you mean debug?'],
  ])('%j with %j, one of few words', async (args, environment: Record<string, string>, words) => {
    const { stdout, stderr, error } = await callProgram(args, environment);
    expect([stdout, stderr + error!.message]).toEqual(['', expect.stringContaining(words)]);
    expect(error instanceof CommanderError || (error as ExportError).code === 'configuration').toBe(true);
  });

  test('but nothing is suggested where nothing is near', async () => {
    const { stderr, error } = await callProgram(['simulate', '--fault', 'explode']);
    expect(stderr + error!.message).toContain('explode');
    expect(stderr + error!.message).not.toContain('Did you mean');
  });
});
