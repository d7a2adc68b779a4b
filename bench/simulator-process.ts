/** The simulated organization in a process of its own: its options come as JSON, then it does what its parent asks. */
import { readFileSync } from 'node:fs';
import { createSimulator, type Simulator } from '../src/simulator/simulator.ts';
import type { Answer, Ask, Look } from './simulator.ts';

const { startAt, ...options } = JSON.parse(process.argv[2]!);
const simulator = await createSimulator({ ...options, ...(startAt && { startAt: new Date(startAt) }) });
process.on('disconnect', () => process.exit());
process.on('message', ({ number, ...ask }: Ask & { number: number }) => {
  doAs(simulator, ask);
  tell({ number, look: look() });
});
tell({ number: 0, look: look() });

function doAs({ append, insertLate, deleteAt, set }: Simulator, ask: Ask): void {
  if (ask.append !== undefined) append(ask.append);
  if (ask.insertLate !== undefined) insertLate(1, ask.insertLate);
  if (ask.deleteAt !== undefined) deleteAt(ask.deleteAt, 1);
  if (ask.latencyMs !== undefined) set({ latencyMs: ask.latencyMs });
}

function look(): Look {
  const { user, system } = process.cpuUsage();
  const { url, organization, clientId, clientSecret, length, counts } = simulator;
  return {
    ...{ url, organization, clientId, clientSecret, length },
    counts: { ...counts },
    cpuSeconds: (user + system) / 1e6,
    peakBytes: peakBytes(),
  };
}

/** As usage-hook.mjs says. */
function peakBytes(): number {
  try {
    const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
    return Number(kibibytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}

function tell(answer: Answer): void {
  process.send!(answer);
}
