/** Several simulated organizations in one process of their own. Its options come as JSON; it tells where they are, and serves. */
import { createSimulator } from '../src/simulator/simulator.ts';
import type { Simulated, SimulatedOrganizations } from './organizations.ts';

const { count, events, latencyMs } = JSON.parse(process.argv[2]!) as SimulatedOrganizations;
process.on('disconnect', () => process.exit());
const simulated: Simulated[] = [];
for (let number = 1; number <= count; number++) {
  const organization = `organization-${String(number).padStart(2, '0')}`;
  const { url, clientId, clientSecret } = await createSimulator({
    ...{ organization, seed: number, events, latencyMs, prerender: true },
    // Each keeps but its own pages.
    cacheBytes: 8 * 2 ** 20,
  });
  simulated.push({ organization, url, clientId, clientSecret });
}
process.send!(simulated);
