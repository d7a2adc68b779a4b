/** Several simulated organizations, and the file that leads the program to them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts';

export interface Organizations {
  simulators: Simulator[];
  /** Points the program at all of them. */
  environment: Record<string, string>;
  /** Writes the file anew, each entry with more variables, or others, of its own. */
  write(variables?: Record<string, Record<string, string>>): void;
  close(): Promise<void>;
}

/** One for each name, in this order, all with the same options. */
export async function createOrganizations(
  names: readonly string[],
  options: SimulatorOptions = {},
): Promise<Organizations> {
  const directory = mkdtempSync(join(tmpdir(), 'audit-organizations-'));
  const file = join(directory, 'organizations.json');
  const simulators = await Promise.all(
    names.map((organization, i) => createSimulator({ seed: i + 1, ...options, organization })),
  );
  const write: Organizations['write'] = (variables = {}) => {
    const entries = simulators.map(({ organization, url }) => ({
      UIPATH_ORGANIZATION: organization,
      UIPATH_BASE_URL: url,
      ...variables[organization],
    }));
    writeFileSync(file, JSON.stringify(entries));
  };
  write();
  return {
    simulators,
    environment: {
      UIPATH_ORGANIZATIONS_FILE: file,
      UIPATH_CLIENT_ID: simulators[0]!.clientId,
      UIPATH_CLIENT_SECRET: simulators[0]!.clientSecret,
    },
    write,
    async close() {
      await Promise.all(simulators.map((simulator) => simulator.close()));
      rmSync(directory, { recursive: true });
    },
  };
}
