import { type FileHandle, open, rm } from 'node:fs/promises';
import { ExportError } from '../core/errors.ts';

/** A new file that only its owner may read. */
export interface RecordingFile {
  write(text: string): Promise<void>;
  /** Closes the file, and removes it if nothing was written. */
  close(): Promise<void>;
}

/** Creates the file before the first request. Throws `configuration` if it exists or cannot be created. */
export async function createRecordingFile(path: string): Promise<RecordingFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'wx', 0o600);
  } catch (cause) {
    throw unwritable(path, cause);
  }
  let isWritten = false;
  return {
    async write(text) {
      try {
        await handle.writeFile(text);
        isWritten = true;
      } catch (cause) {
        throw unwritable(path, cause);
      }
    },
    async close() {
      await handle.close();
      if (!isWritten) await rm(path, { force: true });
    },
  };
}

function unwritable(path: string, cause: unknown): ExportError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const remedy =
    code === 'EEXIST'
      ? 'it exists, and is not overwritten. Name another file, or remove it'
      : code === 'ENOENT'
        ? 'its directory does not exist. Create that, or name another file'
        : `${code ?? message}. Name a file in a directory that this user may write to, with space left`;
  return new ExportError('configuration', `Cannot write the recording to ${path}: ${remedy}.`, { cause });
}
