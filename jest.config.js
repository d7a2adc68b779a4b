import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { sortTests } from './test/support/projects.js';

const { unit, integration } = sortTests(fileURLToPath(new URL('.', import.meta.url)));

const shared = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      {
        jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
        module: { type: 'es6', ignoreDynamic: true },
      },
    ],
  },
};

export default {
  projects: [
    { ...shared, displayName: 'unit', testMatch: unit },
    {
      ...shared,
      displayName: 'integration',
      testMatch: integration,
      globalSetup: '<rootDir>/test/support/global-setup.ts',
      globalTeardown: '<rootDir>/test/support/global-teardown.ts',
    },
  ],
  reporters: ['default', '<rootDir>/test/support/count-reporter.js'],
  testSequencer: '<rootDir>/test/support/sequencer.js',
  // Long, because other programs may keep the machine busy.
  testTimeout: 180_000,
  // Most tests wait for a process or a server more than they compute.
  maxWorkers: 3 * availableParallelism(),
};
