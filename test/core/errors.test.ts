import { expect, test } from '@jest/globals';
import { type ErrorCode, ExportError, mostSevereOf, treatmentOf } from '../../src/core/errors.ts';

const of = (...codes: ErrorCode[]) => codes.map((code) => new ExportError(code, code));

test.each<[ErrorCode[], ErrorCode | undefined]>([
  [[], undefined],
  [['source-away', 'locked'], 'source-away'],
  [['locked', 'differences', 'source-away'], 'differences'],
  [['differences', 'database', 'source-invalid'], 'database'],
  [['database', 'configuration', 'source-away'], 'configuration'],
  [['configuration', 'interrupted'], 'interrupted'],
])('of %j the most severe is %s', (codes, wanted) => {
  expect(mostSevereOf(of(...codes))?.code).toBe(wanted);
});

test.each<[ErrorCode, number]>([
  ['configuration', 2],
  ['other-source', 2],
  ['source-away', 75],
  ['source-invalid', 1],
  ['database-away', 75],
  ['database', 1],
  ['locked', 75],
  ['superseded', 75],
  ['stalled', 75],
  ['fenced', 75],
  ['differences', 3],
  ['interrupted', 75],
])('a process that ends with %s exits with %i', (code, exitCode) => {
  expect(treatmentOf(code).exitCode).toBe(exitCode);
});
