/** Preloaded into what is measured: writes at its exit what it used to the file BENCH_USAGE_FILE names. */
import { readFileSync, writeFileSync } from 'node:fs';

const file = process.env.BENCH_USAGE_FILE;
delete process.env.BENCH_USAGE_FILE;
delete process.env.NODE_OPTIONS;

/**
 * The kernel carries the peak of whoever started a process over into `maxRSS`, so that a small process started by a large
 * one looks large. VmHWM belongs to the program's own memory.
 */
function peakKibibytes() {
  try {
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
  } catch {
    return process.resourceUsage().maxRSS;
  }
}

if (file !== undefined) {
  process.on('exit', () => {
    const { userCPUTime, systemCPUTime } = process.resourceUsage();
    const cpuSeconds = (userCPUTime + systemCPUTime) / 1e6;
    writeFileSync(file, JSON.stringify({ cpuSeconds, peakBytes: peakKibibytes() * 1024 }));
  });
}
