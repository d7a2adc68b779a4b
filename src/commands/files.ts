/** Files that a command reads or writes. Each throws `configuration`, with the path and the reason. */
import { readFileSync, writeFileSync } from 'node:fs';
import { ExportError } from '../core/errors.ts';

export function readFile(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new ExportError('configuration', `Cannot read ${path}: ${(error as Error).message}.`);
  }
}

export function writeFile(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw new ExportError('configuration', `Cannot write ${path}: ${(error as Error).message}.`);
  }
}
