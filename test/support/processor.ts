/** Milliseconds of the processor's time that `work` takes, which a busy machine hardly stretches, unlike those of the clock. */
export function processorMsOf(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
