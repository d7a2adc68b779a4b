/** Processes whose time and memory are measured: by a hook in them at their end, or by /proc while they run. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../test/support/root.ts';

export interface Usage {
  cpuSeconds: number;
  peakBytes: number;
}

export interface Ended {
  /** Exit code, or the signal that ended it. */
  code: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
  /** From the call that started it to its end. */
  seconds: number;
  /** `undefined` where a signal ended it. */
  usage: Usage | undefined;
}

export interface Started {
  pid: number;
  ended: Promise<Ended>;
  hasEnded(): boolean;
  kill(signal: NodeJS.Signals): void;
}

const HOOK = pathToFileURL(join(ROOT, 'bench', 'usage-hook.mjs')).href;
/** In which /proc counts time; it has been 100 on every Linux for decades. */
const TICKS_PER_SECOND = 100;

/**
 * Starts a script in an empty directory, with `environment` and nothing of ours but PATH: with Node, or, where its first line
 * says so, with the options that users have too.
 */
export async function startScript(
  script: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<Started> {
  const directory = await mkdtemp(join(tmpdir(), 'audit-bench-process-'));
  const usageFile = join(directory, 'usage.json');
  const startedAt = performance.now();
  const isProgram = (await readFile(script, 'utf8')).startsWith('#!');
  const [command, ...before] = isProgram ? [script] : [process.execPath, script];
  const child = spawn(command!, [...before, ...args], {
    cwd: directory,
    env: {
      PATH: process.env.PATH,
      HOME: directory,
      ...environment,
      NODE_OPTIONS: `--import=${HOOK}`,
      BENCH_USAGE_FILE: usageFile,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  let hasEnded = false;
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', async (code, signal) => {
      const seconds = (performance.now() - startedAt) / 1000;
      hasEnded = true;
      const usage = await readFile(usageFile, 'utf8').then(JSON.parse, () => undefined);
      await rm(directory, { recursive: true, force: true });
      resolve({ code: code ?? signal!, ...output, seconds, usage });
    });
  });
  return { pid: child.pid!, ended, hasEnded: () => hasEnded, kill: (signal) => child.kill(signal) };
}

/** What a process has used of the processors so far; `undefined` where there is no /proc. */
export async function cpuSecondsOf(pid: number): Promise<number | undefined> {
  const times = await readTimes(pid);
  return times && times.own / TICKS_PER_SECOND;
}

/** Of a process, of its children, and of those that have ended: a server that forks one for each connection. */
export async function cpuSecondsOfFamily(pid: number): Promise<number | undefined> {
  for (;;) {
    const parent = await readTimes(pid);
    if (!parent) return undefined;
    let ticks = parent.own + parent.ofEnded;
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const times = await readTimes(Number(name));
      if (times?.parent === pid) ticks += times.own + times.ofEnded;
    }
    // A child that ended meanwhile may have been counted neither as running nor as ended.
    if ((await readTimes(pid))?.ofEnded === parent.ofEnded) return ticks / TICKS_PER_SECOND;
  }
}

export async function parentOf(pid: number): Promise<number | undefined> {
  return (await readTimes(pid))?.parent;
}

async function readTimes(pid: number): Promise<{ parent: number; own: number; ofEnded: number } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name, in brackets, may hold anything; `fields` begins with the third of proc(5), the state.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [utime, stime, cutime, cstime] = fields.slice(11, 15).map(Number) as [number, number, number, number];
  return { parent: Number(fields[1]), own: utime + stime, ofEnded: cutime + cstime };
}
