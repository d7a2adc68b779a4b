/** What standard error may be connected to, and the program started on it. Linux or another POSIX system. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './root.ts';

const MAIN = join(ROOT, 'dist', 'main.js');
const GIVE_UP_MS = 60_000;

export interface Launched {
  pid(): Promise<number>;
  /** Standard output so far. */
  stdout(): string;
  /** Exit code, or the signal that ended the process, and standard output. */
  ended: Promise<{ code: number | NodeJS.Signals; stdout: string }>;
  /** Ends the process if it still runs. */
  kill(): void;
}

export interface Launch {
  args: readonly string[];
  environment: Record<string, string>;
  /** An empty directory for the process. */
  directory: string;
}

export interface Sink {
  launch(launch: Launch): Launched;
  close(): void;
}

export async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const giveUpAt = performance.now() + GIVE_UP_MS;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`gave up waiting until ${what}`);
    await sleep(50);
  }
}

/** Standard error that works. */
export function openGood(): Sink {
  return onDescriptor(openSync('/dev/null', 'w'));
}

export function openFullDevice(): Sink {
  return onDescriptor(openSync('/dev/full', 'w'));
}

/** No descriptor 2 at all, as with `2>&-`. */
export function openClosed(): Sink {
  return {
    launch: (launch) => start('sh', ['-c', 'exec "$0" "$@" 2>&-', ...program(launch)], launch, 'ignore'),
    close() {},
  };
}

/** A named pipe, so that the test holds the ends it wants. */
export function openPipe(reader: 'gone' | 'never reads'): Sink & { path: string } {
  const directory = mkdtempSync(join(tmpdir(), 'audit-pipe-'));
  const path = join(directory, 'pipe');
  execFileSync('mkfifo', [path]);
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  // Blocking, as a shell makes it.
  const write = openSync(path, constants.O_WRONLY);
  if (reader === 'gone') closeSync(read);
  else fillPipe(path);
  const sink = onDescriptor(write);
  return {
    path,
    launch: sink.launch,
    close() {
      sink.close();
      if (reader !== 'gone') closeSync(read);
      rmSync(directory, { recursive: true });
    },
  };
}

function fillPipe(path: string): void {
  const write = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(write, '.'.repeat(4_096));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
  } finally {
    closeSync(write);
  }
}

/** A file system of 8 KB whose every byte is taken; `makeRoom` frees them. Needs root, and the right to mount. */
export function openFullDisk(): Sink & { file: string; directory: string; makeRoom(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'audit-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', directory]);
  const filler = join(directory, 'filler');
  const file = join(directory, 'log');
  const sink = onDescriptor(openSync(file, 'a'));
  try {
    writeFileSync(filler, Buffer.alloc(64 * 1024));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
  return {
    file,
    directory,
    launch: sink.launch,
    makeRoom() {
      rmSync(filler);
      execFileSync('mount', ['-o', 'remount,size=1m', directory]);
    },
    close() {
      sink.close();
      execFileSync('umount', ['-l', directory]);
      rmSync(directory, { recursive: true });
    },
  };
}

export function canMount(): boolean {
  try {
    openFullDisk().close();
    return true;
  } catch {
    return false;
  }
}

/** `script` of util-linux, which gives a command a terminal. */
export function hasTerminals(): boolean {
  return process.platform === 'linux' && existsSync('/usr/bin/script');
}

/**
 * A terminal that is closed, before the program starts or once `when` resolves. All that the program would get from its shell is
 * on it but standard output, which is a file.
 */
export function openTerminal(when?: () => Promise<void>): Sink {
  const directories: string[] = [];
  return {
    launch(launch) {
      const directory = mkdtempSync(join(tmpdir(), 'audit-terminal-'));
      directories.push(directory);
      return startOnTerminal(launch, directory, when);
    },
    close() {
      for (const directory of directories) rmSync(directory, { recursive: true });
    },
  };
}

/**
 * The shell outlives its terminal, notes its SIGHUP, and leaves the program what signals do by default. The kernel sends the signal
 * to this shell only when the one above it has ended, which on a busy machine is long after the terminal is closed.
 */
const ON_TERMINAL = `trap 'echo > "$FILES/hup"' HUP
echo ready > "$FILES/ready"
until [ -e "$FILES/go" ]; do sleep 0.02; done
sh -c 'echo $$ > "$FILES/pid.new"; mv "$FILES/pid.new" "$FILES/pid"; exec "$0" "$@"' "$@" > "$FILES/out"
echo $? > "$FILES/code.new"; mv "$FILES/code.new" "$FILES/code"`;

function startOnTerminal(launch: Launch, directory: string, when?: () => Promise<void>): Launched {
  const at = (name: string) => join(directory, name);
  writeFileSync(at('shell'), ON_TERMINAL);
  const words = ['sh', at('shell'), ...program(launch)].map((word) => `'${word.replaceAll("'", "'\\''")}'`);
  const terminal = spawn('script', ['-qc', words.join(' '), '/dev/null'], {
    cwd: launch.directory,
    env: {
      PATH: process.env.PATH,
      HOME: launch.directory,
      SHELL: '/bin/sh',
      FILES: directory,
      ...launch.environment,
    },
    stdio: ['ignore', 'ignore', 'ignore'],
  });
  const run = async () => {
    await until(() => existsSync(at('ready')), 'the terminal is ready');
    if (when) {
      writeFileSync(at('go'), '');
      await when();
    }
    terminal.kill('SIGKILL');
    await new Promise((resolve) =>
      (terminal.exitCode ?? terminal.signalCode) === null ? terminal.once('exit', resolve) : resolve(null),
    );
    // Otherwise the signal could end the program before it listens for it.
    if (!when) await until(() => existsSync(at('hup')), 'the shell has its SIGHUP');
    writeFileSync(at('go'), '');
    await until(() => existsSync(at('code')), 'the program on the terminal has ended');
    return { code: Number(readFileSync(at('code'), 'utf8')), stdout: readFileSync(at('out'), 'utf8') };
  };
  const pid = async () => {
    await until(() => existsSync(at('pid')), 'the program on the terminal has started');
    return Number(readFileSync(at('pid'), 'utf8'));
  };
  const stdout = () => (existsSync(at('out')) ? readFileSync(at('out'), 'utf8') : '');
  return { pid, stdout, ended: run(), kill: () => terminal.kill('SIGKILL') };
}

function onDescriptor(descriptor: number): Sink {
  return {
    launch(launch) {
      const [file, ...args] = program(launch);
      return start(file!, args, launch, descriptor);
    },
    close: () => closeSync(descriptor),
  };
}

function program({ args }: Launch): string[] {
  return [process.execPath, '--', MAIN, ...args];
}

function start(file: string, args: readonly string[], launch: Launch, stderr: number | 'ignore'): Launched {
  mkdirSync(launch.directory, { recursive: true });
  const child: ChildProcess = spawn(file, args, {
    cwd: launch.directory,
    env: { PATH: process.env.PATH, HOME: launch.directory, ...launch.environment },
    stdio: ['ignore', 'pipe', stderr],
  });
  let stdout = '';
  child.stdout!.setEncoding('utf8').on('data', (text) => {
    stdout += text;
  });
  const ended = new Promise<{ code: number | NodeJS.Signals; stdout: string }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code: code ?? signal!, stdout }));
  });
  return { pid: async () => child.pid!, stdout: () => stdout, ended, kill: () => child.kill('SIGKILL') };
}
